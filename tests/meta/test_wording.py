"""Insomnia symptoms are a monitoring aid: no text of ours calls them a disorder."""

from __future__ import annotations

import re

import pytest

from studies import PROJECT

FOLDERS = ("src", "schemas", "docs", "dags", "examples")
TEXTS = sorted(
    path
    for folder in FOLDERS
    for path in [*(PROJECT / folder).rglob("*"), PROJECT / "README.md", PROJECT / "CHANGELOG.md"]
    if path.suffix in {".py", ".json", ".md", ".sql", ".yaml"} and path.is_file()
)
DISORDER = re.compile(r"(?<!use[ _])disorders?\b", re.IGNORECASE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_only_opioid_use_is_called_a_disorder(folder: str) -> None:
    texts = [path for path in TEXTS if path.is_relative_to(PROJECT / folder) or path.parent == PROJECT]
    assert texts
    assert [str(path.relative_to(PROJECT)) for path in texts if DISORDER.search(path.read_text(encoding="utf-8"))] == []


def test_the_pattern_finds_what_it_is_for() -> None:
    assert DISORDER.search("insomnia disorder")
    assert not DISORDER.search("opioid use disorder; opioid_use_disorder; disordered clocks")

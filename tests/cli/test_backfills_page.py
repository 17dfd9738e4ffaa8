"""docs/backfills.md: its commands, in their order, on a study like the one it speaks of, print what it shows."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.test_backfill import made
from ingest.cli import app
from ingest.decode.registry import decoder
from studies import PROJECT

__all__ = ["made"]  # a fixture
PAGE = PROJECT / "docs" / "backfills.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps() -> Iterator[tuple[str, list[str]]]:
    """Each command with the lines shown below it."""
    for body in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        for part in body.split("$ ")[1:]:
            command, *shown = part.splitlines()
            yield command, shown


def pattern(shown: str) -> str:
    return ".+".join(re.escape(part) for part in shown.split("..."))


def test_the_page_can_be_typed_in(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = shutil.copytree(made, tmp_path / "study", copy_function=shutil.copy2)
    monkeypatch.setenv("INGEST_STUDY", str(root))
    # The first case is about a decoder that is newer than what the lake holds.
    monkeypatch.setattr(decoder("fitbit"), "version", f"{decoder('fitbit').version}0")
    count = 0
    for command, shown in steps():
        if command.startswith("ingest "):
            done = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
            printed, code = done.stdout.splitlines(), done.exit_code
        else:
            printed, code = [], subprocess.run(["/bin/sh", "-c", command], cwd=root, check=False).returncode
        assert code == 0, command
        missing = [line for line in shown if not any(re.fullmatch(pattern(line) + ".*", each) for each in printed)]
        assert missing == [], (command, printed)
        count += len(shown)
    assert count > 20

"""A small part of `make soak`'s million: mutated fixtures of every source, in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from abuse import fuzz
from exports import Came, exports
from ingest.decode.model import Decoded, Tally
from ingest.decode.registry import decoders
from studies import PROJECT
from tries import tries

INPUTS = tries(600)
PAGE = PROJECT / "docs" / "fuzz.md"


@pytest.mark.fault(45)
def test_mutated_files_are_refused_or_add_up(tmp_path: Path) -> None:
    (tmp_path / "fuzz.md").write_text("# Page\n\n<!-- figures -->\nold\n<!-- /figures -->\n")
    done = subprocess.run(
        [sys.executable, fuzz.__file__, "--inputs", str(INPUTS), "--seed", "7", "--workers", "1", "--to", tmp_path],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found = json.loads((tmp_path / "fuzz.json").read_text())
    assert (found["inputs"], found["faults"]) == (INPUTS, 0)
    assert found["rows"] > INPUTS // 10
    assert found["refused"] > INPUTS // 10
    assert f"{INPUTS:,} inputs of seed 7" in (tmp_path / "fuzz.md").read_text()


def test_every_decoder_is_among_the_sources() -> None:
    assert {each.source for each in exports()} == {each.source for each in decoders()}
    few = [fuzz.bent(3, number) for number in range(2 * len(decoders()))]
    assert {each.source for each in few} == {each.source for each in decoders()}
    assert [each.files for each in few] == [fuzz.bent(3, number).files for number in range(2 * len(decoders()))]


def test_a_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(export: object, archived: bool) -> Came:
        raise KeyError("x")

    monkeypatch.setattr(fuzz, "taken", broken)
    assert [what.partition(": ")[2][:8] for _, what in fuzz.tried(1, range(2)).faults] == ["KeyError"] * 2
    tally = Tally(read=1)
    assert fuzz.wrong(Came(decoded=[Decoded("x", tally)])) is None
    tally.duplicate = 2
    assert fuzz.wrong(Came(decoded=[Decoded("x", tally)])) == "read 1, fates (-1, 2, 0, 0)"


def test_the_page_says_what_the_figures_say() -> None:
    figures = json.loads(PAGE.with_suffix(".json").read_text())
    said = re.search(r"(?s)<!-- figures -->\n(.*?)\n<!-- /figures -->", PAGE.read_text())
    assert said is not None
    assert said[1] == fuzz.in_words(figures)
    assert figures["faults"] == 0

"""docs/privacy.md and docs/audit.md: their cases are typed in, and print what stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from studies import PROJECT, as_json, fitbit_nights, land, make_study, run

DOCS = PROJECT / "docs"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(page: str) -> list[tuple[str, list[str]]]:
    """Each command of a page with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    for body in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        for line in body.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def matches(shown: list[str], printed: list[str]) -> bool:
    """True if the lines are those shown, where `...` stands for anything, be it lines or the rest of one."""
    pattern = "".join(".*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n" for line in shown)
    text = "".join(f"{line}\n" for line in printed)
    return re.fullmatch(pattern, text, re.DOTALL) is not None


@pytest.mark.parametrize("page", ["privacy.md", "audit.md"])
def test_the_case_goes_as_the_page_says(tmp_path: Path, page: str) -> None:
    root = make_study(tmp_path / "study", refs=("P01", "P02"))
    for number, ref in enumerate(("P01", "P02"), start=1):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 10, 1000 * number)))
    run(root)
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8",
                   "INGEST_STUDY": str(root), "COLUMNS": "100"}  # fmt: skip
    every = steps(page)
    assert len(every) > 4
    for command, shown in every:
        done = subprocess.run(
            ["/bin/bash", "-eu", "-o", "pipefail", "-c", command], env=environment, cwd=root, text=True,
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert matches(shown, done.stdout.splitlines()), (command, done.stdout)

"""The benchmark of a study's log runs, keeps every row it was given, and prints its table; no time is asserted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
ROWS = 2_000


@pytest.fixture(scope="module")
def output() -> str:
    words = [sys.executable, str(BENCHMARKS / "logs.py"), "--rows", str(ROWS)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env={**os.environ}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _row(output: str, name: str) -> list[float]:
    line = next(line for line in output.splitlines() if line.startswith(name))
    return [float(cell.replace(",", "")) for cell in re.split(r"\s{2,}", line.strip())[1:]]


def test_every_row_is_kept(output: str) -> None:
    assert f"{ROWS} rows of 50 participants" in output
    assert f"{ROWS} uses kept" in output


def test_the_floor_is_once_itself(output: str) -> None:
    _cpu, _whole, _pace, ratio, whole_ratio, _peak = _row(output, "floor: pandas.read_csv alone")
    assert (ratio, whole_ratio) == (1.0, 1.0)


@pytest.mark.parametrize("name", ["floor: pandas.read_csv alone", "Arrow's reader + one Parquet",
                                  "the same + a SHA-256 a row", "ours: decode + harmonise + lake"])  # fmt: skip
def test_each_line_has_cpu_pace_and_memory(output: str, name: str) -> None:
    cpu, whole, pace, _ratio, _whole_ratio, peak = _row(output, name)
    assert 0 <= cpu < whole
    assert pace > 0
    assert peak > 10


def test_the_machine_is_named(output: str) -> None:
    assert re.search(r"\d+ cores, \w+, Python 3\.\d+\.\d+, pyarrow \d", output.splitlines()[0])

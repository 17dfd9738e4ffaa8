"""Each benchmark runs, counts what it was given, and prints its tables; no time is asserted."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
NIGHTS, REPEATED = 30 * 30, 29
"""30 files of 30 nights; each file but the first also holds the last night of the file before."""


@pytest.fixture(scope="module")
def output() -> str:
    words = [sys.executable, str(BENCHMARKS / "fitbit.py"), "--exports", "1"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env={**os.environ}, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_measure", BENCHMARKS / "_measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _row(output: str, name: str) -> list[float]:
    line = next(line for line in output.splitlines() if line.startswith(name))
    return [float(cell.replace(",", "")) for cell in re.split(r"\s{2,}", line.strip())[1:]]


def test_input_is_the_size_it_should_be(output: str) -> None:
    assert f"1 exports, 30 files, 3 MB, {NIGHTS} nights" in output
    assert f"{NIGHTS + REPEATED} logs" in output


def test_every_night_arrives_once(output: str) -> None:
    assert f"{NIGHTS} sessions kept" in output


@pytest.mark.parametrize("name", ["floor: msgspec", "ours: plan", "pandas json_normalize"])
def test_landing_to_lake_has_cpu_ratio_and_memory(output: str, name: str) -> None:
    cpu, work, _ratio, peak, _above = _row(output, name)
    assert 0 < work < cpu
    assert peak > 10


@pytest.mark.parametrize("name", ["floor: DuckDB", "ours: lake to all marts"])
def test_lake_to_night_has_a_pace(output: str, name: str) -> None:
    cpu, nights, pace, _ratio, _peak = _row(output, name)
    assert cpu > 0
    assert pace > 0
    assert nights == NIGHTS


@pytest.mark.parametrize("name", ["floor: msgspec", "floor: DuckDB"])
def test_a_floor_is_once_itself(output: str, name: str) -> None:
    assert 1.0 in _row(output, name)


def test_the_machine_is_named(output: str) -> None:
    assert re.search(r"\d+ cores, \w+, Python 3\.\d+\.\d+, msgspec \d", output.splitlines()[0])


def test_peak_memory_is_that_of_the_process(measuring: ModuleType) -> None:
    before = measuring.peak_mb()
    held = bytearray(os.urandom(1)) * 200_000_000
    assert measuring.peak_mb() > before or before > 200
    assert len(held) == 200_000_000


def test_a_table_is_aligned(measuring: ModuleType) -> None:
    rows = [{"what": "a", "n": "1"}, {"what": "longer", "n": "22"}]
    assert measuring.table(rows) == "what     n\na        1\nlonger  22"

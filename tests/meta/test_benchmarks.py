"""Each benchmark runs, counts what it was given, and prints its tables; no time is asserted."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from ingest.decode.registry import decoders

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
GOOGLE_SLEEPS = "UserSleeps_2015-01-01.csv"
NIGHTS, REPEATED = 30 * 30, 29
"""30 files of 30 nights; each file but the first also holds the last night of the file before."""


SMALL = {
    "compact.py": ("--people", "2", "--nights", "12"),
    "encryption.py": ("--people", "2", "--nights", "12"),
    "fitbit.py": ("--exports", "1"),
    "formats.py": ("--nights", "20"),
    "landing.py": ("--files", "300"),
    "logs.py": ("--rows", "2000"),
    "nights.py": ("--people", "1"),
    "pages.py": ("--nights", "12", "--people", "2"),
    "postgres.py": ("--people", "1", "--nights", "10", "--repeats", "1"),
    "roles.py": ("--people", "2", "--nights", "10", "--repeats", "1"),
    "scale.py": ("--people", "1", "2", "--nights", "10", "--workers", "1"),
    "takeout.py": ("--small",),
    "warehouse.py": ("--people", "2", "--nights", "20", "--repeats", "1"),
}


@cache
def _printed(script: str) -> str:
    words = [sys.executable, str(BENCHMARKS / script), *SMALL[script]]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, env={**os.environ, "BENCHMARK_REPEATS": "1"}, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def output() -> str:
    return _printed("fitbit.py")


@pytest.fixture(scope="module")
def measuring() -> ModuleType:
    return _module("_measure")


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cells(output: str, name: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith(name))
    return [cell.replace(",", "") for cell in re.split(r"\s{2,}", line.strip())[1:]]


def _row(output: str, name: str) -> list[float]:
    return [float(cell) for cell in _cells(output, name)]


def test_every_benchmark_runs_in_a_small_size() -> None:
    scripts = {path.name for path in BENCHMARKS.glob("*.py") if not path.name.startswith("_")}
    assert scripts == {*SMALL, "apple.py"}, "apple.py has a test file of its own"


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


@pytest.mark.parametrize("script", SMALL)
def test_the_machine_is_named(script: str) -> None:
    assert re.search(r"\d+ cores, \w+, Python 3\.\d+\.\d+, \w+ \d", _printed(script).splitlines()[0])


def test_every_file_of_a_takeout_is_accounted_for() -> None:
    printed = _printed("takeout.py")
    members, sleep = re.search(r"^(\d+) members, \d+ MB, (\d+) files of sleep$", printed, re.MULTILINE).groups()  # type: ignore[union-attr]
    others = re.search(rf"^claimed {sleep} by fitbit.*; (\d+) others counted, 0 refused$", printed, re.MULTILINE)
    assert others is not None
    assert int(others[1]) == int(members) - int(sleep)
    assert _row(printed, "floor: SHA-256 and directory")[1] == 1


def test_every_small_file_of_a_landing_is_planned() -> None:
    printed = _printed("landing.py")
    assert _row(printed, "floor: walk")[3] == 1
    for name in ("ours: first look", "ours: second look"):
        assert _row(printed, name)[:2] == [300, 1]


def test_every_use_of_a_log_is_kept() -> None:
    printed = _printed("logs.py")
    assert "2000 rows of 50 participants, 0 MB, 2000 uses kept" in printed
    assert _row(printed, "floor: pandas.read_csv alone")[3] == 1
    assert min(_row(printed, "ours: decode + harmonise + lake")) > 0


def test_every_night_is_built() -> None:
    printed = _printed("nights.py")
    assert f"1 people, {NIGHTS} nights" in printed
    assert _row(printed, "floor: DuckDB grouping")[2] == 1
    for name in ("ours: night and night_source", "ours: trend with SRI, on top", "pandas groupby"):
        assert _row(printed, name)[1] > 0


def test_the_warehouse_is_built_and_one_night_added() -> None:
    printed = _printed("warehouse.py")
    assert f"2 people, {2 * 21} nights of 40 stages, 3 doses a day" in printed
    for people in (2, 1):
        whole, more = (_cells(printed, f"{people} people: {what}") for what in ("full build", "one new night"))
        assert whole[6] == "100.00 %"
        for cells in (whole, more):
            seconds, cpu, looking, decoding, building, publishing = map(float, cells[:6])
            assert min(seconds, cpu, building, publishing) > 0
            assert looking + decoding + building + publishing <= seconds + 0.05
        assert float(more[6].rstrip(" %")) == pytest.approx(100 * float(more[0]) / float(whole[0]), rel=0.05)
    nights, rows = re.search(r"both anchors: ([\d,]+) nights and ([\d,]+) rows", printed).groups()  # type: ignore[union-attr]
    assert int(rows.replace(",", "")) == pytest.approx(2 * int(nights.replace(",", "")), abs=2)


def test_a_larger_study_is_set_beside_a_smaller_one() -> None:
    printed = _printed("scale.py")
    for step, times in {"decode": 2, "marts": 2, "publish": 2, "increment": 1}.items():
        one, two = (_cells(printed, f"{people} people: {step} ") for people in (1, 2))
        assert min(float(one[0]), float(one[1]), float(two[1])) > 0
        assert float(two[-1]) == pytest.approx(float(two[1]) / float(one[1]) / times, rel=0.2, abs=0.05)
    rows = [float(_cells(printed, f"{people} people ")[3]) for people in (1, 2)]
    assert rows[1] == pytest.approx(2 * rows[0], rel=0.1)


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench", BENCHMARKS.parent / "scripts" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_run_writes_the_table_of_all(bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench.py", "--small", "--only", "takeout", "--to", str(tmp_path)])
    bench.main()
    page, found = (tmp_path / "benchmarks.md").read_text(), json.loads((tmp_path / "benchmarks.json").read_text())
    assert "`python benchmarks/takeout.py --small`" in page
    assert re.search(r"\d+ cores, \w+, Python 3", page)
    assert found["takeout"]["ratios"]["floor: SHA-256 and directory | ratio"] == 1
    assert set(bench.SMALL) == set(bench.names())


def test_what_rose_by_more_than_a_fifth_is_shown(bench: ModuleType) -> None:
    def measured(ratio: float, *arguments: str) -> dict[str, object]:
        return {"a": {"arguments": [*arguments], "ratios": {"ours | ratio": ratio}}}

    assert bench.slower(measured(2.0), measured(2.5)) == ["a: ours | ratio: 2 -> 2.5 (+25 %)"]
    assert bench.slower(measured(2.0), measured(2.39)) == []
    assert bench.slower(measured(2.0), measured(1.0)) == []
    assert bench.slower(measured(2.0), measured(9.0, "--small")) == [], "another size is no comparison"


def test_what_an_analyst_asks_is_set_beside_what_the_owner_does() -> None:
    printed = _printed("roles.py")
    (questions,) = re.search(r"^2 people, 10 nights, (\d+) questions", printed, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert int(questions) >= 12
    rows, owner, analyst, ratio = _row(printed, "all")
    assert rows > int(questions)
    assert ratio == pytest.approx(analyst / owner, rel=0.2)


def test_what_is_published_to_postgresql_is_set_beside_a_copy_of_it() -> None:
    printed = _printed("postgres.py")
    (rows,) = re.search(r"^1 people, 1\d nights, (\d+) rows", printed, re.MULTILINE).groups()  # type: ignore[union-attr]
    assert int(rows) > 10 * 40
    names = ("floor: COPY ", "floor: COPY, then keys", "ours: publication")
    floor, keys, ours = (_row(printed, name) for name in names)
    assert (floor[2], keys[3]) == (1, 1)
    assert ours[2] == pytest.approx(ours[0] / floor[0], rel=0.2)


def test_every_sleep_source_has_a_pace() -> None:
    printed = _printed("formats.py")
    layouts = _module("_formats_writers").WRITERS
    assert f"20 nights of each of {len(layouts)} layouts, all kept" in printed
    for layout in layouts:
        _, _, stages, pace, _, floor_pace, ratio = _cells(printed, f"{layout} ")
        assert 0 <= float(stages) < 60
        assert float(pace) > 0
        assert float(floor_pace) > 0
        assert float(ratio) > 0


def test_every_sleep_source_has_a_writer() -> None:
    writers = _module("_formats_writers")
    sources = {each.source for each in decoders() if each.kind == "sleep"}
    assert {writers.source_of(layout) for layout in writers.WRITERS} == sources


@pytest.mark.parametrize("layout", ["fitbit, Google tables", "whoop"])
def test_a_writer_gives_as_many_nights_as_it_is_asked_for(layout: str) -> None:
    write, _ = _module("_formats_writers").WRITERS[layout]
    (table,) = (data for name, data in write(7).items() if name.rpartition("/")[2] in {"sleeps.csv", GOOGLE_SLEEPS})
    assert len(table.splitlines()) == 1 + 7


def test_peak_memory_is_that_of_the_process(measuring: ModuleType) -> None:
    before = measuring.peak_mb()
    held = bytearray(os.urandom(1)) * 200_000_000
    assert measuring.peak_mb() > before or before > 200
    assert len(held) == 200_000_000


def test_a_table_is_aligned(measuring: ModuleType) -> None:
    rows = [{"what": "a", "n": "1"}, {"what": "longer", "n": "22"}]
    assert measuring.table(rows) == "what     n\na        1\nlonger  22"


def test_an_encrypted_lake_has_the_same_rows_in_more_bytes() -> None:
    output = _printed("encryption.py")
    assert f", {2 * 12 * (1 + 40 + 3):,} rows of records" in output
    assert _row(output, "kB of the lake")[2] > 1


def test_a_compaction_leaves_a_file_of_each_table() -> None:
    output = _printed("compact.py")
    assert _row(output, "files of rows")[:2] == [2 * 12 * 3, 2 * 3]
    assert _row(output, "kB of rows")[2] < 1

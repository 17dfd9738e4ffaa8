"""The parts the demo's Fitbit files are made of."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import date, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.demo.bulk import takeout_files
from ingest.demo.fitbit_takeout import (
    Run,
    Score,
    SleepLog,
    data_segments,
    pack,
    score_csv,
    short_segments,
    vendor_minutes,
)
from ingest.demo.hypnogram import classic_runs, staged_runs


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(240, 1100), st.integers(0, 200), st.integers(0, 30), st.integers(0, 20))
def test_a_staged_night_has_exactly_what_was_asked_for(
    seed: int, asleep: int, awake: int, first: int, last: int
) -> None:
    runs = staged_runs(_rng(seed), asleep, awake, first, last)
    cells = [run.level for run in runs for _ in range(run.seconds // 30)]
    assert len(cells) == asleep + awake + first + last
    inner = cells[first : len(cells) - last]
    assert inner[0] != "wake"
    assert inner[-1] != "wake"
    assert inner.count("wake") == awake
    assert all(run.seconds <= 180 for run in runs if run.short)
    assert sum(seconds for _, _, seconds in data_segments(runs)) == 30 * len(cells)
    minutes = vendor_minutes(runs)
    assert sum(minutes.values()) == len(cells) // 2
    assert all(abs(minutes[level] - cells.count(level) / 2) <= 0.5 for level in minutes)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 600), st.integers(0, 90))
def test_a_classic_sleep_has_exactly_what_was_asked_for(seed: int, asleep: int, restless: int) -> None:
    runs = classic_runs(_rng(seed), asleep, restless)
    assert sum(run.seconds for run in runs if run.level == "asleep") == 60 * asleep
    assert sum(run.seconds for run in runs if run.level != "asleep") == 60 * restless


def test_short_wakes_are_no_segments_of_their_own() -> None:
    runs = (
        Run("light", 600),
        Run("wake", 60, short=True),
        Run("light", 300),
        Run("wake", 240),
        Run("rem", 90),
    )
    assert data_segments(runs) == [(0, "light", 960), (960, "wake", 240), (1200, "rem", 90)]
    assert short_segments(runs) == [(600, "wake", 60)]
    # 900 s of light, 300 s of wake, 90 s of REM in 21 whole minutes: the half minute of REM goes down.
    assert vendor_minutes(runs) == {"deep": 0, "wake": 5, "light": 15, "rem": 1}


def test_wake_is_rounded_down_and_the_sum_kept() -> None:
    runs = (Run("wake", 90), Run("light", 150), Run("deep", 90), Run("rem", 150))
    # 1.5 + 2.5 + 1.5 + 2.5 = 8: wake to 1, so two of the other three halves go up.
    minutes = vendor_minutes(runs)
    assert minutes["wake"] == 1
    assert sum(minutes.values()) == 8


def test_scores_are_newest_first_with_a_false_z() -> None:
    scores = [Score(7, datetime(2026, 1, 6, 6, 30), 80, 70, 55, 0.0625),
              Score(8, datetime(2026, 1, 7, 6, 31, 30), 81, 71, 56, 0.0725)]  # fmt: skip
    lines = score_csv(scores).decode().splitlines()
    assert lines[1] == "8,2026-01-07T06:31:30Z,81,,21,,71,56,0.072500000"
    assert lines[2] == "7,2026-01-06T06:30:00Z,80,,21,,70,55,0.062500000"
    assert lines[0].split(",")[:3] == ["sleep_log_entry_id", "timestamp", "overall_score"]


def test_packing_twice_gives_the_same_bytes() -> None:
    members = [("a/b.json", b"[]" * 500), ("c.txt", b"x")]
    moment = datetime(2026, 5, 6, 9, 7, 2)
    data = pack(members, moment)
    assert data == pack(members, moment)
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert {info.date_time for info in file.infolist()} == {(2026, 5, 6, 9, 7, 2)}
        assert [(name, file.read(name)) for name in file.namelist()] == members


def test_a_log_ends_where_its_runs_do() -> None:
    log = SleepLog(1, datetime(2026, 1, 5, 23, 50), (Run("asleep", 1200),), "classic")
    assert log.end == datetime(2026, 1, 6, 0, 10)
    assert log.date_of_sleep == date(2026, 1, 6)


def test_bulk_files_are_gapless_blocks_with_ids_of_their_own() -> None:
    files = takeout_files(90, date(2022, 12, 20), _rng(3), first_log_id=30_000_000_000)
    assert files == takeout_files(90, date(2022, 12, 20), _rng(3), first_log_id=30_000_000_000)
    assert [name for name, _ in files] == [
        "sleep-2022-12-21.json", "sleep-2023-01-19.json", "sleep-2023-02-18.json",
    ]  # fmt: skip
    blocks = [json.loads(data) for _, data in files]
    assert [len(block) for block in blocks] == [30, 31, 31]
    logs = {log["logId"]: log for block in blocks for log in block}
    assert len(logs) == 90
    assert {log["dateOfSleep"] for log in logs.values()} == {
        date.fromordinal(date(2022, 12, 21).toordinal() + i).isoformat() for i in range(90)
    }
    assert all(log["endTime"][:10] == log["dateOfSleep"] > log["startTime"][:10] for log in logs.values())
    assert min(logs) >= 30_000_000_000
    assert max(logs) < 30_000_000_000 + 90_000
    per_night = sum(len(data) for _, data in files) / 90
    assert 3300 < per_night < 4100

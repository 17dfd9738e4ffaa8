"""Killed anywhere, the study holds what it says and the next run ends as if nothing had been.

Here at a bounded number of places, some in each phase of a run; `make soak` takes them all.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import duckdb
import pytest

from faults.loops import Start, killed_at_call, killed_at_event
from faults.small import (
    FROZEN,
    Forked,
    broken,
    copied,
    dies_at,
    differences,
    events_of,
    ran,
    run_frozen,
    sample,
    survives,
)
from tries import SOAK

KILLS = 20 if SOAK else 4


def _found(start: Start, folder: Path, count: int, seed: int) -> list[str]:
    copy = copied(start.root, folder / "counted")
    total = events_of(copy)
    assert total > 150
    outcomes = [killed_at_event(start, folder, n) for n in sample(total, count, seed)]
    assert sum(each.kills for each in outcomes) == count
    return [problem for each in outcomes for problem in each.problems]


def test_row_01_killed_at_a_change_of_a_file_in_a_first_run(fresh: Start, tmp_path: Path) -> None:
    assert _found(fresh, tmp_path, KILLS, 20260301) == []


def test_row_01_killed_at_a_change_of_a_file_in_a_later_run(later: Start, tmp_path: Path) -> None:
    assert _found(later, tmp_path, KILLS, 20260302) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to kill at a system call")
def test_row_01_killed_at_a_system_call_of_duckdb_and_sqlite(later: Start, tmp_path: Path) -> None:
    done = killed_at_call(later, tmp_path, "pwrite64", 20)
    assert (done.kills, done.problems) == (1, [])


def test_row_03_terminated_between_two_writes(later: Start, tmp_path: Path) -> None:
    root = copied(later.root, tmp_path / "study")
    process = Forked(lambda: (dies_at(60, signal.SIGTERM), run_frozen(root)))
    assert process.wait() == -signal.SIGTERM
    assert survives(root, later.wanted[FROZEN]) == []


def test_what_is_lost_doubled_or_left_would_be_seen(fresh: Start, tmp_path: Path) -> None:
    root = copied(fresh.root, tmp_path / "study")
    ran(root)
    assert differences(root, fresh.wanted[FROZEN]) == []
    part = next((root / "lake" / "sleep_session").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    (root / "lake" / "night" / "left.parquet").write_bytes(b"")
    (root / "lake" / ".tmp-left").write_bytes(b"")
    with duckdb.connect(str(root / "warehouse.duckdb")) as connection:
        connection.execute("DELETE FROM night WHERE night_date = (SELECT min(night_date) FROM night)")
    found = differences(root, fresh.wanted[FROZEN])
    assert found == sorted(["lake/.tmp-left", "lake/night/left.parquet", f"lake/{part.relative_to(root / 'lake')}",
                            "table night"])  # fmt: skip
    assert [each.partition(":")[0] for each in broken(root)] == ["I1"]

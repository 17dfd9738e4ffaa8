"""Batches of exports: by bytes, big ones alone, small ones together, never too many; and those of an interval."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import pytest

from ingest._core import clock
from ingest._core.roster import STUDY_LOGS
from ingest._core.study import open_study
from ingest.arrive.arrivals import Arrival, open_arrivals
from ingest.backfill import arrived_batches
from ingest.lake.plan import EXPORT_BYTES, MOST_BATCHES, in_batches
from studies import as_json, fitbit_nights, land, make_study, run

AT = datetime(2026, 3, 1, tzinfo=UTC)
LOG = "participant_ref,substance,taken_at,amount,unit\nK01,kratom,2026-03-0{}T21:00,3,g\n"


def arrival(token: str, size: int, folder: str = "K01") -> Arrival:
    return Arrival(token, token, folder, "fitbit", Path(), token, {}, size, AT, AT)


def test_a_big_export_is_alone_and_small_ones_are_together() -> None:
    sizes = [1000, 2000, 90 << 20, 3000, 40 << 20, 20 << 20, 50 << 20]
    found = in_batches([arrival(f"t{n}", size) for n, size in enumerate(sizes)], 64 << 20)
    assert found == [["t0", "t1"], ["t2"], ["t3", "t4", "t5"], ["t6"]]


def test_a_hundred_thousand_small_exports_make_some_tens_of_batches_and_all_are_there() -> None:
    wanted = [arrival(f"t{n}", 700) for n in range(100_000)]
    found = in_batches(wanted, 256 << 20)
    per_batch = (256 << 20) // EXPORT_BYTES
    assert len(found) == -(-100_000 // per_batch)
    assert list(chain(*found)) == [each.token for each in wanted]


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_there_are_never_too_many(size: int) -> None:
    wanted = [arrival(f"t{n}", size) for n in range(3 * MOST_BATCHES)]
    found = in_batches(wanted, 1)
    assert 1 < len(found) <= MOST_BATCHES
    assert sorted(chain(*found)) == sorted(each.token for each in wanted)


def test_study_wide_logs_stay_together_in_their_order() -> None:
    wanted = [arrival("a", 5), arrival("log1", 60 << 20, STUDY_LOGS), arrival("b", 5),
              arrival("log2", 60 << 20, STUDY_LOGS)]  # fmt: skip
    assert in_batches(wanted, 64 << 20) == [["a", "b"], ["log1", "log2"]]
    assert in_batches([], 64 << 20) == []


def test_an_interval_of_arrivals_is_half_open_and_takes_later_study_wide_logs_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_study(tmp_path / "study")
    for day in range(3):
        made = AT + timedelta(days=day)
        monkeypatch.setattr(clock, "now", lambda made=made: made)
        land(root, f"K01/{day}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 2, 1 + day, 23), 1)), made)
        land(root, f"_logs/{day}.csv", LOG.format(day + 1), made)
        run(root)
    study = open_study(root)

    with open_arrivals(study) as store:
        tokens = {(each.folder, each.arrived_at): each.token for each in store.all()}
    own, logs = ([tokens[folder, AT + timedelta(days=day)] for day in range(3)] for folder in ("K01", STUDY_LOGS))

    def of(first: int, end: int) -> list[list[str]]:
        return arrived_batches(study, AT + timedelta(days=first), AT + timedelta(days=end))

    assert of(0, 1) == [[own[0], *logs]]
    assert of(1, 2) == [[own[1], *logs[1:]]]
    assert of(2, 3) == [[own[2], logs[2]]]
    assert of(0, 3) == [[*own, *logs]]
    assert [*of(1, 1), *of(3, 9), *of(-1, 0)] == []

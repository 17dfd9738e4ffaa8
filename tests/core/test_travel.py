"""time_zones.csv: a participant's clock follows the zones of a journey."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.clock import from_micros, to_micros, travelled, zone
from ingest._core.errors import WrongUse
from ingest._core.roster import load_roster
from ingest._core.study import open_study
from studies import as_json, fitbit_nights, land, make_study, rows, run

HOME = "Europe/Oslo"
ONE_LEG = "participant_ref,from_local,time_zone\nK01,2026-03-10T14:00,America/New_York\n"
JOURNEY = (
    (datetime(2026, 3, 10, 14), "America/New_York"),
    (datetime(2026, 3, 20, 9), "Asia/Kolkata"),
    (datetime(2026, 4, 2, 22), "Europe/Oslo"),
)


def _zone_at(instant: datetime) -> ZoneInfo:
    """The zone of the last leg that had begun, worked out from zoneinfo alone."""
    now = ZoneInfo(HOME)
    for since, name in JOURNEY:
        if since.replace(tzinfo=ZoneInfo(name)).astimezone(UTC) <= instant:
            now = ZoneInfo(name)
    return now


@settings(deadline=None)
@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))
def test_local_clock_is_that_of_the_leg(instant: datetime) -> None:
    local = zone(travelled(HOME, JOURNEY)).to_local(np.array([to_micros(instant)]))[0]
    assert from_micros(local).replace(tzinfo=None) == instant.astimezone(_zone_at(instant)).replace(tzinfo=None)


@settings(deadline=None)
@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))
def test_an_instant_is_one_of_the_readings_of_its_local_clock(instant: datetime) -> None:
    there = zone(travelled(HOME, JOURNEY))
    at = np.array([to_micros(instant)])
    first, second, _ = there.to_utc(there.to_local(at))
    assert at[0] in (first[0], second[0])


def test_hours_gained_on_a_flight_stand_twice_and_hours_lost_never_were() -> None:
    there = zone(travelled(HOME, JOURNEY))
    # 14:00 in New York is 19:00 in Oslo: the clock went back five hours.
    clocks = [datetime(2026, 3, 10, 16), datetime(2026, 3, 10, 13), datetime(2026, 3, 20, 3)]
    _, _, kind = there.to_utc(np.array([to_micros(clock) for clock in clocks]))
    assert kind.tolist() == [1, 0, -1]


def _roster(folder: Path, zones: str) -> Path:
    (folder / "roster.csv").write_text("participant_ref,time_zone\nK01,Europe/Oslo\nK02,Europe/Oslo\n")
    (folder / "time_zones.csv").write_text("participant_ref,from_local,time_zone\n" + zones)
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("K01,2026-03-10T14:00,Europe/Olso", "did you mean Europe/Oslo"),
        ("K01,10.03.2026,Europe/Oslo", "from_local must be a local time"),
        ("K01,2026-03-10T14:00+01:00,Europe/Oslo", "without an offset"),
        ("K09,2026-03-10T14:00,Europe/Oslo", "does not stand in roster.csv"),
    ],
)
def test_a_bad_row_says_where_and_its_participant_waits(tmp_path: Path, line: str, expected: str) -> None:
    folder = _roster(tmp_path, f"K02,2026-03-10T14:00,Asia/Tokyo\n{line}\n")
    found = load_roster(folder / "roster.csv", folder / "time_zones.csv")
    (problem,) = found.problems
    assert problem.startswith("time_zones.csv line 3: ")
    assert expected in problem
    ref = line.partition(",")[0]
    assert found.waiting == {ref}
    assert ref not in found.entries
    assert found.entries["K02"].travel == ((datetime(2026, 3, 10, 14), "Asia/Tokyo"),)


def test_an_unknown_column_is_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "roster.csv").write_text("participant_ref\nK01\n")
    (tmp_path / "time_zones.csv").write_text("participant_ref,from,time_zone\nK01,2026-03-10T14:00,Asia/Tokyo\n")
    with pytest.raises(WrongUse, match="from_local"):
        load_roster(tmp_path / "roster.csv", tmp_path / "time_zones.csv")


@pytest.mark.fault(49)
def test_nights_of_a_traveller_lie_on_the_dates_of_where_they_slept(tmp_path: Path) -> None:
    """Fitbit's local clocks, ten nights from 7 March; from the 10th in New York, where 23:00 is 03:00Z or 04:00Z."""
    root = make_study(tmp_path / "study")
    (root / "time_zones.csv").write_text(
        "participant_ref,from_local,time_zone\nK01,2026-03-10T14:00,America/New_York\n"
    )
    logs = fitbit_nights(datetime(2026, 3, 6, 23), 10)
    land(root, "K01/sleep-2026-03-06.json", as_json(logs))
    run(root)
    found = rows(root, "select night_date, onset_local, bed_start_utc, time_basis from night order by night_date")
    expected = []
    for i in range(10):
        clock = datetime(2026, 3, 6, 23) + timedelta(days=i)
        name = HOME if clock < JOURNEY[0][0] else "America/New_York"
        expected.append((clock.date(), clock.replace(tzinfo=ZoneInfo(name)).astimezone(UTC)))
    assert [(night, start) for night, _, start, _ in found] == expected
    assert {onset.date() for _, onset, _, _ in found} == {night for night, _ in expected}
    assert {basis for *_, basis in found} == {"roster"}


def test_a_journey_added_later_moves_the_nights(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study")
    land(root, "K01/sleep-2026-03-12.json", as_json(fitbit_nights(datetime(2026, 3, 12, 23), 2)))
    run(root)
    before = rows(root, "select bed_start_utc from night order by 1")
    (root / "time_zones.csv").write_text(
        "participant_ref,from_local,time_zone\nK01,2026-03-10T14:00,America/New_York\n"
    )
    run(root)
    after = rows(root, "select bed_start_utc from night order by 1")
    assert [b - a for (a,), (b,) in zip(before, after, strict=True)] == [timedelta(hours=5)] * 2
    assert open_study(root).roster.entries["K01"].time_zone == HOME
    assert rows(root, "select time_zone from participant") == [(HOME,)]

"""Local clocks and instants against zoneinfo, one value at a time."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core import clock

ZONES = ["Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns", "UTC",
         "Africa/Casablanca", "Pacific/Apia"]  # fmt: skip
GOLDEN = Path(__file__).parents[1] / "golden"
clocks = st.datetimes(datetime(2001, 1, 1), datetime(2040, 1, 1)).map(lambda d: d.replace(second=0, microsecond=0))


def _near_change(zone: str) -> st.SearchStrategy[datetime]:
    changes = clock.zone(zone).changes_utc.tolist()
    if not changes:
        return clocks
    minutes = st.integers(-24 * 60, 24 * 60).map(lambda m: timedelta(minutes=m))
    return st.builds(lambda at, by: clock.from_micros(at).replace(tzinfo=None) + by, st.sampled_from(changes), minutes)


@pytest.mark.parametrize("name", ZONES)
@pytest.mark.fault(47, 48)
def test_local_to_utc_agrees_with_pep_495(name: str) -> None:
    @given(st.one_of(clocks, _near_change(name)))
    def agrees(local: datetime) -> None:
        first, second, kind = clock.zone(name).to_utc(np.array([clock.to_micros(local)]))
        expected = [local.replace(tzinfo=clock._zone_info(name), fold=fold).astimezone(UTC) for fold in (0, 1)]
        assert [clock.from_micros(first[0]), clock.from_micros(second[0])] == expected
        back = expected[0].astimezone(clock._zone_info(name)).replace(tzinfo=None)
        assert (kind[0] == -1) == (back != local)
        assert (kind[0] == 1) == (back == local and expected[0] != expected[1])

    agrees()


@pytest.mark.parametrize("name", ZONES)
def test_utc_to_local_agrees_with_zoneinfo(name: str) -> None:
    @given(st.one_of(clocks, _near_change(name)))
    def agrees(instant: datetime) -> None:
        local = clock.zone(name).to_local(np.array([clock.to_micros(instant)]))
        expected = instant.replace(tzinfo=UTC).astimezone(clock._zone_info(name)).replace(tzinfo=None)
        assert clock.from_micros(local[0]).replace(tzinfo=None) == expected

    agrees()


def test_unknown_zone_names_do_not_exist() -> None:
    for name in ("Europe/Olso", "", "../etc/passwd", "Europe", "/etc/localtime", "Europe/../Europe/Oslo"):
        assert not clock.zone_exists(name)


@pytest.mark.parametrize(
    "case", json.loads((GOLDEN / "night_date.json").read_text())["cases"], ids=lambda c: c["start"]
)
def test_golden_night_dates(case: dict[str, str]) -> None:
    zone = clock.zone("Europe/Oslo")
    start, end = (np.array([clock.to_micros(datetime.fromisoformat(case[k]))]) for k in ("start", "end"))
    night = clock.night_day(zone.to_local(start))
    assert date(1970, 1, 1) + timedelta(days=int(night[0])) == date.fromisoformat(case["night_date"])
    wake = clock.from_micros(zone.to_local(end)[0]).date()
    assert wake == date.fromisoformat(case["wake_date"])
    assert (end - start)[0] / clock.MINUTE == case["tib_min"]


def test_shift_workers_night_begins_at_their_anchor_hour() -> None:
    local = np.array([clock.to_micros(datetime(2026, 3, 5, 13, 30))])
    assert clock.night_day(local, 12)[0] == clock.day_number(date(2026, 3, 5))
    assert clock.night_day(local, 18)[0] == clock.day_number(date(2026, 3, 4))

"""night_exposure against the slow reference, and what must hold for any log."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ingest._core.settings import Exposure
from ingest.mart.exposure import night_exposure
from ingest.mart.person import PersonSettings
from mart.exposure_reference import Reference
from mart.exposure_rows import WHO, nights_table, primary_key, uses_table
from tries import tries

Row = dict[str, Any]
# A date a few days before a change of the clocks, where the zone has one.
PLACES = [
    ("Europe/Oslo", date(2024, 3, 27)),
    ("Europe/Oslo", date(2024, 10, 23)),
    ("America/New_York", date(2024, 3, 6)),
    ("America/New_York", date(2024, 10, 30)),
    ("Australia/Lord_Howe", date(2024, 4, 3)),
    ("Asia/Kolkata", date(2024, 6, 1)),
]
PARTS = ["morning", "midday", "afternoon", "evening", "night"]
MINUTE = timedelta(minutes=1)
slow = settings(
    max_examples=tries(50), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@st.composite
def studies(draw: st.DrawFn) -> tuple[list[Row], list[Row], PersonSettings, Exposure]:
    """One participant's nights and log over about ten days, and settings."""
    zone_name, first = draw(st.sampled_from(PLACES))
    zone = ZoneInfo(zone_name)
    anchor_hour = draw(st.sampled_from([12, 12, 18, 0]))
    rules = Exposure(
        day_start_hour=draw(st.sampled_from([5, 5, 3])),
        usual_nights=draw(st.integers(1, 4)),
        logged_by=draw(st.sampled_from(["substance", "any"])),
        half_lives_h={"kratom": draw(st.sampled_from([2.5, 6, 11]))},
        dose_bands={"kratom": {"unit": "g", "edges": draw(st.sampled_from([[0, 3, 6], [2.5], [0.1, 4]]))}},
    )
    nights: dict[date, Row] = {}
    for number in draw(st.sets(st.integers(0, 9), min_size=1)):
        begin = datetime.combine(first + timedelta(days=number), datetime.min.time(), zone).astimezone(UTC)
        onset = begin + timedelta(hours=anchor_hour) + draw(st.integers(0, 22 * 60)) * MINUTE
        local = onset.astimezone(zone).replace(tzinfo=None)
        wake = onset + draw(st.integers(1, 10 * 60)) * MINUTE
        unknown = draw(st.integers(0, 9)) == 0
        day = (local - timedelta(hours=anchor_hour)).date()
        nights[day] = {
            "participant_id": WHO,
            "night_date": day,
            "onset_utc": None if unknown else onset,
            "final_wake_utc": None if draw(st.integers(0, 9)) == 0 else wake,
            "onset_local": None if unknown else local,
        }
    onsets = [row["onset_utc"] for row in nights.values() if row["onset_utc"]]
    uses = [draw(use_rows(first, zone, onsets)) for _ in range(draw(st.integers(0, 14)))]
    for number in draw(st.sets(st.integers(-2, 11))):
        no = stated_none(draw(st.sampled_from(["kratom", "alcohol"])), first + timedelta(days=number))
        of_a_part = {"time_precision": "part_of_day", "flags": "part:evening,partial_no"}
        of_a_product = {"flags": "partial_no"}
        uses.append(no | draw(st.sampled_from([{}, {}, of_a_part, of_a_product])))
    person = PersonSettings(WHO, zone_name, day_anchor_hour=anchor_hour)
    return list(nights.values()), uses, person, rules


def stated_none(substance: str, day: date) -> Row:
    return {
        "participant_id": WHO,
        "substance": substance,
        "substance_class": "c_" + substance,
        "no_use": True,
        "taken_utc": None,
        "local_date": day,
        "time_precision": "day",
        "amount": None,
        "unit": None,
        "flags": None,
    }


@st.composite
def use_rows(draw: st.DrawFn, first: date, zone: ZoneInfo, onsets: list[datetime]) -> Row:
    """A use; often exactly at the edge of a window."""
    precision = draw(st.sampled_from(["exact"] * 6 + ["hour", "hour", "part_of_day", "day"]))
    unit = draw(st.sampled_from(["g", "g", "g", "g", "mg", None]))
    amount = draw(st.none() | st.integers(0, 80)) if unit else None
    at = datetime(first.year, first.month, first.day, tzinfo=UTC) + draw(st.integers(-2880, 15840)) * MINUTE
    if onsets and draw(st.booleans()):
        back = draw(st.sampled_from([0, 3, 6, 12, 24, -1])) * 60 + draw(st.integers(-1, 1))
        at = draw(st.sampled_from(onsets)) - back * MINUTE
    local = at.astimezone(zone).replace(tzinfo=None)
    timed = precision in ("exact", "hour")
    return stated_none(draw(st.sampled_from(["kratom", "kratom", "alcohol"])), local.date()) | {
        "no_use": False,
        "taken_utc": at if timed else None,
        "taken_local": local if timed else None,
        "time_precision": precision,
        "amount": None if amount is None else amount / 10,
        "unit": unit,
        "flags": "part:" + draw(st.sampled_from(PARTS)) if precision == "part_of_day" else None,
    }


def computed(nights: list[Row], uses: list[Row], person: PersonSettings, rules: Exposure) -> list[Row]:
    table = night_exposure(nights_table(nights), uses_table(uses), {WHO: person}, rules)
    return table.to_pylist()


@slow
@given(studies())
def test_equals_the_definitions_read_row_by_row(
    study: tuple[list[Row], list[Row], PersonSettings, Exposure],
) -> None:
    got, expected = computed(*study), Reference(*study).rows()
    assert len(got) == len(expected)
    for row, other in zip(got, expected, strict=True):
        assert set(row) == set(other)
        load, other_load = row.pop("residual_load"), other.pop("residual_load")
        assert row == other
        assert load == (None if other_load is None else pytest.approx(other_load, abs=2e-9))


@slow
@given(studies(), st.randoms(use_true_random=False))
def test_order_of_the_rows_does_not_matter(
    study: tuple[list[Row], list[Row], PersonSettings, Exposure], random: Any
) -> None:
    nights, uses, person, rules = study
    straight = night_exposure(nights_table(nights), uses_table(uses), {WHO: person}, rules)
    shuffled = random.sample(nights, len(nights)), random.sample(uses, len(uses))
    again = night_exposure(nights_table(shuffled[0]), uses_table(shuffled[1]), {WHO: person}, rules)
    assert straight.equals(again)
    keys = [tuple(row[name] for name in primary_key("night_exposure")) for row in straight.to_pylist()]
    assert keys == sorted(set(keys))


@slow
@given(studies(), st.integers(0, 99), st.integers(-600, 600))
def test_a_dose_outside_a_window_changes_nothing_in_it(
    study: tuple[list[Row], list[Row], PersonSettings, Exposure], which: int, minutes: int
) -> None:
    nights, uses, person, rules = study
    timed = [row for row in uses if row["taken_utc"] and row["unit"] == "g" and row["substance"] == "kratom"]
    assume(timed)
    at = timed[which % len(timed)]["taken_utc"] + minutes * MINUTE
    more = {**timed[0], "taken_utc": at, "time_precision": "exact", "amount": 7.0}
    # The added dose must neither log a silent day nor contradict a stated no-use.
    reference = Reference(nights, uses, person, rules)
    assume(reference.status("kratom", reference.day_of(at)) == "logged")
    before, after = computed(nights, uses, person, rules), computed(nights, [*uses, more], person, rules)
    for old, new in zip(before, after, strict=True):
        mine = (old["substance"], old["unit"]) == ("kratom", "g")
        for hours in (3, 6, 12, 24):
            end = old["anchor_utc"]
            inside = mine and end is not None and end - timedelta(hours=hours) < at <= end
            amount = old[f"amount_{hours}h"]
            if inside and amount is not None:
                assert new[f"amount_{hours}h"] == pytest.approx(amount + 7.0, abs=1e-9)
            elif not inside:
                assert new[f"amount_{hours}h"] == amount
                assert hours not in (6, 24) or new[f"dose_count_{hours}h"] == old[f"dose_count_{hours}h"]


@slow
@given(studies(), studies())
def test_a_participant_does_not_depend_on_another(
    one: tuple[list[Row], list[Row], PersonSettings, Exposure],
    two: tuple[list[Row], list[Row], PersonSettings, Exposure],
) -> None:
    rules = one[3]
    other = "p0000000000000000000b"

    def as_other(rows: list[Row]) -> list[Row]:
        return [{**row, "participant_id": other} for row in rows]

    people = {WHO: one[2], other: PersonSettings(other, two[2].zone_name)}
    both = night_exposure(
        nights_table([*as_other(two[0]), *one[0]]), uses_table([*as_other(two[1]), *one[1]]), people, rules
    )
    alone = computed(one[0], one[1], one[2], rules)
    assert [row for row in both.to_pylist() if row["participant_id"] == WHO] == alone

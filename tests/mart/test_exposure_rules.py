"""Last dose, load, doses during sleep, keys and bands of night_exposure, worked out by hand."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ingest._core.contract import arrow_schema
from ingest._core.errors import Terminal
from ingest._core.settings import Exposure
from ingest.mart.exposure import band_labels, night_exposure
from mart.exposure_rows import (
    WHO,
    day_use,
    dose,
    exposures,
    night,
    nights_table,
    no_use,
    no_uses,
    one,
    uses_table,
)

EVENING = night("2024-03-04", "2024-03-04T23:00Z", "2024-03-05T06:00Z")
LOGGED_BEFORE = no_uses("2024-03-01", "2024-03-03")
LOGGED_AFTER = [no_use("2024-03-05")]
BANDS = {"kratom": {"unit": "g", "edges": [0, 3, 6]}}


# The last dose


def test_two_uses_at_one_instant_are_one_last_dose() -> None:
    uses = [dose("2024-03-04T20:00Z", 1.5), dose("2024-03-04T20:00Z", 2.0), dose("2024-03-04T10:00Z", 9.0)]
    row = one(exposures([EVENING], uses))
    assert (row["hours_since_last_dose"], row["last_dose_amount"]) == (3.0, 3.5)


@pytest.mark.parametrize(
    ("more", "hours"),
    [
        ([no_use("2024-03-03")], 51.0),
        ([], None),  # a silent day between
        ([no_use("2024-03-03"), day_use("2024-03-03", 1.0)], None),  # a conflict between
        ([day_use("2024-03-03", 1.0)], None),  # an untimed use that lies later
        ([no_use("2024-03-03"), day_use("2024-03-01", 1.0)], 51.0),  # an untimed use that lies before
        ([no_use("2024-03-03"), day_use("2024-03-02", 1.0)], None),  # one that may lie later on its day
        (
            [no_use("2024-03-03"), dose("2024-03-04T23:40Z", 1.0, time_precision="hour")],
            None,
        ),  # or just before
    ],
)
def test_hours_since_the_last_dose(more: list[dict], hours: float | None) -> None:
    sleep = night("2024-03-04", "2024-03-04T23:30Z", None)
    uses = [dose("2024-03-02T20:30Z", 1.0), *more]
    uses += [] if more and more[-1].get("taken_utc") else [no_use("2024-03-04")]
    assert one(exposures([sleep], uses))["hours_since_last_dose"] == hours


# Load


def loads(*uses: dict) -> float | None:
    """Load at 23:00 with a half-life of 10 h: its five half-lives reach back to 21:00 on 2 March."""
    return one(exposures([EVENING], list(uses), Exposure(half_lives_h={"kratom": 10})))["residual_load"]


def test_load_halves_with_every_half_life() -> None:
    uses = [dose("2024-03-04T13:00Z", 4.0), dose("2024-03-03T17:00Z", 8.0), no_use("2024-03-02")]
    assert loads(*uses) == 4.0 / 2 + 8.0 / 8
    assert loads(*uses[::-1]) == 4.0 / 2 + 8.0 / 8


def test_load_without_any_dose_is_zero_only_where_the_days_are_logged() -> None:
    assert loads(*no_uses("2024-03-02", "2024-03-04")) == 0.0
    assert loads(*no_uses("2024-03-03", "2024-03-04")) is None


@pytest.mark.parametrize(
    "spoiler",
    [
        dose("2024-03-03T10:00Z", None),
        day_use("2024-03-03", 1.0),
        day_use("2024-03-03", 1.0, time_precision="part_of_day", flags="part:midday"),
        dose("2024-03-04T23:10Z", 1.0, time_precision="hour"),
    ],
)
def test_load_needs_every_use_timed_and_known(spoiler: dict) -> None:
    sleep = night("2024-03-04", "2024-03-04T23:30Z", None)
    uses = [
        dose("2024-03-03T11:00Z", 1.0),
        dose("2024-03-04T11:00Z", 1.0),
        *no_uses("2024-03-01", "2024-03-02"),
    ]
    settings = Exposure(half_lives_h={"kratom": 10})
    assert one(exposures([sleep], uses, settings))["residual_load"] is not None
    assert one(exposures([sleep], [*uses, spoiler], settings))["residual_load"] is None


def test_no_half_life_no_load() -> None:
    assert one(exposures([EVENING], no_uses("2024-01-01", "2024-03-04")))["residual_load"] is None


# Doses during sleep


@pytest.mark.parametrize(
    ("uses", "expected"),
    [
        ([dose("2024-03-05T02:00Z", 1.0)], True),
        ([dose("2024-03-05T02:00Z", 1.0), *LOGGED_AFTER], True),
        ([dose("2024-03-04T23:00Z", 1.0), *LOGGED_AFTER], False),
        ([dose("2024-03-04T20:00Z", 1.0), dose("2024-03-05T06:00Z", 1.0)], False),
        ([dose("2024-03-04T20:00Z", 1.0)], None),
        ([day_use("2024-03-04", 1.0), *LOGGED_AFTER], None),
        ([dose("2024-03-05T02:00Z", 1.0, time_precision="hour"), *LOGGED_AFTER], True),
        ([dose("2024-03-05T02:00Z", 1.0), no_use("2024-03-04"), *LOGGED_AFTER], None),
    ],
)
def test_dosed_during_sleep(uses: list[dict], expected: bool | None) -> None:
    assert one(exposures([EVENING], uses))["dosed_during_sleep"] is expected


def test_sleep_that_ends_as_the_next_exposure_day_begins_does_not_touch_it() -> None:
    sleep = night("2024-03-04", "2024-03-04T23:00Z", "2024-03-05T05:00Z")
    assert one(exposures([sleep], [no_use("2024-03-04")]))["dosed_during_sleep"] is False


# Keys, units, bands


def test_two_units_are_two_rows_and_a_use_without_unit_counts_in_both() -> None:
    uses = [dose("2024-03-04T20:00Z", 2.0), dose("2024-03-04T21:00Z", 40.0, "mg"), *LOGGED_BEFORE]
    rows = exposures([EVENING], uses)
    assert [one(rows, unit=unit)["amount_24h"] for unit in ("g", "mg")] == [2.0, 40.0]
    assert [one(rows, unit=unit)["dose_count_24h"] for unit in ("g", "mg")] == [1, 1]
    rows = exposures([EVENING], [*uses, dose("2024-03-04T22:00Z", None, None)])
    assert [one(rows, unit=unit)["amount_24h"] for unit in ("g", "mg")] == [None, None]
    assert [one(rows, unit=unit)["dose_count_24h"] for unit in ("g", "mg")] == [2, 2]
    assert [one(rows, unit=unit)["n_amount_unknown"] for unit in ("g", "mg")] == [1, 1]


def test_without_any_unit_the_unit_is_the_use() -> None:
    assert one(exposures([EVENING], [day_use("2024-03-04", None, None)]))["unit"] == "use"
    registry = {"kratom": ("leaf", "g")}
    assert one(exposures([EVENING], [day_use("2024-03-04", None, None)], registry=registry))["unit"] == "g"


def test_substances_of_the_study_have_rows_without_any_log() -> None:
    settings = Exposure(substances=["kratom", "alcohol"])
    rows = exposures([EVENING], [day_use("2024-03-04", 1.0)], settings, {"alcohol": ("depressant", "g")})
    row = one(rows, substance="alcohol")
    assert (row["log_status"], row["substance_class"], row["unit"]) == ("not_logged", "depressant", "g")
    measured = {name for name, value in row.items() if value is not None}
    assert measured == {
        "participant_id",
        "night_date",
        "anchor",
        "anchor_utc",
        "anchor_basis",
        "substance",
        "substance_class",
        "unit",
        "log_status",
    }
    unknown = one(exposures([EVENING], [], settings), substance="alcohol")
    assert (unknown["substance_class"], unknown["unit"]) == ("unknown", "use")
    assert one(rows, substance="kratom")["amount_day"] == 1.0
    assert (
        exposures([EVENING], [day_use("2024-03-04", 1.0)], Exposure(substances=["alcohol"]))[0]["substance"]
        == "alcohol"
    )


@pytest.mark.parametrize(
    ("amount", "band"), [(0.0, "[0,3)"), (2.999999, "[0,3)"), (3.0, "[3,6)"), (6.0, "[6,inf)"), (None, None)]
)
def test_dose_band(amount: float | None, band: str | None) -> None:
    row = one(exposures([EVENING], [day_use("2024-03-04", amount)], Exposure(dose_bands=BANDS)))
    assert row["dose_band"] == band


def test_dose_band_without_use_without_log_and_in_another_unit() -> None:
    settings = Exposure(dose_bands=BANDS, substances=["kratom"])
    assert one(exposures([EVENING], [no_use("2024-03-04")], settings))["dose_band"] == "none"
    assert one(exposures([EVENING], [], settings))["dose_band"] is None
    assert one(exposures([EVENING], [day_use("2024-03-04", 4.0, "mg")], settings))["dose_band"] is None


def test_bands_begin_at_zero() -> None:
    bands = Exposure.model_validate({"dose_bands": {"x": {"unit": "g", "edges": [0.5, 15]}}}).dose_bands["x"]
    assert band_labels(bands) == ("none", "[0,0.5)", "[0.5,15)", "[15,inf)")


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), 1e300])
def test_an_amount_that_is_no_number_to_add_is_an_unknown_one(amount: float) -> None:
    row = one(exposures([EVENING], [dose("2024-03-04T22:00Z", amount)]))
    assert (row["amount_3h"], row["dose_count_6h"], row["amount_day"]) == (None, 1, None)


def test_sums_are_exact() -> None:
    uses = [dose(f"2024-03-04T{hour:02}:{minute:02}Z", 0.1) for hour in range(12, 22) for minute in range(60)]
    assert one(exposures([EVENING], uses))["amount_day"] == 60.0


# Edges of the call


def test_nothing_in_nothing_out() -> None:
    schema = arrow_schema("night_exposure")
    assert night_exposure(nights_table([]), uses_table([]), {}, Exposure()).equals(schema.empty_table())
    assert exposures([EVENING], []) == []


def test_nights_of_somebody_without_settings_are_refused() -> None:
    with pytest.raises(Terminal, match="whole roster") as error:
        night_exposure(nights_table([EVENING]), uses_table([]), {}, Exposure())
    assert WHO not in str(error.value)


def test_local_clock_of_the_helper_agrees_with_the_zone() -> None:
    row = night("2024-07-01", "2024-07-01T21:00Z", None, "Europe/Oslo")
    assert row["onset_local"] == datetime(2024, 7, 1, 23, 0)
    assert row["onset_utc"].astimezone(ZoneInfo("Europe/Oslo")).hour == 23

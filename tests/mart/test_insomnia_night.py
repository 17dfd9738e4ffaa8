"""Nights judged by the criteria of a preset, in three-valued logic (decided rule 9)."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest._core.settings_insomnia import Insomnia
from ingest.mart.diary import night_diary
from ingest.mart.insomnia import insomnia_night
from ingest.mart.person import PersonSettings

WHO, NIGHT = "p0000000000000000000a", date(2026, 1, 5)
Row = dict[str, Any]
# At, just below and far from the thresholds in use.
MINUTES = st.sampled_from([None, 0.0, 17.0, 18.0, 20.5, 21.0, 30.0, 30.99, 31.0, 200.0])


def judged(of_diary: Row | None = None, of_device: Row | None = None, **settings: Any) -> list[Row]:
    """Rows of insomnia_night for one night of the diary, the device or both."""
    tables = [
        pa.Table.from_pylist([] if row is None else [{"participant_id": WHO, "night_date": NIGHT, **row}],
                             schema=arrow_schema(name))
        for name, row in (("night", of_device), ("night_diary", of_diary))
    ]  # fmt: skip
    found = insomnia_night(*tables, Insomnia.model_validate(settings))
    assert found.schema.equals(arrow_schema("insomnia_night"))
    return found.to_pylist()


def any_of(*answers: bool | None) -> bool | None:
    """True if one is true, false if all are known and false, else unknown."""
    if True in answers:
        return True
    return None if None in answers else False


def at_least(value: float | None, threshold: float) -> bool | None:
    return None if value is None else value >= threshold


@given(MINUTES, MINUTES, MINUTES, st.sampled_from([("lichstein2003", 31, 31), ("levenson2013", 18, 21)]))
def test_diary_presets(
    sol: float | None, waso: float | None, early: float | None, preset: tuple[str, int, int]
) -> None:
    name, sol_from, waso_from = preset
    (row,) = judged({"sol_min": sol, "waso_min": waso, "early_wake_min": early}, diary=name)
    long_sol, long_waso = at_least(sol, sol_from), at_least(waso, waso_from)
    assert row["is_bad"] is any_of(long_sol, long_waso)
    held = [word for word, holds in (("sol", long_sol), ("waso", long_waso)) if holds]
    assert row["criteria"] == (",".join(held) or None)
    assert (row["basis"], row["preset"]) == ("diary", name)
    assert (row["sol_min"], row["waso_min"], row["early_wake_min"]) == (sol, waso, early)


@given(MINUTES, MINUTES)
def test_the_device_is_judged_by_long_wakes_alone(waso: float | None, long: float | None) -> None:
    (row,) = judged(of_device={"waso_min": waso, "waso_long_min": long, "sol_min": 99.0})
    assert row["is_bad"] is at_least(long, 31)
    assert row["criteria"] == ("waso_long" if row["is_bad"] else None)
    assert (row["basis"], row["preset"]) == ("wearable", "wearable_long_wake")


def test_diary_and_device_stand_apart() -> None:
    rows = judged({"sol_min": 5.0, "waso_min": 5.0}, {"waso_long_min": 90.0})
    assert [(row["basis"], row["is_bad"]) for row in rows] == [("diary", False), ("wearable", True)]


@pytest.mark.parametrize(("se", "bad"), [(84.99, True), (85.0, False), (None, None)])
def test_sleep_efficiency_is_bad_below_its_threshold(se: float | None, bad: bool | None) -> None:
    (row,) = judged({"se_tib_pct": se, "sol_min": 200.0}, diary="se85")
    assert (row["is_bad"], row["criteria"]) == (bad, "se" if bad else None)


@pytest.mark.parametrize(("early", "bad"), [(29.0, False), (30.0, True), (None, None)])
def test_early_waking_is_a_preset_of_its_own(early: float | None, bad: bool | None) -> None:
    (row,) = judged(
        {"early_wake_min": early, "sol_min": 200.0}, diary="early_waking", thresholds={"early_wake_min": 30}
    )
    assert (row["is_bad"], row["criteria"]) == (bad, "early_wake" if bad else None)


def test_the_studys_thresholds_take_the_place_of_the_presets() -> None:
    (row,) = judged({"sol_min": 25.0, "waso_min": 30.0}, thresholds={"sol_min": 25})
    assert (row["is_bad"], row["criteria"]) == (True, "sol")
    (row,) = judged(of_device={"waso_long_min": 40.0}, thresholds={"waso_long_min": 45})
    assert row["is_bad"] is False


@pytest.mark.parametrize(
    ("woke", "meant", "expected"), [("05:00", "06:30", 90.0), ("07:00", "06:30", 0.0), ("05:00", None, None)]
)
def test_the_diary_tells_how_early_the_person_woke(woke: str, meant: str | None, expected: float | None) -> None:
    row = {
        "participant_id": WHO, "night_date": NIGHT, "instrument": "d", "diary_id": "d1", "source_file_id": "f",
        "exported_at": datetime.fromisoformat("2026-02-01T00:00Z"), "content_hash": "h", "source_row": 2,
        "final_wake_local": datetime.fromisoformat(f"2026-01-06T{woke}"),
        "intended_wake_local": datetime.fromisoformat(f"2026-01-06T{meant}") if meant else None,
    }  # fmt: skip
    diaries = pa.Table.from_pylist([row], schema=arrow_schema("sleep_diary"))
    (found,) = night_diary(diaries, {WHO: PersonSettings(WHO, "Europe/Oslo")}).to_pylist()
    assert found["early_wake_min"] == expected

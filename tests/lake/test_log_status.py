"""From logs to `log_status`: stated noes, daily forms, the study's rule for logged days, entries made days later."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from studies import as_json, change_settings, check_counts, fitbit_nights, land, make_study, rows, run

FORM: dict[str, Any] = {
    "name": "evening_form",
    "layout": "daily",
    "date": {"column": "Day", "format": "%Y-%m-%d"},
    "date_means": "use_day",
    "reported_at": {"column": "Filled in", "format": "%Y-%m-%d %H:%M"},
    "recall_method": "end_of_day",
    "answers": {"yes": ["Yes"], "no": ["No"], "none": [""]},
    "items": [
        {"substance": "alcohol", "answer": "Alcohol?"},
        {"substance": "kratom", "amount": "Kratom (g)", "unit": "g"},
    ],
}
# 2 March leaves alcohol open, 3 March is filled in two days later, the row of 5 March answers nothing.
ANSWERS = (
    "Day,Filled in,Alcohol?,Kratom (g)\n"
    "2026-03-02,2026-03-02 22:00,,0\n"
    "2026-03-03,2026-03-05 08:00,No,4\n"
    "2026-03-05,2026-03-05 22:00,,\n"
)
LOG = "substance,taken_at,amount,unit,no_use\nalcohol,2026-03-01,,,yes\nalcohol,2026-03-06,,,yes\n"
LATER = "substance,taken_at,amount,unit,reported_at\nkratom,2026-03-01T21:30,3,g,2026-03-04T09:30\n"
NAMES = {"used": "logged", "no": "none_reported", "-": "not_logged"}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Nights of 1 to 6 March with a form, a log, and nothing at all of 4 March."""
    root = make_study(tmp_path / "study", logs=[FORM])
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23, 40), 6)))
    land(root, "K01/form.csv", ANSWERS)
    land(root, "K01/log.csv", LOG)
    run(root)
    return root


def statuses(root: Path, substance: str) -> list[str]:
    """log_status of the nights of 1 to 6 March."""
    found = rows(root, f"select night_date, log_status from night_exposure where substance = '{substance}' "
                 "and anchor = 'onset' order by 1")  # fmt: skip
    assert [night for night, _ in found] == [date(2026, 3, day) for day in range(1, 7)]
    return [status for _, status in found]


def spelt(words: str) -> list[str]:
    return [NAMES[word] for word in words.split()]


def test_stated_noes_and_forms_are_answers_and_silence_is_none(study: Path) -> None:
    check_counts(study)
    assert statuses(study, "kratom") == spelt("- no used - - -")
    assert statuses(study, "alcohol") == spelt("no - no - - no")


def test_a_study_may_count_a_day_as_logged_by_any_substance(study: Path) -> None:
    change_settings(study, exposure={"logged_by": "any"})
    run(study)
    assert statuses(study, "kratom") == spelt("no no used - - no")
    assert statuses(study, "alcohol") == spelt("no no no - - no")
    assert rows(study, "select distinct log_status, amount_day from night_exposure where substance = 'kratom' "
                "order by 1") == [("logged", 4.0), ("none_reported", 0.0), ("not_logged", None)]  # fmt: skip


def test_an_entry_made_days_later_counts_on_its_own_day_and_keeps_the_delay(study: Path) -> None:
    land(study, "K01/later.csv", LATER)
    run(study)
    check_counts(study)
    assert statuses(study, "kratom") == spelt("used no used - - -")
    assert rows(study, "select local_date, time_precision, taken_utc, recall_lag_days from substance_use "
                "where substance = 'kratom' order by 1") == [
        (date(2026, 3, 1), "exact", datetime(2026, 3, 1, 20, 30, tzinfo=UTC), 2.5),
        (date(2026, 3, 2), "day", None, 0.0),
        (date(2026, 3, 3), "day", None, 2.0),
    ]  # fmt: skip
    # The record begins at 23:40 with 24 min awake, so the onset is 00:04, 2 h 34 min after the dose.
    assert rows(study, "select amount_3h, amount_day, hours_since_last_dose from night_exposure "
                "where substance = 'kratom' and anchor = 'onset' and night_date = '2026-03-01'") == [
        (3.0, 3.0, pytest.approx(154 / 60)),
    ]  # fmt: skip


PARTS: dict[str, Any] = {
    "name": "two_parts",
    "layout": "wide",
    "date": {"column": "date"},
    "date_means": "use_day",
    "items": [
        {"substance": "kratom", "answer": "morning?", "part_of_day": "morning"},
        {"substance": "kratom", "answer": "evening?", "part_of_day": "evening"},
        {"substance": "caffeine", "answer": "afternoon?", "part_of_day": "afternoon"},
        {"substance": "alcohol", "amount": "beer (g)", "unit": "g"},
        {"substance": "alcohol", "amount": "wine (g)", "unit": "g"},
    ],
}
# One row a day, from 1 March: the two parts, the one part that is asked of caffeine, two products of alcohol.
PART_DAYS = {
    "no,no,no,0,0": ("none_reported", "not_logged", "none_reported"),
    "no,,yes,0,14": ("not_logged", "logged", "logged"),
    "no,yes,,14,": ("logged", "not_logged", "logged"),
    "yes,yes,no,,0": ("logged", "not_logged", "none_reported"),
    ",yes,,,": ("logged", "not_logged", "not_logged"),
    ",no,no,,": ("not_logged", "not_logged", "not_logged"),
}


def test_a_no_about_a_part_of_the_day_is_the_days_where_every_asked_part_says_no(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", logs=[PARTS])
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23, 40), 6)))
    lines = [f"2026-03-0{day},{cells}" for day, cells in enumerate(PART_DAYS, start=1)]
    land(root, "K01/parts.csv", "date,morning?,evening?,afternoon?,beer (g),wine (g)\n" + "\n".join(lines) + "\n")
    run(root)
    check_counts(root)
    found = zip(*(statuses(root, substance) for substance in ("kratom", "caffeine", "alcohol")), strict=True)
    assert list(found) == list(PART_DAYS.values())
    assert rows(root, "select records_read, kept from source_file where source = 'csv_log'") == [(6, 6)]
    # What is said of a part stays in the table: the day of `no, blank` holds a no about its morning.
    assert rows(root, "select time_precision, flags like '%part:morning%', flags like '%partial_no%' "
                "from substance_use where substance = 'kratom' and local_date = '2026-03-02'") == [
        ("part_of_day", True, True),
    ]  # fmt: skip
    assert rows(root, "select count(*) from night_exposure where log_status = 'not_logged' "
                "and (amount_day is not null or amount_24h is not null or dose_band = 'none')") == [(0,)]  # fmt: skip
    assert rows(root, "select distinct amount_day from night_exposure where substance = 'alcohol' "
                "and night_date in ('2026-03-02', '2026-03-03')") == [(14.0,)]  # fmt: skip

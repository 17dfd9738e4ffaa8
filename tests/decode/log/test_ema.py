"""Momentary assessments: a prompt has a time stamp, and its answer says when something was taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from decode.log.log_cases import settings_with, uses_of
from studies import check_counts, land, make_study, quarantine, rows, run

MAPPING = {
    "name": "ema_prompts",
    "layout": "long",
    "taken_at": {"column": "When did you take it?", "format": "%d.%m.%Y %H:%M"},
    "reported_at": {"column": "prompt_answered", "format": "%d.%m.%Y %H:%M"},
    "substance": "What did you take?",
    "amount": "How many grams?",
    "unit_is": "g",
    "recall_method": "event",
}
HEADER = "prompt_answered,What did you take?,When did you take it?,How many grams?\n"


def test_the_use_stands_at_the_answer_and_the_prompt_gives_the_delay(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", logs=[MAPPING])
    log = HEADER + (
        "10.03.2026 21:00,kratom,10.03.2026 18:00,2.5\n"
        "11.03.2026 09:00,kratom,10.03.2026 21:00,3\n"
        "29.03.2026 08:00,kratom,29.03.2026 01:30,2\n"
        "12.03.2026 12:00,kratom,12.03.2026 18:00,2\n"
        "13.03.2026 12:00,kratom,,2\n"
    )
    land(root, "K01/ema.csv", log)
    run(root)
    check_counts(root)
    found = rows(root, "select taken_utc, local_date, time_precision, recall_lag_days, recall_method, "
                 "flags like '%reported_before_use%' from substance_use order by taken_utc")  # fmt: skip
    assert found == [
        (datetime(2026, 3, 10, 17, tzinfo=UTC), datetime(2026, 3, 10).date(), "exact", 0.125, "event", False),
        (datetime(2026, 3, 10, 20, tzinfo=UTC), datetime(2026, 3, 10).date(), "exact", 0.5, "event", False),
        # Answered before it was taken: the use is kept, a delay there is not.
        (datetime(2026, 3, 12, 17, tzinfo=UTC), datetime(2026, 3, 12).date(), "exact", None, "event", True),
        # The clock was set forward between the use and the prompt; the delay is that of the printed clocks.
        (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), datetime(2026, 3, 29).date(), "exact", 6.5 / 24, "event", False),
    ]
    assert [(line.locator, line.reason) for line in quarantine(root)] == [("row 5, When did you take it?", "no_date")]


@given(st.datetimes(datetime(2015, 1, 1), datetime(2026, 4, 1)), st.integers(0, 30 * 24 * 60))
def test_the_delay_is_what_lies_between_the_two_clocks(taken: datetime, minutes: int) -> None:
    taken = taken.replace(second=0, microsecond=0)
    asked = taken + timedelta(minutes=minutes)
    form = "%d.%m.%Y %H:%M"
    log = f"{HEADER}{asked:{form}},kratom,{taken:{form}},1\n"
    (use,) = uses_of(log, settings_with(MAPPING))
    assert use["taken_local"] == taken
    assert abs(use["recall_lag_days"] - minutes / 1440) < 1e-9

"""consents.csv: what is taken from it, what it grants, and what is said of rows that cannot be used."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ingest._core.clock import day_number
from ingest._core.consents import SCOPES, Consent, granted_days, is_granted
from ingest._core.errors import WrongUse
from ingest._core.roster import Roster, load_roster

HEADER = "participant_ref,scope,from_on,until_on"
MARCH = [date(2026, 3, day) for day in range(1, 32)]


def roster(folder: Path, *lines: str, header: str = HEADER) -> Roster:
    """Two participants, K01 and K02, and a consents.csv of these lines."""
    (folder / "roster.csv").write_text("participant_ref,time_zone\nK01,Europe/Oslo\nK02,Europe/Oslo\n")
    (folder / "consents.csv").write_text("\n".join([header, *lines]) + "\n")
    return load_roster(folder / "roster.csv", None, None, folder / "consents.csv")


def granted(read: Roster, ref: str, scope: str, withdrew_on: date | None = None) -> list[int]:
    """Days of March on which a scope is granted, both ways of asking agreeing."""
    consents = read.entries[ref].consents
    days = [day.day for day in MARCH if is_granted(consents, withdrew_on, scope, day)]
    many = granted_days(consents, withdrew_on, scope, np.array([day_number(day) for day in MARCH]))
    assert days == [day.day for day, is_so in zip(MARCH, many, strict=True) if is_so]
    return days


def test_who_does_not_stand_in_it_granted_everything(tmp_path: Path) -> None:
    read = roster(tmp_path, "K01,sleep,,")
    assert [granted(read, "K02", scope) for scope in SCOPES] == [list(range(1, 32))] * 4
    assert granted(read, "K02", "sleep", date(2026, 3, 4)) == [1, 2, 3]


def test_who_stands_in_it_granted_what_it_lists_and_nothing_else(tmp_path: Path) -> None:
    read = roster(tmp_path, "K01,sleep,2026-03-03,2026-03-05", "K01,sleep,2026-03-30,", "K01,scales,,2026-03-02")
    assert granted(read, "K01", "sleep") == [3, 4, 5, 30, 31]
    assert granted(read, "K01", "sleep", date(2026, 3, 31)) == [3, 4, 5, 30]
    assert granted(read, "K01", "scales") == [1, 2]
    assert granted(read, "K01", "substance_use") == granted(read, "K01", "release") == []


def test_none_stands_for_who_granted_nothing(tmp_path: Path) -> None:
    read = roster(tmp_path, "K01,none,,")
    assert [granted(read, "K01", scope) for scope in SCOPES] == [[]] * 4


def test_rows_are_in_order_and_dates_may_be_left_out(tmp_path: Path) -> None:
    read = roster(tmp_path, "K01,sleep", "K01,release", header="participant_ref,scope")
    assert read.problems == []
    assert read.entries["K01"].consents == (Consent("release"), Consent("sleep"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("K01,sleeping,,", "scope must be one of sleep, substance_use, scales, release, or none, did you mean sleep?"),
        ("K01,,,", "scope must be one of"),
        ("K01,scales,01/02/2026,", "from_on must be a date like 2026-03-01"),
        ("K01,scales,,soon", "until_on must be a date like 2026-03-01"),
        ("K01,scales,2026-02-01,2026-01-31", "until_on lies before from_on"),
        ("K01,sleep,2026-01-31,", "shares a day with line 2 of the same scope"),
        ("K01,none,,", "line 2 and this one contradict each other: none stands alone"),
        ("K01,none,2026-02-01,", "the scope none takes no dates"),
        ("K09,sleep,2026-02-01,", "participant_ref does not stand in roster.csv; add it there or remove this row"),
    ],
)
def test_a_bad_row_is_told_by_line_and_its_participant_waits(tmp_path: Path, line: str, said: str) -> None:
    read = roster(tmp_path, "K01,sleep,2026-01-05,2026-01-31", "K02,sleep,,", line)
    (problem,) = read.problems
    assert problem.startswith(f"consents.csv line 4: {said}")
    ref = line.split(",", maxsplit=1)[0]
    assert ref not in read.entries
    assert ref in read.waiting
    assert "K02" in read.entries


def test_a_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"consents.csv: column scope is missing.*did you mean until_on"):
        roster(tmp_path, "K01,sleep,", header="participant_ref,scop,until_o")


def test_what_it_says_is_part_of_the_roster_entry(tmp_path: Path) -> None:
    parts = {roster(tmp_path, line).entries["K01"].hash_part()
             for line in ("K02,sleep,,", "K01,sleep,,", "K01,scales,,", "K01,sleep,2026-03-01,")}  # fmt: skip
    assert len(parts) == 4

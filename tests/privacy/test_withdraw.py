"""A withdrawal: what is from that day on leaves marts and warehouse and does not come back."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from ingest._core import clock
from ingest._core.errors import WrongUse
from ingest._core.study import open_study
from ingest.report.verify import verify
from ingest.withdraw import withdraw
from studies import files, pid, rows, run

ON = date(2026, 1, 25)
DATED = {"night": "night_date", "night_source": "night_date", "night_exposure": "night_date", "trend": "night_date",
         "insomnia_night": "night_date", "night_diary": "night_date", "sleep_diary": "night_date",
         "substance_use": "local_date", "scale_response": "answered_on", "safety_signal": "observed_on"}  # fmt: skip


def days(root: Path, participant_id: str) -> dict[str, tuple[date | None, date | None]]:
    """First and last day of a participant's rows by table."""
    sql = "select min({day}), max({day}) from {table} where participant_id = '{pid}'"
    return {table: rows(root, sql.format(day=day, table=table, pid=participant_id))[0] for table, day in DATED.items()}


@pytest.mark.fault(64)
def test_what_is_from_that_day_on_goes_and_stays_away(demo_copy: Path) -> None:
    k01, before = pid(demo_copy, "K01"), files(demo_copy / "landing")
    had = days(demo_copy, k01)
    assert all(first < ON < last for table, (first, last) in had.items() if table not in ("safety_signal",))
    done = withdraw(open_study(demo_copy), "K01", ON, keep=True)
    has = days(demo_copy, k01)
    assert all(last is None or last < ON for _, last in has.values())
    assert all(first in (had[table][0], None) for table, (first, _) in has.items())
    assert has["night"][0] == had["night"][0]
    ((nights, start, end),) = rows(
        demo_copy, f"select count(*), max(start_utc), max(end_utc) from night n join sleep_session s on "
        f"n.main_session_id = s.session_id where n.participant_id = '{k01}'")  # fmt: skip
    assert (done.counts(), nights > 0) == ({"nights": nights, "published": 1}, True)
    assert start.date() <= ON
    assert rows(demo_copy, f"select max(start_utc) from sleep_session where participant_id = '{k01}'")[0][0] <= end
    assert rows(demo_copy, "select withdrew_on from participant where withdrew_on is not null") == [(ON,)]
    assert verify(open_study(demo_copy)) == []
    # Nothing comes back: not by the next run, not by an export that is handed in again.
    for path in sorted((demo_copy / "landing" / "K01").iterdir()):
        if path.is_file():
            (demo_copy / "landing" / "K01" / f"again-{path.name}").write_bytes(path.read_bytes())
    run(demo_copy)
    assert days(demo_copy, k01) == has
    assert before.items() <= files(demo_copy / "landing").items()


def test_twice_is_as_once(demo_copy: Path) -> None:
    withdraw(open_study(demo_copy), pid(demo_copy, "K01"), ON, keep=True)
    roster, lake = (demo_copy / "roster.csv").read_bytes(), files(demo_copy / "lake")
    assert not withdraw(open_study(demo_copy), "K01", ON, keep=True).published
    assert ((demo_copy / "roster.csv").read_bytes(), files(demo_copy / "lake")) == (roster, lake)


@pytest.mark.parametrize(
    ("ref", "on", "said"),
    [
        ("K99", ON, "no such participant"),
        ("K01", date(2020, 1, 1), "lies before enrolled_on"),
        ("K01", clock.now().date() + timedelta(days=2), "lies in the future"),
    ],
)
def test_what_cannot_be_is_told(demo_done: Path, ref: str, on: date, said: str) -> None:
    before = (demo_done / "roster.csv").read_bytes()
    with pytest.raises(WrongUse, match=said):
        withdraw(open_study(demo_done), ref, on, keep=True)
    assert (demo_done / "roster.csv").read_bytes() == before


def test_a_later_day_would_bring_rows_back(demo_copy: Path) -> None:
    roster = demo_copy / "roster.csv"
    header, *people = roster.read_text().splitlines()
    roster.write_text("\n".join([f"{header},withdrew_on", *(f"{each},2026-01-20" for each in people)]) + "\n")
    with pytest.raises(WrongUse, match="withdrew on 2026-01-20; a later day would bring back what is gone"):
        withdraw(open_study(demo_copy), "K01", ON, keep=True)


def test_rows_that_cannot_be_used_are_told(demo_copy: Path) -> None:
    roster = demo_copy / "roster.csv"
    roster.write_text(roster.read_text().replace("K02,", "K02,Nowhere/Else", 1))
    with pytest.raises(WrongUse, match=r"no usable row in roster.csv"):
        withdraw(open_study(demo_copy), "K02", ON, keep=True)

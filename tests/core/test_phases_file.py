"""phases.csv: what is taken from it, and what is said of rows that cannot be used."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from ingest._core.errors import WrongUse
from ingest._core.phases import Phase
from ingest._core.roster import Roster, load_roster

HEADER = "participant_ref,phase,start_on,end_on"


def roster(folder: Path, *lines: str, header: str = HEADER) -> Roster:
    """Two participants, K01 and K02, and a phases.csv of these lines."""
    (folder / "roster.csv").write_text("participant_ref,time_zone\nK01,Europe/Oslo\nK02,Europe/Oslo\n")
    (folder / "phases.csv").write_text("\n".join([header, *lines]) + "\n")
    return load_roster(folder / "roster.csv", None, folder / "phases.csv")


def test_phases_are_read_in_order_of_their_start(tmp_path: Path) -> None:
    read = roster(
        tmp_path, "K01,taper,2026-02-01,", "K01,run_in,2026-01-05,2026-01-31", "K02,taper,2026-03-01,2026-03-01"
    )
    assert read.problems == []
    assert read.entries["K01"].phases == (
        Phase("run_in", date(2026, 1, 5), date(2026, 1, 31)),
        Phase("taper", date(2026, 2, 1), None),
    )
    assert read.entries["K02"].phases == (Phase("taper", date(2026, 3, 1), date(2026, 3, 1)),)


def test_a_file_without_ends_will_do(tmp_path: Path) -> None:
    read = roster(tmp_path, "K01,taper,2026-02-01", header="participant_ref,phase,start_on")
    assert read.entries["K01"].phases == (Phase("taper", date(2026, 2, 1), None),)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("K01,Taper!,2026-02-01,", "phase must be a name like `taper`: small letters, digits and `_`"),
        ("K01,,2026-02-01,", "phase must be a name like `taper`"),
        ("K01,taper,,", "start_on is empty; write the first day of the phase, like 2026-03-01"),
        ("K01,taper,01/02/2026,", "start_on must be a date like 2026-03-01"),
        ("K01,taper,2026-02-01,soon", "end_on must be a date like 2026-03-01"),
        ("K01,taper,2026-02-01,2026-01-31", "end_on lies before start_on; both are days of the phase"),
        ("K01,late,2026-01-31,", "the phase shares a day with that of line 2"),
        ("K01,early,2025-12-01,", "the phase shares a day with that of line 2"),
        ("K09,taper,2026-02-01,", "participant_ref does not stand in roster.csv; add it there or remove this row"),
    ],
)
def test_a_bad_row_is_told_by_line_and_its_participant_waits(tmp_path: Path, line: str, said: str) -> None:
    read = roster(tmp_path, "K01,run_in,2026-01-05,2026-01-31", "K02,taper,2026-02-01,", line)
    (problem,) = read.problems
    assert problem.startswith(f"phases.csv line 4: {said}")
    ref = line.split(",", maxsplit=1)[0]
    assert ref not in read.entries
    assert ref in read.waiting
    assert "K02" in read.entries


def test_a_wrong_header_names_the_column(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"phases.csv: column start_on is missing; .*did you mean start_on\?"):
        roster(tmp_path, "K01,taper,2026-02-01,", header="participant_ref,phase,starts_on,end_on")


def test_an_entry_with_other_phases_has_another_hash(tmp_path: Path) -> None:
    hashes = {roster(tmp_path, *lines).entries["K01"].hash_part() for lines in (
        (), ("K01,taper,2026-02-01,",), ("K01,taper,2026-02-02,",), ("K01,taper,2026-02-01,2026-03-01",),
    )}  # fmt: skip
    assert len(hashes) == 4
    moved = roster(tmp_path, "K02,taper,2026-02-01,", "K01,taper,2026-02-01,").entries["K01"].hash_part()
    assert moved in hashes

"""Values that cannot be in a log: one line each with row and column, the row set aside, the rest read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from decode.log.log_cases import decode, harmonise, lines_of, settings_with
from ingest._core.errors import Refused
from ingest.decode.model import Decoded

HEADER = "substance,taken_at,amount,unit,note\n"
GOOD = "kratom,2026-03-01T08:30,2.5,g,\nkratom,2026-03-02T08:30,3,g,\n"
DATED: dict[str, Any] = {
    "name": "form",
    "layout": "daily",
    "date": {"column": "day"},
    "date_means": "use_day",
    "items": [{"substance": "alcohol", "answer": "drank"}],
}


def reconciled(decoded: Decoded) -> bool:
    """Every row that was read has one fate."""
    tally = decoded.tally
    return tally.read == tally.kept + tally.duplicate + tally.ignored.total() + tally.quarantined


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("2,5", "not_a_number"),
        ("\uff12\uff15", "not_a_number"),
        ("\u0662", "not_a_number"),
        ("1_000", "not_a_number"),
        ("1,000", "not_a_number"),
        ("1 000", "not_a_number"),
        ("2 or 3, I am not sure", "not_a_number"),
        ("inf", "not_a_number"),
        ("nan", "not_a_number"),
        ("0x10", "not_a_number"),
        ("=1+1", "not_a_number"),
        ("-3", "negative_amount"),
        ("-0.001", "negative_amount"),
    ],
)
def test_an_amount_that_is_none_sets_its_row_aside_alone(cell: str, reason: str) -> None:
    decoded = decode(HEADER + f'kratom,2026-03-03T08:30,"{cell}",g,\n' + GOOD)
    assert lines_of(decoded, "substance_use") == [["row 1, amount", reason]]
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.quarantined) == (3, 2, 1)
    assert reconciled(decoded)
    (line,) = decoded.tally.refusals
    assert line.detail.startswith("expected ")
    assert cell not in line.detail


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("2026-03-03T25:00", "impossible_date"),
        ("2026-03-03T24:00", "impossible_date"),
        ("2026-03-03T12:60", "impossible_date"),
        ("2026-02-30T12:00", "impossible_date"),
        ("\uff12\uff10\uff12\uff16-03-03", "not_a_date"),
        ("03.03.2026", "not_a_date"),
        ("last night", "not_a_date"),
        ("=TODAY()", "not_a_date"),
        ("", "no_date"),
    ],
)
def test_a_time_that_is_none_sets_its_row_aside_alone(cell: str, reason: str) -> None:
    decoded = decode(HEADER + GOOD + f"kratom,{cell},3,g,\n")
    assert lines_of(decoded, "substance_use") == [["row 3, taken_at", reason]]
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.quarantined) == (3, 2, 1)
    assert reconciled(decoded)


def test_a_use_in_the_future_is_set_aside_by_the_day_of_arrival() -> None:
    late = datetime(2027, 1, 1, 12, tzinfo=UTC)
    decoded = decode(HEADER + f"kratom,{late:%Y-%m-%dT%H:%M},3,g,\n" + GOOD)
    assert len(harmonise(decoded)) == 2
    assert lines_of(decoded, "substance_use") == [["row 1, taken_at", "in_the_future"]]
    assert (decoded.tally.kept, decoded.tally.quarantined) == (2, 1)


@pytest.mark.parametrize("note", ["=1+1", '=HYPERLINK("http://x.example")', "@SUM(A1)", "+1", "-1"])
def test_a_formula_in_a_note_is_a_note(note: str) -> None:
    quoted = note.replace('"', '""')
    decoded = decode(HEADER + f'kratom,2026-03-03T08:30,3,g,"{quoted}"\n')
    assert decoded.tally.kept == 1
    assert note not in str(harmonise(decoded).to_pylist()) + str(decoded.tally)


FOREIGN = "kratom,2026-03-03T08:30,3,g,nächste Blüte\n"


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman"])
def test_bytes_of_another_encoding_cost_their_row_and_are_not_guessed(encoding: str) -> None:
    decoded = decode((HEADER + GOOD + FOREIGN + GOOD.replace("03-0", "04-0")).encode(encoding))
    assert lines_of(decoded, "substance_use") == [["row 3, column 5", "encoding"]]
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.quarantined) == (5, 4, 1)
    assert reconciled(decoded)
    assert "expected text in utf-8, got bytes that are none; save the file as UTF-8" in decoded.tally.refusals[0].detail


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "mac-roman"])
def test_a_log_without_a_row_in_utf_8_is_one_line(encoding: str) -> None:
    with pytest.raises(Refused, match="encoding"):
        decode((HEADER + FOREIGN + FOREIGN).encode(encoding))


def test_a_header_in_another_encoding_is_refused() -> None:
    with pytest.raises(Refused, match="a byte in line 1 that is none"):
        decode((HEADER.replace("note", "Größe") + GOOD).encode("cp1252"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_mark_says_what_the_bytes_are(encoding: str) -> None:
    decoded = decode((HEADER + FOREIGN + GOOD).encode(encoding))
    assert (decoded.tally.kept, decoded.tally.refusals) == (3, [])


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"])
def test_mixed_newlines_end_rows_alike(ends: str) -> None:
    decoded = decode(HEADER + GOOD.replace("\n", ends, 1))
    assert (decoded.tally.kept, decoded.tally.refusals) == (2, [])


def _mixed(cells: list[str], **when: str) -> Decoded:
    mapping = {**DATED, "date": {"column": "day", **when}}
    return decode("note,day,drank\n" + "".join(f"x,{cell},yes\n" for cell in cells), settings_with(mapping))


def test_two_orders_of_dates_in_one_column_are_told_with_both_readings() -> None:
    decoded = _mixed(["2026-03-01", "03/04/2026", "13/02/2026", "02/13/2026", "14/02/2026"])
    (line,) = [each for each in decoded.tally.refusals if each.kind == "member"]
    assert (line.locator, line.reason) == ("column 2", "mixed_date_orders")
    assert "2 rows can only be day first, as %d/%m/%Y, the first is row 3;" in line.detail
    assert "1 only month first, as %m/%d/%Y, the first is row 4; 1 could be either" in line.detail
    assert lines_of(decoded, "substance_use") == [[f"row {row}, day", "not_a_date"] for row in (2, 3, 4, 5)]
    assert (decoded.tally.kept, decoded.tally.quarantined) == (1, 4)
    assert reconciled(decoded)


@pytest.mark.parametrize("cells", [["13/02/2026", "03/04/2026"], ["02/13/2026"], ["03/04/2026"], ["40/40/2026"]])
def test_one_order_of_dates_is_not_called_two(cells: list[str]) -> None:
    assert {each.reason for each in _mixed(cells).tally.refusals} == {"not_a_date"}


def test_a_format_says_which_order_is_meant() -> None:
    decoded = _mixed(["03/04/2026", "13/02/2026", "02/13/2026"], format="%d/%m/%Y")
    assert decoded.uses is not None
    assert [day.isoformat() for day in decoded.uses["use_day"].to_pylist()] == ["2026-04-03", "2026-02-13"]
    assert lines_of(decoded, "substance_use") == [["row 3, day", "impossible_date"]]
    assert lines_of(decoded, "member") == []


def test_a_clock_of_25_hours_beside_a_dose_sets_the_dose_aside() -> None:
    item = {"substance": "kratom", "amount": "g", "unit": "g", "at": "at"}
    decoded = decode("day,g,at\n2026-03-01,3,25:00\n2026-03-02,3,22:00\n", settings_with({**DATED, "items": [item]}))
    assert len(decoded.tally.refusals) == 1
    assert decoded.tally.refusals[0].locator == "row 1, at"
    assert decoded.tally.kept == 1
    assert reconciled(decoded)

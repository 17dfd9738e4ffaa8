"""Logs as XLSX: cells become the text that a CSV of the same log would hold, and what is no value is told."""

from __future__ import annotations

import io
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from openpyxl import Workbook as Book

from decode.log.log_cases import harmonise, lines_of, settings_with
from decode.log.workbooks import Sheets, bent, plain_workbook, workbook
from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping
from ingest._core.settings import Bounds
from ingest.decode.claim import UNKNOWN, Claimed, File, sort_out
from ingest.decode.log.csv_log import DECODER
from ingest.decode.model import Decoded, Head
from ingest.decode.workbook import MERGED, UNCOMPUTED, Workbook

LONG: dict[str, Any] = {
    "name": "doses",
    "layout": "long",
    "taken_at": {"column": "when"},
    "substance": "what",
    "amount": "g",
    "unit_is": "g",
}
DAILY: dict[str, Any] = {
    "name": "days",
    "layout": "daily",
    "date": {"column": "day"},
    "date_means": "use_day",
    "items": [{"substance": "kratom", "amount": "kratom", "unit": "g"}, {"substance": "alcohol", "answer": "drank"}],
}
SHEET = "xl/worksheets/sheet1.xml"


def table(rows: list[list[Any]], mapping: dict[str, Any] | None = None) -> list[list[str]]:
    """The text of a sheet's cells, header first."""
    mappings = [LogMapping.model_validate(mapping)] if mapping else []
    sheet = Workbook(workbook({"a": rows}), Bounds()).table(mappings)
    return [sheet.header, *([str(cell) for cell in row.values()] for row in sheet.cells.to_pylist())]


def claimed(data: bytes, *mappings: dict[str, Any], name: str = "log.xlsx") -> Claimed:
    (found,) = sort_out([File(name, len(data), lambda: io.BytesIO(data))], settings_with(*mappings), archived=False)
    return found


def decode(data: bytes, *mappings: dict[str, Any]) -> Decoded:
    found = claimed(data, *mappings)
    assert found.source == DECODER.source, found.refused
    return DECODER.decode(found.members, settings_with(*mappings))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  as it stands ", "  as it stands "),
        (3, "3"),
        (3.0, "3"),
        (2.5, "2.5"),
        (0.1, "0.1"),
        (-0.125, "-0.125"),
        (1e-7, "1e-07"),
        (True, "TRUE"),
        (False, "FALSE"),
        (None, ""),
        (date(2026, 3, 1), "2026-03-01"),
        (datetime(2026, 3, 1, 21, 30), "2026-03-01T21:30:00"),
        ((datetime(2026, 3, 1), "yyyy-mm-dd hh:mm"), "2026-03-01T00:00:00"),
        ((datetime(2026, 3, 1), '"this" d mmm yyyy'), "2026-03-01"),
        ((46082, "General"), "46082"),
        ((46082, "dd/mm/yyyy"), "2026-03-01"),
        (time(21, 30), "21:30:00"),
        ((timedelta(hours=26, minutes=5), "[h]:mm:ss"), "26:05:00"),
        ("#N/A", "#N/A"),
        ("=1+1", UNCOMPUTED),
    ],
)
def test_cells_become_text(value: Any, text: str) -> None:
    assert table([["a", "b"], ["x", value]]) == [["a", "b"], ["x", text]]


def test_numbers_have_the_mappings_decimal_mark_and_dates_its_format() -> None:
    mapping = LONG | {"decimal": ",", "delimiter": ";", "taken_at": {"column": "when", "format": "%d.%m.%Y %H:%M"}}
    rows = [["when", "what", "g"], [datetime(2026, 3, 1, 21, 30), "kratom", 2.5], ["02.03.2026 08:00", "kratom", "1,5"]]
    assert table(rows, mapping)[1:] == [["01.03.2026 21:30", "kratom", "2,5"], ["02.03.2026 08:00", "kratom", "1,5"]]
    uses = harmonise(decode(workbook({"a": rows}), mapping)).to_pylist()
    assert [(use["taken_local"], use["amount"]) for use in uses] == [
        (datetime(2026, 3, 1, 21, 30), 2.5),
        (datetime(2026, 3, 2, 8, 0), 1.5),
    ]


def test_the_other_epoch_gives_the_same_days() -> None:
    def of_a_mac(book: Book) -> None:
        book.epoch = datetime(1904, 1, 1)

    data = workbook({"a": [["when"], [datetime(2026, 3, 1, 21, 30)]]}, of_a_mac)
    assert Workbook(data, Bounds()).table().column("when").to_pylist() == ["2026-03-01T21:30:00"]


def test_rows_are_numbered_as_in_the_sheet_and_blank_ones_are_none() -> None:
    rows = [
        ["Dose log of the study"],
        [],
        ["when", "what", "g", None, "note"],
        [datetime(2026, 3, 1, 8), "kratom", 2.5],
        [],
        [None, "  "],
        [datetime(2026, 3, 1, 9), "kratom", "much", None, "Zebrowski"],
        [datetime(2026, 3, 1, 10), "kratom", 1, None, None, "beyond the header"],
    ]
    read = decode(workbook({"a": rows}), LONG)
    assert (read.tally.read, read.tally.kept) == (3, 2)
    assert lines_of(read, "substance_use") == [["row 2 (line 7), g", "not_a_number"]]
    assert [use["source_row"] for use in harmonise(read).to_pylist()] == [1, 3]
    assert read.tally.classes["columns unmapped"] == 2


def test_a_day_level_form_reads_like_its_csv() -> None:
    rows = [["day", "kratom", "drank"], [date(2026, 3, 1), 2.5, True], [date(2026, 3, 2), 0, False], [date(2026, 3, 3)]]
    read = decode(workbook({"a": rows}), DAILY)
    assert (read.tally.read, read.tally.kept, dict(read.tally.ignored)) == (3, 2, {"no_answer": 1})
    said = [
        (str(use["local_date"]), use["substance"], use["no_use"], use["amount"]) for use in harmonise(read).to_pylist()
    ]
    assert sorted(said) == [
        ("2026-03-01", "alcohol", False, None),
        ("2026-03-01", "kratom", False, 2.5),
        ("2026-03-02", "alcohol", True, 0.0),
        ("2026-03-02", "kratom", True, 0.0),
    ]


def test_a_calendars_days_may_be_date_cells() -> None:
    mapping = {"name": "tlfb", "layout": "calendar", "date_means": "use_day", "substance": "drug", "unit_is": "g",
               "day_format": "%d/%m/%Y"}  # fmt: skip
    rows = [["drug", date(2026, 3, 1), "02/03/2026"], ["kratom", 2.5, 0]]
    uses = harmonise(decode(workbook({"a": rows}), mapping)).to_pylist()
    assert [(use["local_date"], use["amount"]) for use in uses] == [(date(2026, 3, 1), 2.5), (date(2026, 3, 2), 0.0)]


def test_what_only_looks_like_a_value_is_told_and_never_silent() -> None:
    def merge(book: Book) -> None:
        book["a"].merge_cells("B4:B5")

    rows = [
        ["day", "kratom", "drank"],
        [date(2026, 3, 1), "#DIV/0!", "yes"],
        [date(2026, 3, 2), "=B2*2", "yes"],
        [date(2026, 3, 3), 2, "yes"],
        [date(2026, 3, 4), None, "yes"],
        [date(2026, 3, 5), "=B2", None],
    ]
    read = decode(workbook({"a": rows}, merge), DAILY)
    assert lines_of(read, "value") == [[f"row {row}, kratom", "not_a_number"] for row in (1, 2, 4)]
    assert lines_of(read, "substance_use") == [["row 5, kratom", "not_a_number"]]
    told = [each.detail for each in read.tally.refusals]
    for words, detail in zip(("an error", "a formula whose", "a part of merged", "a formula whose"), told, strict=True):
        assert f"got {words}" in detail


def test_a_row_whose_own_id_or_substance_is_merged_is_none() -> None:
    def merge(book: Book) -> None:
        book["a"].merge_cells("B2:B3")

    rows = [["when", "what", "g"], [datetime(2026, 3, 1, 8), "kratom", 1], [datetime(2026, 3, 1, 9), None, 1]]
    read = decode(workbook({"a": rows}, merge), LONG)
    assert (read.tally.read, read.tally.kept) == (2, 1)
    assert lines_of(read, "substance_use") == [["row 2", "merged_cells"]]


def test_merged_cells_alone_make_no_row() -> None:
    def merge(book: Book) -> None:
        book["a"].merge_cells("A2:B9")

    sheet = Workbook(workbook({"a": [["a", "b"], ["x", None]]}, merge), Bounds()).table()
    assert sheet.column("b").to_pylist() == [MERGED]


def test_an_empty_text_as_a_formulas_result_is_an_empty_cell() -> None:
    rows = [["a", "b"], ["x", '=IF(A2="","",1)']]
    data = workbook({"a": rows})
    assert Workbook(data, Bounds()).table().column("b").to_pylist() == [UNCOMPUTED]
    saved = bent(data, SHEET, b'<c r="B2">', b'<c r="B2" t="str">')
    assert Workbook(saved, Bounds()).table().column("b").to_pylist() == [""]
    result = bent(data, SHEET, b"<v></v>" if b"<v></v>" in _part(data) else b"<v />", b"<v>1.50</v>")
    assert Workbook(result, Bounds()).table().column("b").to_pylist() == ["1.5"]


def _part(data: bytes) -> bytes:
    import zipfile

    return zipfile.ZipFile(io.BytesIO(data)).read(SHEET)


TWO_SHEETS: Sheets = {
    "Doses": [["when", "what", "g"], [datetime(2026, 3, 1, 8), "kratom", 1]],
    "Days": [["day", "kratom", "drank"], [date(2026, 3, 1), None, "yes"], [date(2026, 3, 2), None, "perhaps"]],
}


def test_each_sheet_may_have_a_mapping() -> None:
    data = workbook(TWO_SHEETS)
    assert decode(data, LONG).tally.read == 1
    assert decode(data, DAILY | {"sheet": " days "}).tally.read == 2
    both = decode(data, LONG | {"sheet": "Doses"}, DAILY | {"sheet": "Days"})
    assert both.format == "CSV log: days, daily; doses, long"
    assert [(use["source_row"], use["substance"]) for use in harmonise(both).to_pylist()] == [
        (2, "alcohol"),
        (1, "kratom"),
    ]
    assert lines_of(both, "substance_use") == [["row 3, drank", "unknown_answer"]]


def test_a_hidden_first_sheet_is_passed_over() -> None:
    def hide(book: Book) -> None:
        book["Days"].sheet_state = "hidden"

    data = workbook({name: TWO_SHEETS[name] for name in ("Days", "Doses")}, hide)
    assert decode(data, LONG).tally.read == 1


def test_a_workbook_that_nobody_describes_says_so() -> None:
    data = workbook(TWO_SHEETS)
    for mappings in ((), (DAILY,), (LONG | {"sheet": "Other"},), (LONG | {"files": "x*.xlsx"},)):
        found = claimed(data, *mappings)
        assert (found.source, found.refused[0][1].reason) == (UNKNOWN, "office_document")
    assert claimed(data, LONG, name="log.bin").source == UNKNOWN


def test_the_canonical_log_may_be_a_workbook() -> None:
    rows = [["substance", "taken_at", "amount", "unit"], ["kratom", datetime(2026, 3, 1, 21, 30), 2500, "mg"]]
    (use,) = harmonise(decode(workbook({"a": rows}))).to_pylist()
    assert (use["taken_local"], use["amount"], use["unit"]) == (datetime(2026, 3, 1, 21, 30), 2.5, "g")


ROWS = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c><c r="C1" t="s"><v>2</v></c></row>'
    '<row r="2"><c r="A2" t="s"><v>3</v></c><c r="B2" t="s"><v>4</v></c><c r="C2"><v>2.2999999999999998</v></c></row>'
)
PLAIN = plain_workbook(ROWS, ["when", "what", "g", "2026-03-01T08:00", "kratom"])


def test_texts_may_stand_in_a_table_of_their_own() -> None:
    (use,) = harmonise(decode(PLAIN, LONG)).to_pylist()
    assert (use["taken_local"], use["substance"], use["amount"]) == (datetime(2026, 3, 1, 8), "kratom", 2.3)


GOOD = workbook(TWO_SHEETS)
HOSTILE = {
    "cut short": (GOOD[: len(GOOD) // 2], "cut_short"),
    "no workbook": (bent(GOOD, "xl/workbook.xml", b"<sheets>", b"<sheats>"), "unreadable_workbook"),
    "no xml": (bent(GOOD, "xl/workbook.xml", b"<", b""), "unreadable_workbook"),
    "entities": (bent(GOOD, SHEET, b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet'), "crafted_xml"),
    "zero bytes": (bent(GOOD, SHEET, b"kratom", b"k\0ratom"), "crafted_xml"),
    "another encoding": (
        bent(PLAIN, SHEET, b"<worksheet", b'<?xml version="1.0" encoding="cp037"?><worksheet'),
        "crafted_xml",
    ),
    "a string that is not there": (bent(PLAIN, SHEET, b"<v>4</v>", b"<v>99</v>"), "unreadable_workbook"),
    "a cell that is nowhere": (bent(GOOD, SHEET, b'r="A1"', b'r="A0"'), None),
    "a number without end": (bent(PLAIN, SHEET, b"2.2999999999999998", b"9" * 5000), "unreadable_workbook"),
    "a bomb": (bent(GOOD, SHEET, b"<sheetData>", b"<sheetData>" + b" " * (4 << 20)), "bomb"),
    "half a part": (bent(PLAIN, SHEET, b"</sheetData></worksheet>", b""), "unreadable_workbook"),
    "a row of no number": (bent(PLAIN, SHEET, b'<row r="2">', b'<row r="two">'), "unreadable_workbook"),
    "a style that is not there": (bent(PLAIN, SHEET, b'<c r="C2">', b'<c r="C2" s="77">'), None),
    "a date that cannot be": (bent(GOOD, SHEET, b"46082", b"99999999999"), None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_workbooks_are_refused_or_read_but_never_break(case: str) -> None:
    data, reason = HOSTILE[case]
    try:
        found = claimed(data, LONG)
        refused = found.refused[0][1].reason if found.refused else None
        if refused is None:
            DECODER.decode(found.members, settings_with(LONG))
    except Refused as error:
        refused = error.reason
    if reason is not None:
        assert refused == reason


def test_rows_and_columns_far_away_cost_nothing() -> None:
    far = bent(GOOD, SHEET, b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>')
    assert decode(far, LONG).tally.read == 1
    beyond = bent(
        GOOD, SHEET, b"</sheetData>", b'<row r="99999999999"><c r="A99999999999"><v>1</v></c></row></sheetData>'
    )
    assert decode(beyond, LONG).tally.read == 1


def test_a_false_dimension_hides_no_rows() -> None:
    rows = [["when", "what", "g"], *([datetime(2026, 3, 1, hour), "kratom", 1] for hour in range(5))]
    data = bent(workbook({"a": rows}), SHEET, b'<dimension ref="A1:C6"', b'<dimension ref="A1"')
    assert decode(data, LONG).tally.read == 5


def test_other_files_are_not_taken_for_workbooks() -> None:
    assert (
        DECODER.claim(Head("log.xlsx", 40, b"substance,taken_at\nkratom,2026-03-01\n"), settings_with()) == "canonical"
    )
    assert DECODER.claim(Head("log.csv", len(GOOD), GOOD[:4096]), settings_with(LONG)) is None

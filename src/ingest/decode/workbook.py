"""The door to workbooks (XLSX): one sheet as a table of text, as if the log had been handed in as CSV.

Numbers come without a needless `.0` and with the mapping's decimal mark; dates and times in ISO 8601, or in the
format that the mapping gives for their column; truth values as TRUE and FALSE. What only looks like a value (an
error, a part of merged cells, a formula whose result was never saved) comes as a word that no column accepts.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping
from ingest._core.settings import Bounds
from ingest.arrive.workbook_parts import ENDING, workbook_parts
from ingest.decode.model import Head
from ingest.decode.sheets import BadRow, Sheet

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook as Book

MERGED, UNCOMPUTED = "#MERGED", "#UNCOMPUTED"
_UNUSABLE = {
    MERGED: ("merged_cells", "a part of merged cells", "split them"),
    UNCOMPUTED: ("uncomputed_formula", "a formula whose result was not saved", "open the workbook and save it"),
}
_ERROR = re.compile(r"#(?:N/A|NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|SPILL!|CALC!|GETTING_DATA)")
_MOST_ROWS, _MOST_COLUMNS, _HEADER_WITHIN = 1 << 20, 10_000, 100
_EXACT = 1e15
_LITERAL = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
_CLOCK_SHOWN, _DATE_LENGTH = re.compile("[hHsS]"), len("2026-03-01")
_FORMULA = re.compile(rb"<(?:\w+:)?f[ />]")
_MERGE = re.compile(rb"""<(?:\w+:)?mergeCell [^>]*?ref=["']([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})["']""")
_MOST_MERGED = 1_000_000
# What openpyxl raises for parts that are not what they should be.
_CRAFTED = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, NameError, RuntimeError, SyntaxError,
    TypeError, ValueError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
Cells = list[str]


def is_workbook_name(head: Head) -> bool:
    """True if the file calls itself a workbook and begins like one."""
    return head.suffix == ENDING and head.start.startswith(b"PK\x03\x04")


@dataclass
class _Row:
    number: int
    cells: Cells


@dataclass
class Workbook:
    """An opened workbook. Raises Refused where it cannot be read, is damaged or passes a bound."""

    data: bytes = field(repr=False)
    bounds: Bounds
    _parts: dict[str, bytes] = field(init=False, repr=False)
    _book: Book = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._parts = workbook_parts(self.data, self.bounds)
        self._book = _opened(self._parts, data_only=True)

    def header(self, mappings: Sequence[LogMapping] = ()) -> list[str]:
        """Names of the columns, as the mappings (all of one sheet) would have them; empty if it is not there.

        The header is the first of the sheet's rows that holds all mapped columns, so that a title may stand above
        it; without a mapping, or if there is none such, the first row that is not blank.
        """
        sheet = _sheet_of(self._book, mappings)
        found = None if sheet is None else _header(sheet, mappings)
        return [] if found is None else found.cells

    def shown(self) -> list[str]:
        """Names of the sheets that are shown."""
        return [sheet.title for sheet in self._book.worksheets if sheet.sheet_state == "visible"]

    def beginning(self, title: str, most: int) -> list[list[str]]:
        """The rows that are not blank among the first `most` of a sheet, as text, each as wide as the widest."""
        sheet = next(each for each in self._book.worksheets if each.title == title)
        rows = [row.cells for row in _rows(sheet, (), None, _MOST_COLUMNS, most)]
        width = max((k + 1 for row in rows for k, cell in enumerate(row) if cell.strip()), default=0)
        return [row[:width] for row in rows]

    def table(self, mappings: Sequence[LogMapping] = ()) -> Sheet:
        """The sheet as a table; blank rows are none. `known_lines` of it are the rows' numbers in the sheet."""
        sheet = _sheet_of(self._book, mappings)
        if sheet is None:
            raise Refused("no_sheet", "the workbook has no sheet of the name that the mapping gives; correct `sheet`")
        header = _header(sheet, mappings)
        if header is None:
            raise Refused("empty", "expected a header and rows, got a sheet without text; save it again")
        if len(header.cells) > _MOST_COLUMNS:
            raise Refused("too_many_columns", f"expected at most {_MOST_COLUMNS} columns, got more")
        width = len(header.cells)
        rows = list(_rows(sheet, mappings, header, width, _MOST_ROWS))
        places = {row.number: i for i, row in enumerate(rows)}
        xml = self._parts.get(_path(sheet), b"")
        for number, column in _merged(xml, width):
            if number in places:
                rows[places[number]].cells[column] = MERGED
        if _FORMULA.search(xml):
            self._mark_uncomputed(rows, places, header, mappings)
        return _table(header.cells, rows, mappings, self.bounds.csv_field_bytes)

    def _mark_uncomputed(
        self, rows: list[_Row], places: dict[int, int], header: _Row, mappings: Sequence[LogMapping]
    ) -> None:
        """Formulas without a saved result look empty; an empty text as result is one and says so by its type."""
        width = len(header.cells)
        saved = _sheet_of(self._book, mappings)
        written = _sheet_of(_opened(self._parts, data_only=False), mappings)
        assert saved is not None
        assert written is not None
        pairs = zip(_cells(saved, width, _MOST_ROWS), _cells(written, width, _MOST_ROWS), strict=True)
        for number, (values, formulas) in enumerate(pairs, start=1):
            for column, (value, formula) in enumerate(zip(values, formulas, strict=True)):
                empty = value.value is None and value.data_type != "str"
                if empty and formula.data_type == "f" and number > header.number:
                    if number not in places:
                        places[number] = len(rows)
                        rows.append(_Row(number, [""] * width))
                    rows[places[number]].cells[column] = UNCOMPUTED
        rows.sort(key=lambda row: row.number)


def _opened(parts: dict[str, bytes], data_only: bool) -> Book:
    """The workbook of parts that were checked, packed anew so that nothing else of the file is looked at."""
    from openpyxl import load_workbook

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:  # noqa: TID251
        for name, part in parts.items():
            archive.writestr(zipfile.ZipInfo(name), part)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return load_workbook(packed, read_only=True, data_only=data_only, keep_links=False)
        except _CRAFTED as error:
            raise _unreadable() from error


def _unreadable() -> Refused:
    return Refused("unreadable_workbook", "the workbook cannot be read; open it, save the sheet as CSV (UTF-8)")


def _sheet_of(book: Book, mappings: Sequence[LogMapping]) -> Any:
    """The sheet that the mappings name, else the first that is shown; None if there is none."""
    named = mappings[0].sheet if mappings else None
    wanted = None if named is None else named.strip().casefold()
    for sheet in book.worksheets:
        fits = sheet.sheet_state == "visible" if wanted is None else sheet.title.strip().casefold() == wanted
        if fits:
            return sheet
    return None


def _path(sheet: Any) -> str:
    # The sheet's part is known to openpyxl alone; it says it nowhere else.
    return str(sheet._worksheet_path)  # noqa: SLF001


def _cells(sheet: Any, width: int, most: int) -> Iterator[Sequence[Any]]:
    """The cells of the rows from the first on, rows that are not written included."""
    rows = sheet.iter_rows(min_row=1, max_row=most, min_col=1, max_col=width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            try:
                row = next(rows, None)
            except _CRAFTED as error:
                raise _unreadable() from error
            if row is None:
                return
            yield row


def _rows(sheet: Any, mappings: Sequence[LogMapping], header: _Row | None, width: int, most: int) -> Iterator[_Row]:
    """Rows that are not blank, as text; those below the header where one is given."""
    decimal = mappings[0].decimal if mappings else "."
    forms = _forms(mappings, header.cells if header else None, width)
    after = header.number if header else 0
    for number, row in enumerate(_cells(sheet, width, most), start=1):
        if number > after:
            texts = [
                "" if cell.value is None else _text(cell, decimal, form) for cell, form in zip(row, forms, strict=True)
            ]
            if any(text.strip() for text in texts):
                yield _Row(number, texts)


def _forms(mappings: Sequence[LogMapping], header: list[str] | None, width: int) -> list[str | None]:
    """How the dates of each column are written; of the header itself where none is given."""
    if header is None:
        return [next((mapping.day_format for mapping in mappings if mapping.day_format), None)] * width
    whens = (when for mapping in mappings for when in (mapping.reported_at, mapping.date, mapping.taken_at))
    named = {when.column.strip(): when.format for when in whens if when}
    return [named.get(name) for name in header]


def _header(sheet: Any, mappings: Sequence[LogMapping]) -> _Row | None:
    needed = {name.strip() for mapping in mappings for name in mapping.columns()}
    first = None
    for row in _rows(sheet, mappings, None, _MOST_COLUMNS + 1, _HEADER_WITHIN):
        names = [name.strip() for name in row.cells]
        while not names[-1]:
            names.pop()
        found = _Row(row.number, names)
        if needed.issubset(names):
            return found
        first = first or found
    return first


def _text(cell: Any, decimal: str, form: str | None) -> str:
    value = cell.value
    match value:
        case bool():
            text = str(value).upper()
        case int() | float():
            text = _number(value, decimal)
        case date():
            text = _date(value, str(cell.number_format), form)
        case timedelta():
            minutes, seconds = divmod(int(value.total_seconds()), 60)
            text = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
        case time():
            text = value.isoformat()
        case _:
            text = str(value)
    return text


def _number(value: float, decimal: str) -> str:
    whole = isinstance(value, int) or (value.is_integer() and abs(value) < _EXACT)
    return str(int(value)) if whole else repr(value).replace(".", decimal)


def _date(value: date, shown: str, form: str | None) -> str:
    if form is not None:
        return value.strftime(form)
    if (
        isinstance(value, datetime)
        and value.time() == time()
        and not re.search("[hs]", _LITERAL.sub("", shown.lower()))
    ):
        return value.date().isoformat()
    return value.isoformat()


def _merged(xml: bytes, width: int) -> Iterator[tuple[int, int]]:
    """Row (from 1) and column (from 0) of each cell below or right of the first of its merged cells."""
    found = 0
    for left, top, right, bottom in _MERGE.findall(xml):
        columns = range(_column(left), min(_column(right) + 1, width))
        for number in range(int(top), min(int(bottom), _MOST_ROWS) + 1):
            found += len(columns) + 1
            if found > _MOST_MERGED:
                raise _unreadable()
            for column in columns:
                if (number, column) != (int(top), _column(left)):
                    yield number, column


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _table(header: list[str], rows: list[_Row], mappings: Sequence[LogMapping], field_bytes: int) -> Sheet:
    named = [name for mapping in mappings for name in (mapping.participant, mapping.record_id, mapping.substance)]
    keys = [header.index(name.strip()) for name in named if name is not None and name.strip() in header]
    bad, good, numbers = [], [], []
    for row, each in enumerate(rows, start=1):
        fault = _fault(each.cells, keys, field_bytes)
        if fault is not None:
            bad.append(BadRow(row, *fault))
        else:
            numbers.append(row)
            good.append(each.cells)
    columns = list(zip(*good, strict=True)) or [()] * len(header)
    arrays = [pa.array(column, type=pa.string()) for column in columns]
    cells = pa.table(arrays, names=[str(i) for i in range(len(header))])
    lines = [row.number for row in rows]
    return Sheet(header, cells, np.array(numbers, dtype=np.int64), bad, b"", ",", lines)


def got_instead(cell: str) -> str | None:
    """What a cell holds that only looks like a value, for messages; None for any other cell."""
    unusable = _unusable(cell)
    return None if unusable is None else unusable[1]


def _unusable(cell: str) -> tuple[str, str, str] | None:
    """Reason, what it is, and what to do."""
    if _ERROR.fullmatch(cell):
        return "cell_error", "an error of the spreadsheet", "correct it"
    return _UNUSABLE.get(cell)


def _fault(cells: Cells, keys: list[int], field_bytes: int) -> tuple[str, str] | None:
    """Why a row is none: whose it is, which it is or what was taken must be cells of their own."""
    for place in keys:
        if unusable := _unusable(cells[place]):
            reason, got, action = unusable
            return reason, f"column {place + 1}: expected a value of its own, got {got}; {action}"
    if any(len(cell) > field_bytes for cell in cells):
        return "field_too_long", f"expected at most {field_bytes} bytes in a field, got more; shorten it"
    return None

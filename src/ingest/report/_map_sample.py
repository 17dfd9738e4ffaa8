"""The first rows of a log that nobody described yet: encoding, delimiter, and what kind of cells each column has."""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from ingest._core.errors import Refused, WrongUse
from ingest._core.settings import Settings
from ingest.decode.model import HEAD_BYTES, Head
from ingest.decode.workbook import Workbook, is_workbook_name
from ingest.report._map_dates import ISO, MOST_UNFIT, Dates, dates_of

MOST_ROWS = 1_000
_MOST_BYTES = 4 << 20
_DELIMITERS = (",", ";", "\t", "|")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?", re.ASCII)
_NUMBER = {".": re.compile(r"-?(\d+\.?\d*|\.\d+)", re.ASCII), ",": re.compile(r"-?(\d+,?\d*|,\d+)", re.ASCII)}
_BOX = re.compile(r"___\w+\Z|\(choice=.*\)( \(\d+\))?\Z")
_LONG_WORD, _MOST_WORDS = 40, 4
YES = frozenset({"yes", "y", "true", "ja", "j", "oui", "sí", "si", "1", "checked"})
NO = frozenset({"no", "n", "false", "nein", "nei", "nej", "non", "0", "none", "unchecked"})


@dataclass
class Column:
    """A column's name and its cells, without outer blanks, empty ones left out; `label` is what a box stands for."""

    name: str
    cells: list[str]
    usable: bool = True
    label: str = ""
    words: str = field(init=False)

    def __post_init__(self) -> None:
        # Cut at a change from small to capital letters, so that bedTime reads as bed time.
        split = re.sub(r"(?<=[a-zåäöøæü])(?=[A-ZÅÄÖØÆÜ])", " ", self.name)
        self.words = " ".join(re.findall(r"[^\W\d_]+|\d+", split.casefold()))

    @cached_property
    def different(self) -> list[str]:
        """Each different cell once, in order."""
        return list(dict.fromkeys(self.cells))

    @cached_property
    def is_free_text(self) -> bool:
        """True where a cell is longer than a name or a word is and is no date."""
        longer = any(len(cell) > _LONG_WORD or len(cell.split()) > _MOST_WORDS for cell in self.different)
        return longer and self.dates is None

    @cached_property
    def is_clock(self) -> bool:
        """True where every cell is HH:MM."""
        return bool(self.cells) and all(_CLOCK.fullmatch(cell) for cell in self.different)

    @cached_property
    def is_answer(self) -> bool:
        """True where every cell says yes or no, and one of them does not do so by a digit."""
        said = {cell.casefold() for cell in self.different}
        return bool(said) and said <= YES | NO and not said <= {"0", "1", "none"}

    @cached_property
    def is_box(self) -> bool:
        """True where the cells are 0 and 1."""
        return bool(self.cells) and {*self.different} <= {"0", "1"}

    @property
    def is_tick(self) -> bool:
        """True for a box of a checkbox field of REDCap that holds what a box holds."""
        return bool(_BOX.search(self.name)) and any(cell.casefold() in YES | NO for cell in self.different)

    @property
    def is_said(self) -> bool:
        """True for a column of answers, in words or boxes."""
        return self.is_answer or self.is_box or self.is_tick

    def is_number(self, decimal: str = "") -> bool:
        """True where nearly every cell is a number with this decimal mark, or with either."""
        marks = [_NUMBER[decimal]] if decimal else list(_NUMBER.values())
        fitting = max((sum(bool(mark.fullmatch(cell)) for cell in self.cells) for mark in marks), default=0)
        return bool(self.cells) and fitting >= (1 - MOST_UNFIT) * len(self.cells)

    @cached_property
    def dates(self) -> Dates | None:
        """How the column writes its dates; None where it holds none."""
        return dates_of(self.cells, self.different)


@dataclass(frozen=True)
class Sample:
    """The beginning of a file: `rows` are at most MOST_ROWS, those of another width left out.

    `data` is what a preview reads: that beginning, or the whole of a workbook. `sheet` is named where it is not the
    first that is shown.
    """

    name: str
    encoding: str
    delimiter: str
    header: list[str]
    rows: list[list[str]] = field(repr=False)
    data: bytes = field(repr=False)
    n_read: int
    is_workbook: bool = False
    sheet: str | None = None
    chosen: list[Column] | None = None

    @property
    def n_rows(self) -> int:
        """How many rows there are to look at."""
        return len(self.rows)

    @cached_property
    def columns(self) -> list[Column]:
        """The columns: those `chosen`, else all."""
        return self.chosen if self.chosen is not None else columns_of(self.header, self.rows)

    @cached_property
    def decimal(self) -> str:
        """`,` where numbers are written with a decimal comma and none with a point."""
        numbers = [column for column in self.columns if column.is_number() and not column.is_number(".")]
        points = [
            column for column in self.columns if column.is_number(".") and any("." in c for c in column.different)
        ]
        return "," if numbers and not points and (self.is_workbook or self.delimiter != ",") else "."


def columns_of(header: list[str], rows: list[list[str]]) -> list[Column]:
    """The columns of a table."""
    columns = []
    for place, name in enumerate(header):
        cells = [cell for row in rows if (cell := row[place].strip())]
        columns.append(Column(name, cells, bool(name) and header.count(name) == 1 and len(name) <= 200))
    return columns


def calendar_days(sample: Sample) -> list[Column]:
    """The columns that are called by a day and hold amounts or answers; empty where they are not two or more."""
    dated = [c for c in sample.columns if c.usable and c.name[:1].isascii() and dates_of([c.name], [c.name])]
    named = Column("", [column.name for column in dated])
    if len(dated) < 2 or named.dates is None or named.dates.unfit or not named.dates.all_bare:
        return []
    cells = [cell for column in dated for cell in column.cells]
    fit = sum(cell.casefold() in YES | NO or Column("", [cell]).is_number() for cell in cells)
    return dated if cells and 2 * fit > len(cells) else []


def read_sample(path: Path) -> Sample:
    """The beginning of the log (CSV or XLSX) at `path`; raises WrongUse where it is none."""
    if not path.is_file():
        raise WrongUse(f"expected a log (CSV or XLSX), got {'a folder' if path.is_dir() else 'nothing'} at {path}")
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if is_workbook_name(Head(path.name, len(data), data[:HEAD_BYTES])):
        return _of_workbook(path)
    text, encoding = _decoded(data[:_MOST_BYTES], whole=len(data) <= _MOST_BYTES)
    delimiter = max(_DELIMITERS, key=lambda mark: _fitness(text, mark))
    rows = _records(text, delimiter, MOST_ROWS + 1)
    kept = io.StringIO(newline="")
    csv.writer(kept, delimiter=delimiter).writerows(rows)
    return _checked(
        Sample(path.name, encoding, delimiter, *_parted(rows), kept.getvalue().encode(encoding), len(rows) - 1)
    )


def _of_workbook(path: Path) -> Sample:
    """The first sheet that holds a table."""
    data = path.read_bytes()
    try:
        book = Workbook(data, Settings.model_validate({"study": "map"}).bounds)
        sheets = [(title, book.beginning(title, MOST_ROWS + 100)) for title in book.shown()]
    except Refused as refused:
        raise WrongUse(f"{path.name}: {refused.reason}: {refused.detail}") from refused
    fault = WrongUse("expected a sheet that is shown, got none; show the sheet of the log")
    for number, (title, rows) in enumerate(sheets):
        widest = max((sum(map(bool, map(str.strip, row))) for row in rows[:20]), default=0)
        # A title or a remark may stand above the header; it is narrower.
        top = next((k for k, row in enumerate(rows) if 2 * sum(map(bool, map(str.strip, row))) > widest), 0)
        header, body = _parted(rows[top : top + MOST_ROWS + 1])
        try:
            return _checked(Sample(path.name, "utf-8", ",", header, body, data, len(body), is_workbook=True,
                                   sheet=title if number else None))  # fmt: skip
        except WrongUse as error:
            fault = error if number == 0 else fault
    raise fault


def _parted(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    header = [name.strip() for name in rows[0]] if rows else []
    return header, [row for row in rows[1:] if len(row) == len(header)]


def _checked(sample: Sample) -> Sample:
    header = sample.header
    if len(header) < 2:
        raise WrongUse("expected a header of two or more columns, parted by commas, semicolons, tabs or bars, got "
                       f"{'one column' if header else 'a file without text'}")  # fmt: skip
    values = sum(bool(_NUMBER["."].fullmatch(name) or ISO.fullmatch(name)) for name in header)
    if values > len(header) / 2 and not calendar_days(sample):
        raise WrongUse("expected names of columns in the first row, got numbers and dates; put a header above them")
    if not sample.rows:
        raise WrongUse("expected rows below the header, got none; a mapping is guessed from what they hold")
    return sample


def _decoded(data: bytes, *, whole: bool) -> tuple[str, str]:
    if data.startswith(b"PK\x03\x04"):
        raise WrongUse("expected a CSV file, got a workbook or an archive; call a workbook .xlsx, unpack an archive")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "")
    tried = (encoding,) if encoding else ("utf-8", "cp1252")
    for name in tried:
        if b"\0" in data and name != "utf-16":
            break
        try:
            text = codecs.getincrementaldecoder(name)("strict").decode(data, whole)
        except UnicodeDecodeError:
            continue
        text = text.removeprefix("\ufeff")
        if text.lstrip()[:1] in ("{", "<") or text.lstrip()[:2] in ("[{", "[["):
            raise WrongUse(
                "expected a CSV file with a header, got JSON or XML; those are read by decoders of their own"
            )
        return text if whole else text[: text.rfind("\n") + 1], name
    raise WrongUse("expected text in utf-8, cp1252 or utf-16 (with its mark), got other bytes; save it as CSV in UTF-8")


def _records(text: str, delimiter: str, most: int) -> list[list[str]]:
    before = csv.field_size_limit(_MOST_BYTES)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return list(islice((record for record in reader if any(cell.strip() for cell in record)), most))
    except csv.Error:
        return []
    finally:
        csv.field_size_limit(before)


def _fitness(text: str, delimiter: str) -> tuple[float, int]:
    """How well a delimiter parts the first rows: the share of rows as wide as the header, and its width."""
    rows = _records(text, delimiter, 50)
    width = len(rows[0]) if rows else 0
    return (0.0, width) if width < 2 else (round(sum(len(row) == width for row in rows) / len(rows), 1), width)

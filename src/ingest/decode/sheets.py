"""Bytes of a CSV file to columns of text: strict, without guessing, every data row numbered.

The fast way is Arrow's reader. Where there is trouble (a row of another width, a NUL byte, a quote that does not
close, bytes that are no text in the encoding) the file is read again by Python's csv module, row by row, so that
exactly the bad rows are set aside and each can be named.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ingest._core.errors import Refused

CHUNK = 1 << 20
_BATCH = 1 << 14
_UTF8 = ("utf-8", "utf8", "u8", "utf_8", "utf-8-sig", "utf_8_sig")
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MOST_COLUMNS, _MOST_BAD_ROWS = 10_000, 100_000
_BROKEN = re.compile("[\udc80-\udcff]")
_ONE_MARK = "ingest.one_mark"
_IN_UTF8 = "save the file as UTF-8, or describe it in study.yaml under logs with its `encoding` (cp1252, utf-16, ...)"
_LONGEST_RECORD = 1 << 22


@dataclass(frozen=True)
class BadRow:
    """A data row that is no row of this table; `reason` and `detail` as in the quarantine. `column` is the place in
    the header, from 1, of the first cell that makes it one, where it is a cell that does.
    """

    row: int
    reason: str
    detail: str
    column: int | None = None


@dataclass
class Sheet:
    """The table of one file.

    `cells` has one text column per column of the header, called "0", "1", ...; `rows` holds the number of
    each of its rows among the data rows (from 1; blank lines are no rows). `bad` lists the rows that are not
    in `cells`.
    """

    header: list[str]
    cells: pa.Table
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    bad: list[BadRow]
    text: bytes
    delimiter: str
    known_lines: list[int] | None = field(default=None, repr=False)

    @property
    def read(self) -> int:
        """Data rows of the file."""
        return len(self.rows) + len(self.bad)

    def column(self, name: str) -> pa.Array:
        """The cells of the first column called `name`, as they stand."""
        place = self.header.index(name.strip())
        column = self.cells.column(place)
        if column.num_chunks != 1:
            # Put in the place of its parts, so that a long column is not held twice.
            column = pa.chunked_array([column.combine_chunks()])
            self.cells = self.cells.set_column(place, str(place), column)
        return column.chunk(0)

    def line_of(self, row: int) -> int:
        """Number of the line, from 1, at which data row `row` begins."""
        return self._lines[row - 1]

    @cached_property
    def _lines(self) -> list[int]:
        if self.known_lines is not None:
            return self.known_lines
        return [line for line, _ in _data_records(self.text, self.delimiter)]


def header_of(start: bytes, encoding: str, delimiter: str) -> list[str]:
    """The header's names, without outer blanks, of a file that begins with `start`; empty if it has none.

    For claiming only: bytes that do not fit the encoding are replaced, and a UTF-16 mark is believed, so that
    a file in a wrong encoding is claimed and refused with the reason.
    """
    known_mark = start[:2] in UTF16_MARKS
    text = start.decode("utf-16" if known_mark else encoding, errors="replace").removeprefix("\ufeff")
    try:
        first = next(filter(any, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)), [])
    except csv.Error:
        return []
    return [name.strip() for name in first]


def read_sheet(data: bytes, encoding: str, delimiter: str, field_bytes: int) -> Sheet:
    """The table in `data`; raises Refused where the header is wrong, or no row is text in the encoding.

    A row that holds bytes of another encoding is among the `bad`, the others are read.
    """
    text = marked_text(data, encoding)
    header, header_lines = _header(text, delimiter, field_bytes)
    if any(map(_BROKEN.search, header)):
        transcode(data, _stated(data, encoding))
    sheet = _fast(text, header, header_lines, delimiter, field_bytes, _stated(data, encoding))
    if sheet.bad and not len(sheet.rows) and all(each.reason == "encoding" for each in sheet.bad):
        transcode(data, _stated(data, encoding))
    return sheet


def marked_text(data: bytes, encoding: str = "utf-8") -> bytes:
    """`data` in UTF-8 without its mark, in which what is no text in `encoding` is no text either.

    A UTF-16 mark is believed where the encoding is UTF-8.
    """
    encoding = _stated(data, encoding)
    if encoding.lower() in _UTF8:
        return data.removeprefix(codecs.BOM_UTF8)
    decoder = codecs.getincrementaldecoder(encoding)(_ONE_MARK)
    parts = [
        decoder.decode(data[start : start + CHUNK], start + CHUNK >= len(data)).encode("utf-8", "surrogateescape")
        for start in range(0, max(len(data), 1), CHUNK)
    ]
    return b"".join(parts).removeprefix(codecs.BOM_UTF8)


def _stated(data: bytes, encoding: str) -> str:
    return "utf-16" if encoding.lower() in _UTF8 and data[:2] in UTF16_MARKS else encoding


def _one_mark(error: UnicodeError) -> tuple[str, int]:
    """A byte that is never part of UTF-8, in place of bytes that are no text."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_ONE_MARK, _one_mark)


def transcode(data: bytes, encoding: str) -> bytes:
    """`data` in UTF-8; raises Refused naming the first byte that is not of `encoding`, and its line."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    parts = []
    for start in range(0, max(len(data), 1), CHUNK):
        held = len(decoder.getstate()[0])
        try:
            part = decoder.decode(data[start : start + CHUNK], start + CHUNK >= len(data))
        except UnicodeDecodeError as error:
            at = start - held + error.start
            line = 1 + data[:at].decode(encoding, errors="replace").count("\n")
            raise Refused(
                "encoding",
                f"byte {at}: expected text in {encoding}, got a byte in line {line} that is none; {_IN_UTF8}",
            ) from error
        parts.append(part.encode("utf-8"))
    return b"".join(parts).removeprefix(codecs.BOM_UTF8)


def _header(text: bytes, delimiter: str, field_bytes: int) -> tuple[list[str], int]:
    """Names of the header, and how many lines it takes with the blank ones before it."""
    whole = len(text) <= CHUNK
    # A cut inside a character is no fault of the file, so what hangs over at the end is left out.
    start = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode(text[:CHUNK], whole)
    lines = io.StringIO(start, newline="").readlines()
    taken = 0
    with _any_field_size():
        reader = csv.reader(lines, delimiter=delimiter)
        for record in reader:
            if any(record):
                break
            taken = reader.line_num
        else:
            reason = "empty" if whole else "no_header"
            raise Refused(reason, "expected a header and rows, got a file without text; export it again")
        header, end = [name.strip() for name in record], reader.line_num
    if not _well_quoted(lines[taken:end], delimiter) and end > taken + 1:
        raise Refused("unclosed_quote", "header: expected a closing quote, got more lines instead; export it again")
    if any("\0" in name for name in header):
        raise Refused("nul_byte", "header: expected text, got NUL bytes, as a broken copy leaves them; copy it again")
    if (not whole and end == len(lines)) or any(len(name) > field_bytes for name in header):
        raise Refused("header_too_long", f"expected a header of at most {CHUNK} bytes, got a longer one")
    if len(header) > _MOST_COLUMNS:
        raise Refused("too_many_columns", f"expected at most {_MOST_COLUMNS} columns, got {len(header)}")
    return header, end


def _fast(text: bytes, header: list[str], header_lines: int, delimiter: str, field_bytes: int, encoding: str) -> Sheet:
    quoted = b'"' in text
    last_line = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :]
    if b"\0" in text or last_line.count(b'"') % 2 or not _is_utf8(text):
        return _precise(text, header, delimiter, field_bytes, encoding)
    names = [str(i) for i in range(len(header))]
    trouble: list[bool] = []

    def note(_row: pacsv.InvalidRow) -> str:
        trouble.append(True)
        return "skip"

    try:
        cells = pacsv.read_csv(
            pa.BufferReader(text),
            read_options=pacsv.ReadOptions(column_names=names, skip_rows=header_lines),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=quoted, invalid_row_handler=note),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
            ),
        )
    except pa.ArrowInvalid:
        return _precise(text, header, delimiter, field_bytes, encoding)
    if trouble or any(_suspicious(column, quoted, field_bytes) for column in cells.columns):
        return _precise(text, header, delimiter, field_bytes, encoding)
    rows = np.arange(1, len(cells) + 1, dtype=np.int64)
    return Sheet(header, cells, rows, [], text, delimiter)


def _is_utf8(text: bytes) -> bool:
    """True if all of it is; nothing is copied."""
    ends = pa.py_buffer(np.array([0, len(text)], dtype=np.int64))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(text)]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _suspicious(column: pa.ChunkedArray, quoted: bool, field_bytes: int) -> bool:
    """True if a cell is over-long or holds a line end, as happens where a lost quote swallowed rows."""
    longest: int | None = pc.max(pc.binary_length(column)).as_py()
    if longest is None or longest <= field_bytes:
        return quoted and any(pc.any(pc.match_substring(column, end)).as_py() for end in ("\n", "\r"))
    return True


def _precise(text: bytes, header: list[str], delimiter: str, field_bytes: int, encoding: str) -> Sheet:
    batches: list[pa.Table] = []
    waiting: list[list[str]] = []
    rows: list[int] = []
    lines: list[int] = []
    bad: list[BadRow] = []
    for number, (line, record) in enumerate(_data_records(text, delimiter), start=1):
        lines.append(line)
        fault = _fault(record, len(header), field_bytes, encoding)
        if fault is not None:
            bad.append(BadRow(number, *fault))
            if len(bad) > _MOST_BAD_ROWS:
                raise Refused("too_many_bad_rows", f"more than {_MOST_BAD_ROWS} rows are no rows of this table, the "
                              f"first by the rule {bad[0].reason}; export it again")  # fmt: skip
            continue
        rows.append(number)
        waiting.append(record or [])
        if len(waiting) == _BATCH:
            batches.append(_batch(waiting, len(header)))
            waiting = []
    cells = pa.concat_tables([*batches, _batch(waiting, len(header))]).combine_chunks()
    return Sheet(header, cells, np.array(rows, dtype=np.int64), bad, text, delimiter, lines)


def _batch(records: list[list[str]], width: int) -> pa.Table:
    columns = list(zip(*records, strict=True)) or [()] * width
    arrays = [pa.array(column, type=pa.string()) for column in columns]
    return pa.table(arrays, names=[str(i) for i in range(width)])


def _fault(record: list[str] | None, width: int, field_bytes: int, encoding: str) -> tuple[str, str, int | None] | None:
    """Reason, detail and column of what makes a record no row of the table."""
    if record is None:
        return "unclosed_quote", "expected a closing quote, got more lines instead; close it or take it out", None
    if len(record) != width:
        return (
            "field_count",
            f"expected {width} fields as in the header, got {len(record)}; put quotes round cells that hold "
            "the delimiter, or complete the row",
            None,
        )
    for column, cell in enumerate(record, start=1):
        if "\0" in cell:
            return "nul_byte", "expected text, got a NUL byte; export the file again", column
        if not cell.isascii() and _BROKEN.search(cell):
            return "encoding", f"expected text in {encoding}, got bytes that are none; {_IN_UTF8}", column
        if len(cell) > field_bytes:
            return "field_too_long", f"expected at most {field_bytes} bytes in a field, got more; shorten it", column
    return None


def _data_records(text: bytes, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Line and fields of each data row: of each record after the first one that is not blank."""
    records = _records(text, delimiter)
    for _, record in records:
        if record and any(record):
            break
    yield from records


class _Lines:
    """The lines of a text, with those of the record being read held, so that reading may go back to its second."""

    def __init__(self, text: bytes) -> None:
        self._stream = io.TextIOWrapper(io.BytesIO(text), "utf-8", "surrogateescape", newline="")
        self._again: deque[str] = deque()
        self.held: list[str] = []
        self._room = _LONGEST_RECORD
        self.ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = "" if self._room < 0 else self._again.popleft() if self._again else self._stream.readline()
        self.ended = not line
        if self.ended:
            raise StopIteration
        self._room -= len(line)
        self.held.append(line)
        return line

    def begin(self, second: bool = False) -> None:
        """A new record begins: after the held lines, or at their second."""
        if second:
            self._again.extendleft(reversed(self.held[1:]))
        self.held = []
        self._room = _LONGEST_RECORD


def _records(text: bytes, delimiter: str) -> Iterator[tuple[int, list[str] | None]]:
    """Line and fields of each record; None for one whose quotes do not pair.

    After such a record reading goes on at its second line, so that one lost quote costs one row. Raises Refused
    where so many are lost that lines would be read again and again.
    """
    lines, number = _Lines(text), 1
    reader = csv.reader(lines, delimiter=delimiter)
    patience = (1 << 20) + 16 * len(text)
    with _any_field_size():
        while (record := next(reader, None)) is not None:
            held = lines.held
            if (len(held) > 1 or lines.ended) and not _well_quoted(held, delimiter):
                yield number, None
                number += 1
                patience -= sum(map(len, held))
                if patience < 0:
                    raise Refused("unclosed_quote", "more quotes are lost than rows can be told apart; export it again")
                lines.begin(second=True)
                reader = csv.reader(lines, delimiter=delimiter)
                continue
            if len(record) > 1 or any(cell.strip() for cell in record):
                yield number, record
            number += len(held)
            lines.begin()


def _well_quoted(lines: list[str], delimiter: str) -> bool:
    """True if the lines are one record in which every quote that opens a field also closes it."""
    try:
        return len(list(csv.reader(lines, delimiter=delimiter, strict=True))) == 1
    except csv.Error:
        return False


@contextmanager
def _any_field_size() -> Iterator[None]:
    before = csv.field_size_limit((1 << 31) - 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)

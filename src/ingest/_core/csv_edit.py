"""Changing one cell or taking out rows of a person's CSV file, with every other byte left as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_BOM = "\ufeff"


@dataclass
class _Record:
    """A record's span in the text, its line end included, and the spans of its cells, quotes included."""

    begin: int
    end: int = 0
    cells: list[tuple[int, int]] = field(default_factory=list)


def with_cell(data: bytes, is_it: Callable[[dict[str, str]], bool], column: str, value: str) -> bytes:
    """The table with `value` in `column` of the first row of which `is_it`; a missing column is added at the end.

    `is_it` gets a row's cells by column. Raises LookupError where there is no such row. UTF-8, with or without a byte
    order mark.
    """
    text = data.decode()
    header, *rows = _records(text)
    names = _texts(text, header)
    for row in rows:
        if not row.cells or not is_it(dict(zip(names, _texts(text, row), strict=False))):
            continue
        place = names.index(column) if column in names else len(names)
        if place < len(row.cells):
            begin, end = row.cells[place]
            text = text[:begin] + value + text[end:]
        else:
            end = row.cells[-1][1]
            text = text[:end] + "," * (place - len(row.cells) + 1) + value + text[end:]
        if column not in names:
            end = header.cells[-1][1]
            text = text[:end] + f",{column}" + text[end:]
        return text.encode()
    raise LookupError(column)


def without_rows(data: bytes, is_it: Callable[[dict[str, str]], bool]) -> tuple[bytes, int]:
    """The table without the rows of which `is_it`, and how many these are."""
    text = data.decode()
    header, *rows = _records(text)
    names = _texts(text, header)
    gone = [row for row in rows if row.cells and is_it(dict(zip(names, _texts(text, row), strict=False)))]
    for row in reversed(gone):
        text = text[: row.begin] + text[row.end :]
    return text.encode(), len(gone)


def _records(text: str) -> list[_Record]:
    """Records as csv.reader sees them; an empty line is one without cells."""
    found: list[_Record] = []
    at = 1 if text.startswith(_BOM) else 0
    while at < len(text):
        record = _Record(0 if not found else at)
        while True:
            end = _cell_end(text, at)
            record.cells.append((at, end))
            if text[end : end + 1] != ",":
                break
            at = end + 1
        record.end = end + (2 if text[end : end + 2] == "\r\n" else 1 if end < len(text) else 0)
        if len(record.cells) == 1 and record.cells[0][0] == record.cells[0][1]:
            record.cells = []
        found.append(record)
        at = record.end
    return found or [_Record(0)]


def _cell_end(text: str, at: int) -> int:
    quoted = text[at : at + 1] == '"'
    at += quoted
    while at < len(text):
        if quoted:
            if text[at] == '"':
                quoted = text[at + 1 : at + 2] == '"'
                at += quoted
        elif text[at] in ",\r\n":
            return at
        at += 1
    return at


def _texts(text: str, record: _Record) -> list[str]:
    cells = [text[begin:end] for begin, end in record.cells]
    return [each[1:].removesuffix('"').replace('""', '"') if each.startswith('"') else each for each in cells]

"""Plants a word in every place of a file where a text can stand: the fields of whatever format it has.

A place is a field, not a cell: a key path of JSON without its list positions, a column of a table, an attribute or
an element of XML, a column of a database, a text field of FIT. The last record that has it is changed, so that what
comes before stays as it was.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import struct
from collections.abc import Callable, Iterator
from typing import Any

import openpyxl

from fixtures.garmin_fit_bytes import checksum
from tries import SOAK

Plant = Callable[[str], bytes]
PERSONAL = ("ownerName", "serialNumber", "email", "latitude", "longitude", "birthDate", "note", "deviceId")
"""Fields that a vendor may add to any record."""
_ENCODINGS = ("utf-8-sig", "utf-16", "gb18030")
_MOST_HEADER_LINES = 4


def places(name: str, data: bytes) -> Iterator[tuple[str, Plant]]:
    """Each place of a file, by what it is called, and the file with a word put there."""
    if data[:15] == b"SQLite format 3":
        yield from _sqlite(data)
    elif data[8:12] == b".FIT":
        yield "user_profile.friendly_name", lambda word: _fit(data, 3, 0, word)
        yield "device_info.descriptor", lambda word: _fit(data, 23, 19, word)
    elif data[:4] == b"PK\x03\x04":
        yield from _workbook(data)
    else:
        text, encoding = _text(data)
        kind = _kind(name, text)
        for place, plant in kind(text):
            yield place, lambda word, plant=plant: plant(word).encode(encoding)  # type: ignore[misc]


def _text(data: bytes) -> tuple[str, str]:
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding), "utf-8" if encoding == "utf-8-sig" else encoding
        except UnicodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def _kind(name: str, text: str) -> Callable[[str], Iterator[tuple[str, Callable[[str], str]]]]:
    start = text.lstrip()[:1]
    if start == "<":
        return _xml
    if start in ("[", "{"):
        return _json
    return _table


def _json(text: str) -> Iterator[tuple[str, Callable[[str], str]]]:  # noqa: C901 - one walk, and what is put where it came
    try:
        whole = json.loads(text)
    except ValueError:
        yield from _quoted(text)
        return
    leaves: dict[str, tuple[Any, Any]] = {}
    objects: dict[str, dict[str, Any]] = {}

    def walk(at: Any, path: str) -> None:
        steps = at.items() if isinstance(at, dict) else enumerate(at)
        if isinstance(at, dict):
            objects[path] = at
        for key, value in steps:
            here = f"{path}.{key}" if isinstance(at, dict) else f"{path}[]"
            leaves[here] = (at, key)
            if isinstance(value, dict | list):
                walk(value, here)

    if isinstance(whole, dict | list):
        walk(whole, "")

    def put(of: Any, key: Any, word: Any) -> str:
        before, of[key] = of[key], word
        made = json.dumps(whole)
        of[key] = before
        return made

    def added(of: dict[str, Any], word: str) -> str:
        more = {**dict.fromkeys(PERSONAL, word), word: word}
        before = dict(of)
        of.update(more)
        made = json.dumps(whole)
        of.clear()
        of.update(before)
        return made

    for path, (of, key) in leaves.items():
        yield path, lambda word, of=of, key=key: put(of, key, word)  # type: ignore[misc]
        if SOAK and not isinstance(of[key], dict | list):
            yield f"{path} as an object", lambda word, of=of, key=key: put(of, key, {word: word})  # type: ignore[misc]
    for path, of in objects.items():
        yield f"{path} holds more", lambda word, of=of: added(of, word)  # type: ignore[misc]


def _quoted(text: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    seen: dict[str, tuple[int, int]] = {}
    for match in re.finditer(r'"([^"\\]*)"\s*:\s*"([^"\\]*)"', text):
        seen[match[1]] = match.span(2)
    for key, (begin, end) in seen.items():
        yield key, lambda word, begin=begin, end=end: text[:begin] + word + text[end:]  # type: ignore[misc]


def _xml(text: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    attributes: dict[str, tuple[int, int]] = {}
    starts: dict[str, int] = {}
    texts: dict[str, tuple[int, int]] = {}
    for tag in re.finditer(r"<([A-Za-z][\w:.-]*)((?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*/?>([^<]*)", text):
        starts[tag[1]] = tag.end(1)
        texts[tag[1]] = tag.span(3)
        for each in re.finditer(r"([\w:.-]+)\s*=\s*[\"']([^\"']*)[\"']", tag[2]):
            attributes[f"{tag[1]}@{each[1]}"] = (tag.start(2) + each.start(2), tag.start(2) + each.end(2))
    for place, (begin, end) in [*attributes.items(), *texts.items()]:
        yield place, lambda word, begin=begin, end=end: text[:begin] + word + text[end:]  # type: ignore[misc]
    for name, at in starts.items():
        yield f"{name} holds more", lambda word, at=at: text[:at] + _attributes(word) + text[at:]  # type: ignore[misc]


def _attributes(word: str) -> str:
    return "".join(f' {key}="{word}"' for key in (*PERSONAL, word))


def _table(text: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return
    delimiter = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    filled = [number for number, row in enumerate(rows) if any(cell.strip() for cell in row)]

    def put(row: int, column: int, word: str) -> str:
        made = [list(each) for each in rows]
        made[row] += [""] * (column + 1 - len(made[row]))
        made[row][column] = word
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(made)
        return out.getvalue()

    last = filled[-1]
    titles = max((rows[number] for number in filled[:_MOST_HEADER_LINES]), key=len)
    head = next(number for number in filled if rows[number] is titles)
    for row in sorted({*(number for number in filled if number <= head), last}):
        for column in range(len(rows[row]) + 1):
            title = titles[column] if column < len(titles) else "one more"
            where = "last row" if row == last else f"line {filled.index(row) + 1}"
            yield f"{where}: {title}", lambda word, at=(row, column): put(*at, word)  # type: ignore[misc]


def _sqlite(data: bytes) -> Iterator[tuple[str, Plant]]:
    def changed(sql: str, word: str) -> bytes:
        # Bytes that no library wrote are changed, too, as far as it will open them.
        base = sqlite3.connect(":memory:")
        base.deserialize(data)
        base.execute("pragma writable_schema = on")
        base.execute(sql, (word,) if "?" in sql else ())
        base.commit()
        return base.serialize()

    base = sqlite3.connect(":memory:")
    try:
        base.deserialize(data)
        found = base.execute("select m.name, c.name from sqlite_master m, pragma_table_xinfo(m.name) c "
                             "where m.type = 'table' and m.name not like 'sqlite_%' and c.hidden = 0"
                             ).fetchall()  # fmt: skip
    except sqlite3.DatabaseError:
        return
    for table, column in found:
        sql = f'update "{table}" set "{column}" = ? where rowid = (select max(rowid) from "{table}")'
        try:
            changed(sql, "word")
        except sqlite3.Error:
            continue  # a key of numbers: no text can stand there
        yield f"{table}.{column}", lambda word, sql=sql: changed(sql, word)  # type: ignore[misc]
    for table in {table for table, _ in found}:
        yield f"{table} has another column", lambda word, t=table: changed(f'alter table "{t}" add column "{word}"', "")  # type: ignore[misc]


def _workbook(data: bytes) -> Iterator[tuple[str, Plant]]:
    def put(row: int, column: int, word: str) -> bytes:
        book = openpyxl.load_workbook(io.BytesIO(data))
        book.worksheets[0].cell(row, column).value = word
        book.properties.creator = word
        book.worksheets[0].cell(1, 1).comment = openpyxl.comments.Comment(word, word)
        out = io.BytesIO()
        book.save(out)
        return out.getvalue()

    sheet = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]
    for row in (1, sheet.max_row):
        for column in range(1, sheet.max_column + 2):
            yield f"row {row} cell {column}", lambda word, at=(row, column): put(*at, word)  # type: ignore[misc]


def _fit(data: bytes, message: int, number: int, word: str) -> bytes:
    """The file with a message of one text more."""
    text = word.encode() + b"\0"
    body = data[14:-2] + struct.pack("<BBBHBBBBB", 0x4F, 0, 0, message, 1, number, len(text), 7, 0x0F) + text
    head = data[:4] + struct.pack("<I", len(body)) + data[8:12]
    whole = head + struct.pack("<H", checksum(head)) + body
    return whole + struct.pack("<H", checksum(whole))

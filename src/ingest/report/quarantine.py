"""What could not be used, line by line, with the file's path for the person who may see it."""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from ingest._core.errors import Refused, Transient
from ingest._core.study import Study
from ingest.arrive.archive import archive_in
from ingest.arrive.arrivals import Arrival, Arrivals, open_arrivals
from ingest.arrive.landing import open_place
from ingest.decode.csv_records import WithPlainTable
from ingest.decode.registry import decoder
from ingest.decode.sheets import UTF16_MARKS, Sheet, read_sheet
from ingest.lake.store import manifests, participants, read

_SHOWN_CHARACTERS = 300
_FILE = re.compile(r"file (\d+) ?(.*)")
_OF_FILE = re.compile(r"(file \d+(?: (?:record|row) \d+)?): ")
_NUMBER = re.compile(r"(row|record) (\d+)")
_START = 1 << 10
_DELIMITERS = ",;\t"
# Keys below which answers of vendors hold their records.
_LISTS = ("body", "data", "items", "point", "records", "series", "session", "sleep", "sleeps", "SRDataList")


@dataclass(frozen=True)
class Line:
    """One row of the table quarantine, with where the file lies: `path` is relative to the study, or a URL;
    None where landing lost it.

    `locator` is what is left of the row's locator once the file is named; `member` names a file in an archive.
    """

    participant_id: str
    source: str
    path: Path | str | None
    member: str | None
    kind: str
    locator: str
    reason: str
    detail: str

    @property
    def where(self) -> str:
        """Member, kind and locator as a person reads them."""
        parts = [self.member, self.locator if self.locator not in ("", "file") else None]
        return ", ".join([*(part for part in parts if part), self.kind])


def lines(study: Study, reason: str | None = None) -> list[Line]:
    """Every quarantined file, member, record and value, or those of one reason; by participant and file."""
    found: list[Line] = []
    with open_arrivals(study) as store:
        for participant_id in participants(study.lake):
            rows = read(study.lake, "quarantine", manifests(study.lake, participant_id))
            found += [_line(study, store, participant_id, row) for row in rows.to_pylist()
                      if reason is None or row["reason"] == reason]  # fmt: skip
    return sorted(found, key=lambda line: (line.participant_id, str(line.path)))


def _line(study: Study, store: Arrivals, participant_id: str, row: Mapping[str, str]) -> Line:
    locator, detail = row["locator"], row["detail"]
    # A refused export of several files says in its detail which of them decided.
    said = _OF_FILE.match(detail) if locator == "file" else None
    if said:
        locator, detail = said[1], detail[said.end() :]
    path, member, rest = _place(study, store, row["source_file_id"], locator)
    return Line(participant_id, row["source"], path, member, row["record_kind"], rest, row["reason"], detail)


def _place(
    study: Study, store: Arrivals, source_file_id: str, locator: str
) -> tuple[Path | str | None, str | None, str]:
    arrivals = store.of_file(source_file_id)
    if not arrivals:
        return None, None, locator
    arrival = arrivals[0]
    path = below(study, arrival.unit_path)
    name, rest = _member(arrival, locator)
    if arrival.is_archive or not name:
        return path, name, rest
    return (f"{path}/{name}" if isinstance(path, str) else path / name), None, rest


def below(study: Study, place: Path | str) -> Path | str:
    """A place in landing as a person reads it: the path below the study, or the URL."""
    return place if isinstance(place, str) else place.relative_to(study.root)


def _member(arrival: Arrival, locator: str) -> tuple[str | None, str]:
    names = {ordinal: name for ordinal, name, _ in arrival.claim["members"]}
    match = _FILE.fullmatch(locator)
    if match:
        name = (names | dict(arrival.claim.get("refused_names", []))).get(int(match[1]))
        return (None, locator) if name is None else (name, match[2])
    return (next(iter(names.values())), locator) if len(names) == 1 else (None, locator)


def value_reader(study: Study) -> Callable[[Line], str | None]:
    """A function that reads what stands at a line from landing, for the person at the terminal only.

    It gives the row or record, cut to 300 characters, or None where it cannot be found again: in databases and
    XML, and in texts whose records are counted in another way than rows or a list of objects.
    """

    @lru_cache(maxsize=1)
    def of_file(path: Path | str, member: str | None, source: str) -> _Values:
        return _Values(_bytes(study, path, member), source, study.settings.bounds.csv_field_bytes)

    def read_value(line: Line) -> str | None:
        number = _NUMBER.search(line.locator)
        if line.path is None or number is None:
            return None
        try:
            text = of_file(line.path, line.member, line.source).at(number[1] == "row", int(number[2]))
        except (Refused, Transient, OSError, LookupError, ValueError, RecursionError, msgspec.DecodeError, csv.Error):
            return None
        return text[:_SHOWN_CHARACTERS] if text else None

    return read_value


def _bytes(study: Study, place: Path | str, member: str | None) -> bytes:
    with ExitStack() as stack:
        stream = stack.enter_context(open_place(study, place))
        if member is not None:
            archive = stack.enter_context(archive_in(stream, PurePosixPath(place).name, study.settings.bounds))
            return stack.enter_context(archive.open(member)).read()
        return stream.read()


class _Values:
    """The rows or records of one file as its decoder counted them."""

    def __init__(self, data: bytes, source: str, field_bytes: int) -> None:
        self._data, self._source, self._field_bytes = data.removeprefix(BOM_UTF8), source, field_bytes

    def at(self, is_row: bool, number: int) -> str | None:
        """Row or record `number`, from 1; None where it cannot be told. Raises LookupError if it is not there."""
        start = self._data[:_START].lstrip()
        if start[:1] in (b"{", b"["):
            return None if is_row else self._record(number)
        if start[:1] == b"<" or (b"\0" in start and self._data[:2] not in UTF16_MARKS):
            return None
        return self._row(is_row, number)

    def _record(self, number: int) -> str | None:
        record = _list(self._json)[number - 1]
        # Records that stand in several lists are counted through all of them.
        if isinstance(record, dict) and any(isinstance(record.get(key), list) for key in _LISTS):
            return None
        return msgspec.json.encode(record).decode()

    @cached_property
    def _json(self) -> Any:
        return msgspec.json.decode(self._data)

    def _row(self, is_row: bool, number: int) -> str | None:
        sheet, lines = self._sheet
        header = next(filter(str.strip, lines))
        # Where each record has a header of its own, records are not counted as rows are.
        if not 1 <= number <= sheet.read or (not is_row and lines.count(header) > 1):
            return None
        end = sheet.line_of(number + 1) - 1 if number < sheet.read else len(lines)
        return "".join(lines[sheet.line_of(number) - 1 : end]).strip()

    @cached_property
    def _sheet(self) -> tuple[Sheet, list[str]]:
        encoding = "utf-16" if self._data[:2] in UTF16_MARKS else "utf-8"
        text = self._data.decode(encoding, errors="replace")
        of = decoder(self._source)
        data = of.plain_table(text.encode()) if isinstance(of, WithPlainTable) else text.encode()
        lines = io.StringIO(data.decode(), newline="").readlines()
        first = next(filter(str.strip, lines), "")
        return read_sheet(data, "utf-8", max(_DELIMITERS, key=first.count), self._field_bytes), lines


def _list(value: Any) -> list[Any]:
    """The list of records in an answer; an object without any is itself the one record."""
    if isinstance(value, list):
        return value
    below = [value[key] for key in _LISTS if isinstance(value.get(key), list | dict)] if isinstance(value, dict) else []
    if len(below) > 1:
        raise LookupError
    return _list(below[0]) if below else [value]

"""Which descriptions of study.yaml a file fits, and its rows under each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from ingest._core.errors import Refused
from ingest._core.log_mapping import CANONICAL, LogMapping, When
from ingest._core.settings import Settings
from ingest.arrive.workbook_parts import NOT_A_WORKBOOK
from ingest.decode.log._calendar import day_columns
from ingest.decode.log._codebook import Codes, in_words, is_codebook, merged, read_codebook
from ingest.decode.log._reader import Reader
from ingest.decode.log._select import can_share, shares, with_whole_ids
from ingest.decode.model import BESIDE, IGNORED, WITH_BESIDE, Head, Member
from ingest.decode.sheets import Sheet, header_of, read_sheet
from ingest.decode.workbook import Workbook, is_workbook_name

_NEEDED = frozenset({"substance", "taken_at"})
_OPTIONAL = {
    "participant": "participant_ref",
    "record_id": "event_id",
    "no_use": "no_use",
    "amount": "amount",
    "unit": "unit",
    "product_form": "product_form",
    "route": "route",
    "reason": "reason",
    "mitragynine_mg": "mitragynine_mg",
    "mitragynine_pct": "mitragynine_pct",
    "time_precision": "time_precision",
    "recall": "recall_method",
}
_UTF8 = ("utf-8", "utf8", "utf-8-sig")
_CODEBOOK = "data dictionary"


@dataclass(frozen=True)
class Part:
    """A table of a file: the rows that each mapping reads, how many none reads by reason, columns of no mapping."""

    readers: list[Reader]
    passed: Counter[str]
    unmapped: int


def role_of(head: Head, settings: Settings) -> str | None:
    """`canonical`, `mapping:<name>[,<name>]`, `ambiguous:<name>,<name>` where it is not known which one is meant.

    A data dictionary stands beside the files whose mapping reads its codes from one.
    """
    look = _Look(head, settings)
    plain = look.header(None)
    if is_codebook(plain):
        return (BESIDE if any(mapping.codebook for mapping in settings.logs) else IGNORED) + _CODEBOOK
    mappings = [mapping for mapping in settings.logs if look.fits(mapping)]
    names = [mapping.name for mapping in mappings]
    if _NEEDED.issubset(plain):
        names = [CANONICAL, *names]
    if not names:
        return None
    if names == [CANONICAL]:
        return CANONICAL
    if len(names) > len(mappings) or not _can_share(mappings, look.book is not None):
        return "ambiguous:" + ",".join(names)
    return (WITH_BESIDE if any(mapping.codebook for mapping in mappings) else "") + "mapping:" + ",".join(names)


def open_log(member: Member, beside: Sequence[Member], settings: Settings) -> list[Part]:
    """The tables of a file in the role it was given; raises Refused where it cannot be read."""
    kind, _, name = member.role.removeprefix(WITH_BESIDE).partition(":")
    if kind == "ambiguous":
        names = " and ".join(name.split(","))
        raise Refused(
            "ambiguous_mapping",
            f"expected one description of this log, got {names}; tell them apart in study.yaml with `files`, "
            "let one name a column that the other's files lack, or give each columns of its own, or rows with `only`",
        )
    wanted = name.split(",") if kind == "mapping" else []
    mappings = [mapping for mapping in settings.logs if mapping.name in wanted]
    data = member.read()
    book = Workbook(data, settings.bounds) if is_workbook_name(Head(member.name, len(data), data)) else None
    parts = []
    for group in _groups(mappings) or [[]]:
        first = group[0] if group else None
        sheet = book.table(group) if book is not None else _table(data, first, settings)
        if any(mapping.codebook for mapping in group):
            sheet = in_words(sheet, _codes(beside, settings))
        parts.append(_part(sheet, group or [_canonical(sheet.header)], settings))
    return parts


class _Look:
    """What a file's header is under each mapping; a workbook is opened once, and only if one may be meant."""

    def __init__(self, head: Head, settings: Settings) -> None:
        self._head, self._settings = head, settings

    @cached_property
    def book(self) -> Workbook | None:
        """The file as a workbook, if it is one; raises Refused where it is one that cannot be read."""
        if not is_workbook_name(self._head):
            return None
        try:
            return Workbook(self._head.whole, self._settings.bounds)
        except Refused as refused:
            if refused.reason == NOT_A_WORKBOOK:
                return None
            raise

    def header(self, mapping: LogMapping | None) -> Sequence[str]:
        """Names of the columns, as the mapping would read them."""
        if self.book is not None:
            return self.book.header([mapping] if mapping else [])
        encoding, delimiter = (mapping.encoding, mapping.delimiter) if mapping else ("utf-8", ",")
        if encoding.lower().replace("_", "-") in _UTF8:
            return self._head.header(delimiter)
        return header_of(self._head.start, encoding, delimiter)

    def _names(self, mapping: LogMapping) -> set[str]:
        header = self.header(mapping)
        return {*header, *numbered(header)}

    def fits(self, mapping: LogMapping) -> bool:
        """True if the name is one of the mapping's files and the header holds its columns."""
        if mapping.files is not None:
            name = self._head.name if "/" in mapping.files else PurePosixPath(self._head.name).name
            if not fnmatchcase(name, mapping.files):
                return False
        header = self.header(mapping)
        if not {column.strip() for column in mapping.columns()} <= self._names(mapping):
            return False
        try:
            return mapping.layout != "calendar" or bool(day_columns(header, mapping))
        except Refused:
            return True  # A calendar whose header has a fault: decoding tells it.


def _can_share(mappings: Sequence[LogMapping], workbook: bool) -> bool:
    """True if the mappings have sheets of their own or, on one sheet, rows or columns of their own."""
    groups = list(_groups(mappings))
    apart = len(groups) == 1 or (workbook and all(mapping.sheet is not None for mapping in mappings))
    return apart and all(can_share(group) for group in groups)


def _groups(mappings: Sequence[LogMapping]) -> list[list[LogMapping]]:
    """The mappings by the table they read, in the order of study.yaml."""
    found: dict[tuple[str, ...], list[LogMapping]] = {}
    for each in mappings:
        sheet = (each.sheet or "").strip().casefold()
        found.setdefault((sheet, each.encoding, each.delimiter), []).append(each)
    return list(found.values())


def _table(data: bytes, mapping: LogMapping | None, settings: Settings) -> Sheet:
    encoding, delimiter = (mapping.encoding, mapping.delimiter) if mapping else ("utf-8", ",")
    return read_sheet(data, encoding, delimiter, settings.bounds.csv_field_bytes)


def _codes(beside: Sequence[Member], settings: Settings) -> Codes:
    if not beside:
        raise Refused(
            "no_codebook",
            "expected the REDCap data dictionary (CSV) beside this file, got none; put it into the same folder, "
            "or take `codebook` out of the mapping",
        )
    sheets = [_table(member.read(), None, settings) for member in beside]
    if any(sheet.bad for sheet in sheets):
        raise Refused("bad_codebook", "a row of the data dictionary is no row of its table; download it again")
    return merged([read_codebook(sheet) for sheet in sheets])


def numbered(header: Sequence[str]) -> list[str]:
    """The names of a header, those that stand in it more than once with their number: `Complete? (2)`."""
    every, seen = Counter(header), Counter[str]()
    names = []
    for name in header:
        seen[name] += 1
        names.append(f"{name} ({seen[name]})" if every[name] > 1 else name)
    return names


def _told_apart(sheet: Sheet, mappings: Sequence[LogMapping]) -> Sheet:
    """The sheet with those repeated names numbered that a mapping calls by their number."""
    named = {column.strip() for mapping in mappings for column in mapping.columns()} - set(sheet.header)
    if not named:
        return sheet
    header = [
        number if number in named else name for name, number in zip(sheet.header, numbered(sheet.header), strict=True)
    ]
    return replace(sheet, header=header)


def _part(sheet: Sheet, mappings: Sequence[LogMapping], settings: Settings) -> Part:
    sheet = _told_apart(sheet, mappings)
    for mapping in mappings:
        _check_columns(sheet, mapping)
    found, passed = shares(sheet, mappings)
    readers = [
        Reader(with_whole_ids(share, mapping), mapping, settings.exposure.day_start_hour)
        for share, mapping in zip(found, mappings, strict=True)
    ]
    places = {place for mapping in mappings for place in _mapped(sheet.header, mapping)}
    return Part(readers, passed, len(sheet.header) - len(places))


def _mapped(header: Sequence[str], mapping: LogMapping) -> Iterator[int]:
    named = {column.strip() for column in mapping.columns()}
    yield from (place for place, column in enumerate(header) if column in named)
    if mapping.layout == "calendar":
        yield from day_columns(header, mapping)


def _check_columns(sheet: Sheet, mapping: LogMapping) -> None:
    repeated = [column for column in sorted(mapping.columns()) if sheet.header.count(column.strip()) > 1]
    if repeated:
        places = [i for i, column in enumerate(sheet.header, start=1) if column == repeated[0].strip()]
        raise Refused(
            "repeated_column",
            f"header: expected each mapped column once, got columns {places[0]} and {places[1]} with one "
            "name; rename or remove one, or name it in the mapping with its number, like `Date (2)`",
        )


def _canonical(header: list[str]) -> LogMapping:
    """The canonical long log as a mapping, with those of its optional columns that the header holds."""
    there: dict[str, Any] = {key: column for key, column in _OPTIONAL.items() if column in header}
    return LogMapping.model_construct(
        name=CANONICAL,
        layout="long",
        taken_at=When(column="taken_at"),
        substance="substance",
        date_means="use_day",
        reported_at=When(column="reported_at") if "reported_at" in header else None,
        **there,
    )

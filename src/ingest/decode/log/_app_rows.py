"""Rows of the tables that apps export, numbered through the export, and uses made of them one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.model import Member, Tally, decoded_use_schema
from ingest.decode.sheets import marked_text, read_sheet


@dataclass(frozen=True, slots=True)
class AppRow:
    """A data row: its number among those of all files of the export, from 1; cells by the header's names."""

    number: int
    locator: str
    cells: Mapping[str, str]


def in_order(members: Sequence[Member]) -> list[Member]:
    """The files in the order of their places in the export."""
    return sorted(members, key=lambda member: member.ordinal)


def row_locator(number: int, member: Member, several: bool) -> str:
    """For the quarantine: the row, and the file where the export has more than one."""
    return f"row {number}" + (f" (file {member.ordinal})" if several else "")


def app_rows(
    members: Sequence[Member],
    tally: Tally,
    settings: Settings,
    needed: Sequence[str],
    prepare: Callable[[bytes], bytes] = bytes,
) -> Iterator[AppRow]:
    """Every row, counted in `tally.read`; a row that is none, and a file without `needed`, has its line there.

    Files are UTF-8 with commas; `prepare` gets one without its mark. Raises nothing for what a file may hold.
    """
    for member in in_order(members):
        base = tally.read
        try:
            data = prepare(marked_text(member.read()))
            sheet = read_sheet(data, "utf-8", ",", settings.bounds.csv_field_bytes)
            check_header(sheet.header, needed)
        except Refused as refused:
            tally.refuse("member", f"file {member.ordinal}", refused.reason, refused.detail)
            continue
        tally.read += sheet.read
        for bad in sheet.bad:
            where = row_locator(base + bad.row, member, len(members) > 1)
            part = "" if bad.column is None else f", column {bad.column}"
            tally.refuse("substance_use", where + part, bad.reason, bad.detail)
        columns = [sheet.column(name).to_pylist() for name in needed]
        for row, cells in zip(sheet.rows.tolist(), zip(*columns, strict=True), strict=True):
            where = row_locator(base + row, member, len(members) > 1)
            yield AppRow(base + row, where, dict(zip(needed, cells, strict=True)))


def use_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Uses as decoded_use_schema(), ordered by `source_row`; what a row does not say is NULL.

    Times are microseconds, days are days since 1970.
    """
    ordered = sorted(rows, key=lambda row: int(row["source_row"]))
    schema = decoded_use_schema()
    return pa.table([pa.array([row.get(f.name) for row in ordered], f.type) for f in schema], schema=schema)


def check_header(header: Sequence[str], needed: Sequence[str]) -> None:
    """Raises Refused where the header lacks one of the columns."""
    missing = [name for name in needed if name not in header]
    if missing:
        raise Refused(
            "missing_columns",
            f"header: expected {', '.join(needed)}; got a table without {', '.join(missing)}; export it again, "
            "without renaming or dropping columns",
        )

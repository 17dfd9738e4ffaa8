"""Logs as CSV or XLSX: the canonical long log, and any other through a mapping in study.yaml.

What is one record, and what repeats one: a record is a data row (blank lines are none). A row all of whose
cells, mapped or not, equal those of an earlier row of the file is a duplicate. Rows that differ anywhere are
reports of their own, also where they answer for the same day: a day-level log keeps every stated answer.
Where the log has ids of its own, the last row with an id counts and the earlier ones are duplicates. Rows that
no mapping of the file reads (`only`), or whose form was not filled in (`filled_in`), are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pyarrow as pa

from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.log._calendar import read_calendar
from ingest.decode.log._counts import count
from ingest.decode.log._daily import read_daily
from ingest.decode.log._diary import read_diary
from ingest.decode.log._files import Part, open_log, role_of
from ingest.decode.log._long import read_long
from ingest.decode.log._reader import Reader
from ingest.decode.log._scale import read_scale
from ingest.decode.model import BESIDE, Decoded, Format, Head, Member, Tally, decoded_use_schema

_OTHER_FORMATS = (".json", ".xml")
# Layout: the table of Decoded that its rows go to, and what reads them.
_LAYOUTS: dict[str, tuple[str, Callable[[Reader], pa.Table]]] = {
    "long": ("uses", read_long),
    "daily": ("uses", read_daily),
    "wide": ("uses", read_daily),
    "calendar": ("uses", read_calendar),
    "diary": ("diaries", read_diary),
    "scale": ("responses", read_scale),
}


class CsvLog:
    """Decoder of logs in CSV files and workbooks."""

    source = "csv_log"
    version = "5"
    kind = "log"
    together = False
    formats = (
        Format(
            "Use log, canonical",
            "CSV or XLSX whose header holds `substance` and `taken_at`",
            "uses and stated no-uses with time, amount, form, route and reasons",
            "local+offset",
            False,
        ),
        Format(
            "Use log, through a mapping",
            "CSV or XLSX whose header holds the columns of an entry of `logs` in study.yaml; REDCap exports among them",
            "one use per row (long), per substance of a day (daily), dose of a day (wide) or day of a calendar",
            "local",
            True,
        ),
        Format(
            "Sleep diary, through a mapping",
            "CSV or XLSX whose header holds the columns of an entry of `logs` with layout `diary`",
            "one night per row: bed times, latency, wake, awakenings, quality",
            "local",
            False,
        ),
        Format(
            "Questionnaire or daily ratings, through a mapping",
            "CSV or XLSX whose header holds the columns of an entry of `logs` with layout `scale`",
            "ISI, SOWS, SOWS_GOSSOP, COWS, PSQI, AIS, or ratings of the study's own (DAILY)",
            "local",
            True,
        ),
    )

    def claim(self, head: Head, settings: Settings) -> str | None:
        """`canonical`, `mapping:<names>`, or `ambiguous:<names>`; see role_of."""
        return None if head.name.lower().endswith(_OTHER_FORMATS) else role_of(head, settings)

    def decode(self, members: Sequence[Member], settings: Settings) -> Decoded:
        """The tables of all files; rows are numbered through. Refused where no file can be used at all."""
        tally, formats = Tally(), []
        tables = {"uses": [decoded_use_schema().empty_table()]}
        refused: list[Refused] = []
        beside = [member for member in members if member.role.startswith(BESIDE)]
        logs = sorted((member for member in members if member not in beside), key=lambda each: each.ordinal)
        for member in logs:
            try:
                parts = open_log(member, beside, settings)
                tables_of = [[_read(reader) for reader in part.readers] for part in parts]
            except Refused as error:
                refused.append(error)
                tally.refuse("member", f"file {member.ordinal}", error.reason, error.detail)
                continue
            for part, read in zip(parts, tables_of, strict=True):
                base = tally.read
                count(tally, part.readers, member.ordinal if len(logs) > 1 else None, base)
                for reader, (kind, rows) in zip(part.readers, read, strict=True):
                    tables.setdefault(kind, []).append(_renumbered(rows, base))
                    formats.append(f"{reader.mapping.name}, {reader.mapping.layout}")
                _count_rest(tally, part)
        if refused and not formats:
            raise refused[0]
        if not logs:
            tally.classes["data dictionary"] += len(beside)
        found = {kind: _in_order(each) for kind, each in tables.items()}
        return Decoded("CSV log: " + "; ".join(sorted(set(formats))), tally, **found)

    def settings_part(self, settings: Settings) -> str:
        """The mappings, and the hour at which a day of use begins, as canonical JSON."""
        kept = {
            "day_start_hour": settings.exposure.day_start_hour,
            "logs": [mapping.model_dump(mode="json") for mapping in settings.logs],
        }
        return json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _read(reader: Reader) -> tuple[str, pa.Table]:
    """The table of Decoded that the rows go to, and the rows."""
    kind, read = _LAYOUTS[reader.mapping.layout]
    return kind, read(reader)


def _count_rest(tally: Tally, part: Part) -> None:
    tally.read += part.passed.total()
    tally.ignored.update(part.passed)
    if part.unmapped:
        tally.classes["columns unmapped"] += part.unmapped


def _in_order(tables: list[pa.Table]) -> pa.Table:
    """By row of the log, as one mapping gives them; where several read one file, their rows alternate."""
    # Joining an empty table to one with rows would copy the rows.
    table = pa.concat_tables([each for each in tables if len(each)] or tables[:1])
    rows = table["source_row"].to_numpy()
    sorted_already = (rows[1:] >= rows[:-1]).all()
    return (table if sorted_already else table.take(pa.array(rows.argsort(kind="stable")))).combine_chunks()


def _renumbered(table: pa.Table, base: int) -> pa.Table:
    if base == 0:
        return table
    rows = pa.array(table["source_row"].to_numpy() + base)
    return table.set_column(table.schema.get_field_index("source_row"), table.schema.field("source_row"), rows)


DECODER = CsvLog()

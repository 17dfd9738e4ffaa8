"""Kratom trackers: the CSV of doses in grams that the app Kratom Tracker and its relatives share.

`iso_timestamp` is a local clock without offset, or an instant where it ends in `Z`; `date` and `time` repeat it
for the eye. A dose is always in grams of leaf. Names and codes of strains are the user's own words, and so are
notes: none of them is read. Columns that a later version appends are not read either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping, When
from ingest._core.settings import Settings
from ingest.decode.log._app_rows import check_header, in_order
from ingest.decode.log._clocks import BARE_DATE, read_iso
from ingest.decode.log._counts import count
from ingest.decode.log._long import read_long
from ingest.decode.log._reader import Reader
from ingest.decode.model import Decoded, Format, Head, Member, Tally, decoded_use_schema
from ingest.decode.sheets import read_sheet

COLUMNS = ("date", "time", "iso_timestamp", "strain_code", "strain_name", "amount_g", "notes")
_MAPPING = LogMapping.model_validate({
    "name": "kratom_tracker", "layout": "long", "taken_at": When(column="iso_timestamp"),
    "substance_is": "kratom", "amount": "amount_g", "unit_is": "g",
})  # fmt: skip


@dataclass
class KratomTracker:
    """The decoder; see decode/model.py."""

    source: str = "kratom_tracker"
    version: str = "2"
    kind: str = "log"
    together: bool = False
    formats: tuple[Format, ...] = field(
        default=(
            Format("Kratom Tracker: CSV of doses", "header from `date,time,iso_timestamp,strain_code` on",
                   "uses of kratom with clock and grams", "local+offset", False),
        )
    )  # fmt: skip

    def claim(self, head: Head, settings: Settings) -> str | None:
        """`doses` for the header that the app writes, in its order; more columns may follow."""
        if head.suffix not in (".csv", ".txt", "") or head.is_json:
            return None
        return "doses" if head.header()[: len(COLUMNS)] == COLUMNS else None

    def decode(self, members: Sequence[Member], settings: Settings) -> Decoded:
        """A use per row; rows are numbered through, and a row that equals an earlier one of its file repeats it."""
        tally, tables = Tally(), [decoded_use_schema().empty_table()]
        for member in in_order(members):
            base = tally.read
            try:
                sheet = read_sheet(member.read(), "utf-8", ",", settings.bounds.csv_field_bytes)
                check_header(sheet.header, COLUMNS)
                reader = Reader(sheet, _MAPPING, settings.exposure.day_start_hour)
                _refuse_bare_dates(reader)
                uses = read_long(reader)
            except Refused as refused:
                tally.refuse("member", f"file {member.ordinal}", refused.reason, refused.detail)
                continue
            count(tally, [reader], member.ordinal if len(members) > 1 else None, base)
            tables.append(_numbered_from(base, uses))
        return Decoded("Kratom Tracker doses", tally, uses=pa.concat_tables(tables).combine_chunks())

    def settings_part(self, settings: Settings) -> str:
        """Nothing of the settings changes what is decoded."""
        return ""


DECODER = KratomTracker()


def _refuse_bare_dates(reader: Reader) -> None:
    """The app always writes a clock: a date alone was written by somebody else, and its meaning is not known."""
    bare = read_iso(reader.sheet.column("iso_timestamp")).kind == BARE_DATE
    reader.findings.lose(
        bare, "no_clock", "expected a date with a clock, got a date alone; export it again", "iso_timestamp"
    )


def _numbered_from(base: int, uses: pa.Table) -> pa.Table:
    place = uses.schema.get_field_index("source_row")
    return uses.set_column(place, uses.schema.field(place), pa.array(uses["source_row"].to_numpy() + base))

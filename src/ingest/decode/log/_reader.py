"""What the layouts share: a sheet under one mapping, and the columns that all of them read alike."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import MINUTE
from ingest._core.log_mapping import LogMapping, When
from ingest.decode.log._clocks import BARE_DATE, CLOCK, EMPTY, IMPOSSIBLE, NO_TIME, Clocks, orders, read_when
from ingest.decode.log._rows import ColumnFault, Findings, told
from ingest.decode.log._words import DROPPED, Bools, each, read_word
from ingest.decode.model import decoded_use_schema
from ingest.decode.sheets import Sheet

DAYS_BACK = {"use_day": 0, "bed_day": 0, "wake_day": 1, "report_day": 1}
_LOCAL, _INSTANT = pa.timestamp("us"), pa.timestamp("us", tz="UTC")


@dataclass
class Reader:
    """One sheet under one mapping; faults go to `findings`, flags of its rows to `flags`."""

    sheet: Sheet
    mapping: LogMapping
    day_start_hour: int
    findings: Findings = field(default_factory=Findings)
    flags: dict[str, Bools] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Rows of the sheet."""
        return len(self.sheet.rows)

    def cells(self, name: str | None) -> pa.Array | None:
        """The column called `name`; None where the mapping names none."""
        return None if name is None else self.sheet.column(name)

    def plain(self, name: str | None, flag: str) -> pa.Array:
        """A column of plain words; free text becomes NULL and sets `flag`."""
        column = self.cells(name)
        if column is None:
            return pa.nulls(self.n, pa.string())
        return self.without_dropped(each(column, read_word, pa.string()), flag)

    def without_dropped(self, words: pa.Array, flag: str) -> pa.Array:
        """NULL and `flag` for the cells that were refused as free text."""
        dropped = pc.fill_null(pc.equal(words, DROPPED), False)
        mask = dropped.to_numpy(zero_copy_only=False)
        if not mask.any():
            return words
        self.flags[flag] = mask
        return pc.if_else(dropped, None, words)

    def check_dates(self, column: pa.Array, clocks: Clocks, when: When) -> None:
        """Set rows aside whose date is missing, is none, or cannot be."""
        form = when.format or "YYYY-MM-DD or YYYY-MM-DDThh:mm"
        action = "correct it in the log, or say its `format` in the mapping"
        expected = f"a date written like {form}"
        part = when.column
        self.findings.lose(clocks.kind == EMPTY, "no_date", told(column, expected, "fill it in"), part)
        self.findings.lose(clocks.kind == NO_TIME, "not_a_date", told(column, expected, action), part)
        if when.format is None:
            self._check_order(column, clocks.kind == NO_TIME, when.column)
        self.findings.lose(
            clocks.kind == IMPOSSIBLE,
            "impossible_date",
            f"expected a date and clock that exist, written like {form}, got one that cannot be; {action}",
            part,
        )

    def _check_order(self, column: pa.Array, unread: Bools, name: str) -> None:
        """Tell of a column whose dates are written day first in some rows and month first in others."""
        day_first, month_first, either = orders(column, np.flatnonzero(unread))
        if len(day_first) and len(month_first):
            self.findings.columns.append(ColumnFault(
                self.sheet.header.index(name.strip()) + 1,
                "mixed_date_orders",
                f"expected dates in one order, got two: {len(day_first)} rows can only be day first, as %d/%m/%Y, the "
                f"first is {{0}}; {len(month_first)} only month first, as %m/%d/%Y, the first is {{1}}; {either} could "
                "be either; all are set aside: write them as YYYY-MM-DD, or say in the mapping which `format` is meant",
                (int(day_first[0]), int(month_first[0])),
            ))  # fmt: skip

    def reported(self) -> Clocks:
        """When the answers were given; a cell that says no time is set aside, its row is not."""
        when = self.mapping.reported_at
        if when is None:
            return Clocks.empty(self.n)
        column = self.sheet.column(when.column)
        clocks = read_when(column, when)
        form = when.format or "YYYY-MM-DDThh:mm"
        detail = told(column, f"a time written like {form}", "correct it in the log")
        self.findings.lose_values(clocks.kind == NO_TIME, when.column, "not_a_date", detail)
        self.findings.lose_values(clocks.kind == IMPOSSIBLE, when.column, "impossible_date", detail)
        return clocks


def stamps(micros: NDArray[np.int64], known: Bools, instants: bool = False) -> pa.Array:
    """Microseconds as Arrow timestamps, NULL where not known."""
    return pa.array(micros, mask=~known).view(_INSTANT if instants else _LOCAL)


def days(numbers: NDArray[np.int64], known: Bools) -> pa.Array:
    """Days since 1970 as Arrow dates, NULL where not known."""
    return pa.array(numbers.astype(np.int32), mask=~known).view(pa.date32())


def reported_columns(reported: Clocks, flags: dict[str, Bools]) -> dict[str, pa.Array]:
    """`reported_clock`: the wall clock of the report. A stamp in UTC tells no wall clock and is flagged."""
    in_utc = reported.stated & (reported.offset_us == 0)
    known = (reported.kind == CLOCK) | (reported.kind == BARE_DATE)
    flags["reported_in_utc"] = known & in_utc
    return {"reported_clock": stamps(reported.local, known & ~in_utc)}


def offset_column(clocks: Clocks, instant: Bools) -> pa.Array:
    """Offset in minutes of the instants; NULL for zero, which tells an instant but no local clock."""
    return pa.array((clocks.offset_us // MINUTE).astype(np.int32), mask=~instant | (clocks.offset_us == 0))


def use_table(columns: dict[str, pa.Array | None], n: int) -> pa.Table:
    """The columns as decoded_use_schema(), NULL where there is none."""
    schema = decoded_use_schema()
    arrays = []
    for each_field in schema:
        column = columns.get(each_field.name)
        if column is None:
            column = pa.nulls(n, each_field.type)
        arrays.append(column if column.type == each_field.type else column.cast(each_field.type))
    return pa.table(arrays, schema=schema)

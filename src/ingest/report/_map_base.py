"""What every layout's guess begins with: the columns that are left, who and when the rows are about."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ingest._core.errors import WrongUse
from ingest.report import _map_names as names
from ingest.report._map_columns import why_never, why_unusable
from ingest.report._map_sample import Column, Sample

NUMBERED = re.compile(r"(.*?)[\W_]*0*(\d{1,2})(\D*)")
UNSAID = "say_which"
SAY_SUBSTANCE = "say which substance this is"
SAY_UNIT = "say the unit: g, mg, ml of 10 mg/ml, std_drink_us, ...; until then the amounts are unknown"
_SAY_MEANS = "say what the date means: use_day, report_day, wake_day or bed_day"


@dataclass
class Proposal:
    """An entry of `logs`, remarks on its lines by their path, and what was not used, with the reason."""

    mapping: dict[str, Any]
    remarks: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)


class Base:
    """The columns of a sample that are not used yet, and the mapping that grows from the others."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.left = [column for column in sample.columns if column.usable and column.cells]
        self.unused = {column.name: why_unusable(column) for column in sample.columns if column not in self.left}
        for column in list(self.left):
            why = why_never(column)
            if why is not None:
                self.left.remove(column)
                self.unused[column.name] = why
        self.mapping: dict[str, Any] = {}
        self.remarks: dict[str, str] = {}

    def _take(self, key: str, fits: Callable[[Column], bool]) -> Column | None:
        """The first column that fits, which is then used; entered under `key` if one is given."""
        column = next((each for each in self.left if fits(each)), None)
        if column is not None:
            self.left.remove(column)
            if key:
                self.mapping[key] = column.name
        return column

    def _people_and_rows(self) -> None:
        n = self.sample.n_rows
        person = self._take("participant", lambda c: bool(names.PARTICIPANT.search(c.words)) and c.dates is None
                            and all(" " not in cell for cell in c.different))  # fmt: skip
        # An id that comes back in other rows is a person's.
        person = person or self._take("participant", lambda c: c.words == "id" and c.dates is None
                                      and len(c.different) < len(c.cells) == n)  # fmt: skip
        if person is not None:
            self.remarks["participant"] = "must hold the participant_ref of roster.csv"
        self._take("record_id", lambda c: bool(names.RECORD_ID.search(c.words)) and c.dates is None
                   and len(c.different) == n)  # fmt: skip

    def _date(self, key: str, *, clock: bool) -> None:
        """The main date, and when it was reported. `clock`: the one with a clock is the better main date."""
        dated = [column for column in self.left if column.dates]
        if not dated:
            raise WrongUse("expected a column of dates (ISO, or one format throughout), got none that is told by its "
                           "cells; put date and time into one column, and dates into one format")  # fmt: skip

        def rank(column: Column) -> int:
            assert column.dates is not None
            by_name = 4 * bool(names.MAIN_DATE.search(column.words)) + 2 * bool(names.ANY_DATE.search(column.words))
            return by_name - 5 * bool(_told(column)) + (column.dates.has_clock == clock)

        main = max(dated, key=rank)
        self._when(key, main)
        told = [c for c in dated if c is not main and is_report(c)]
        if told:
            self._when("reported_at", told[0])

    def _when(self, key: str, column: Column) -> None:
        self.left.remove(column)
        dates = column.dates
        assert dates is not None
        self.mapping[key] = {"column": column.name}
        remarks = []
        if dates.format is not None:
            self.mapping[key]["format"] = dates.format
        if dates.mixed:
            remarks.append("day and month stand in both orders in this column; correct the log")
        elif any("%d" in other for other in dates.others) and dates.format is not None:
            other = next(each for each in dates.others if "%d" in each)
            this, that = "day", "month"
            if dates.format.find("%m") < dates.format.find("%d"):
                this, that = that, this
            remarks.append(f"03/04/2026 could be either; say which (this is {this} first, {that} first is {other})")
        if dates.unfit and not dates.mixed:
            remarks.append(f"{dates.unfit} of {len(column.cells)} cells do not fit and would be set aside")
        if remarks:
            self.remarks[f"{key}.{'format' if dates.format else 'column'}"] = "; ".join(remarks)

    def _means(self, value: str = "use_day") -> None:
        self.mapping["date_means"] = value
        self.remarks["date_means"] = _SAY_MEANS


def is_report(column: Column) -> bool:
    """True for the time at which a row was handed in, or the day of the interview that it comes from."""
    dates = column.dates
    stamped = dates is not None and dates.has_clock and names.REPORTED.search(column.words)
    return dates is not None and bool(stamped or names.INTERVIEW.search(column.words))


def _told(column: Column) -> bool:
    return bool(names.REPORTED.search(column.words) or names.INTERVIEW.search(column.words))

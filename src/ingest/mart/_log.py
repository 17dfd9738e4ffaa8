"""Rows of a substance log as numbers: where in time each use lies, on which exposure day, how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR, Micros, Zone

Mask = NDArray[np.bool_]
Codes = NDArray[np.int64]
PRECISIONS = ("exact", "hour", "part_of_day", "day")
UNTIMED = PRECISIONS.index("part_of_day")
# Local hours from the midnight of the exposure day on, cut to that day: where days run from 05:00 the
# morning is 05 to 11 and the night 22 to 05, so that the five parts fill the day.
PARTS = {
    "morning": (0, 11),
    "midday": (11, 14),
    "afternoon": (14, 17),
    "evening": (17, 22),
    "night": (22, 48),
}
_WHOLE_DAY = (0, 48)
MICRO_UNITS = 1_000_000
_LARGEST = 1e9


@dataclass(frozen=True)
class Words:
    """A column of text as codes into `names`; -1 is NULL."""

    codes: Codes
    names: list[str]


@dataclass(frozen=True)
class Log:
    """One participant's log, one element per row.

    A use lies somewhere in [start, last] (microseconds in UTC, both ends included): one instant where the
    time is exact. `at` is the stated instant of a timed use. `day` is the exposure day in days since 1970,
    `precision` an index into PRECISIONS, `amount` micro-units, 0 where `known` is False. `contested` marks rows
    of a daily form that answers otherwise for the same day elsewhere, `restated` those that only say again what
    another says, `partial` noes about a part of the day or one product, which say nothing of the day.
    """

    substance: Codes
    unit: Codes
    substance_class: Codes
    no_use: Mask
    precision: Codes
    day: Codes
    at: Micros
    start: Micros
    last: Micros
    amount: Micros
    known: Mask
    contested: Mask
    restated: Mask
    partial: Mask

    @property
    def denies(self) -> Mask:
        """Rows that state no use on their day."""
        return self.no_use & ~self.partial


class LogTable:
    """The table substance_use, ready to be asked for one participant's Log."""

    def __init__(self, uses: pa.Table) -> None:
        people = _words(uses["participant_id"])
        self._order = np.argsort(people.codes, kind="stable")
        edges = np.searchsorted(people.codes[self._order], np.arange(len(people.names) + 1))
        self._rows = {name: (int(edges[i]), int(edges[i + 1])) for i, name in enumerate(people.names)}
        self.substances = _words(uses["substance"])
        self.units = _words(uses["unit"])
        self.classes = _words(uses["substance_class"])
        self._no_use = uses["no_use"].to_numpy().astype(bool)
        self._taken = numbers(uses["taken_utc"])
        self._date = numbers(uses["local_date"])
        stated = pc.index_in(uses["time_precision"], value_set=pa.array(PRECISIONS))
        precision = np.asarray(stated.fill_null(len(PRECISIONS) - 1).to_numpy(), dtype=np.int64)
        without_clock = uses["taken_utc"].is_null().to_numpy().astype(bool)
        self._precision = np.where(without_clock & (precision < UNTIMED), len(PRECISIONS) - 1, precision)
        self._from, self._to = _hours(uses["flags"], self._precision)
        self._contested, self._restated, partial = (
            _flagged(uses["flags"], word) for word in ("conflict", "restated", "partial_no")
        )
        self._partial = partial & self._no_use
        self._amount, self._known = _micro_units(uses, self._no_use)

    def participants(self) -> Iterator[str]:
        """Whoever has a row."""
        return iter(self._rows)

    def of(self, participant_id: str, zone: Zone, day_start_hour: int) -> Log:
        """The rows of one participant; empty for one who logged nothing."""
        low, high = self._rows.get(participant_id, (0, 0))
        rows = self._order[low:high]
        precision, taken, date = self._precision[rows], self._taken[rows], self._date[rows]
        timed = precision < UNTIMED
        local = zone.to_local(taken)
        start = np.where(precision == 0, taken, taken - local % HOUR)
        last = np.where(precision == 0, taken, start + HOUR - 1)
        part_from = np.maximum(self._from[rows], day_start_hour)
        part_to = np.minimum(self._to[rows], day_start_hour + 24)
        part_from = np.where(part_from < part_to, part_from, day_start_hour)
        day_from = zone.to_utc(date * DAY + part_from * HOUR)[0]
        day_to = zone.to_utc(date * DAY + part_to * HOUR)[0]
        return Log(
            substance=self.substances.codes[rows],
            unit=self.units.codes[rows],
            substance_class=self.classes.codes[rows],
            no_use=self._no_use[rows],
            precision=precision,
            day=np.where(timed, (local - day_start_hour * HOUR) // DAY, date),
            at=taken,
            start=np.where(timed, start, day_from),
            last=np.where(timed, last, day_to - 1),
            amount=self._amount[rows],
            known=self._known[rows],
            contested=self._contested[rows],
            restated=self._restated[rows],
            partial=self._partial[rows],
        )


def exposure_day(instant_us: Micros, zone: Zone, day_start_hour: int) -> Codes:
    """Exposure days, in days since 1970: the date of (local clock - day_start_hour). Decided rule 6."""
    return np.floor_divide(zone.to_local(instant_us) - day_start_hour * HOUR, DAY)


def numbers(column: pa.ChunkedArray) -> Micros:
    """Instants or clocks as microseconds, dates as days since 1970; 0 stands where there is none."""
    width = pa.int32() if pa.types.is_date(column.type) else pa.int64()
    return np.asarray(column.cast(width).fill_null(0).to_numpy(), dtype=np.int64)


def _words(column: pa.ChunkedArray) -> Words:
    encoded = column.combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Words(codes, encoded.dictionary.to_pylist())


def _hours(flags: pa.ChunkedArray, precision: Codes) -> tuple[Codes, Codes]:
    """Local hours between which an untimed use lies; of two parts, from the first to the second one's end."""
    first, end = (np.full(len(precision), hour, dtype=np.int64) for hour in reversed(_WHOLE_DAY))
    some = precision == UNTIMED
    if some.any():
        for part, (low, high) in PARTS.items():
            said = pc.match_substring_regex(flags.fill_null(""), rf"(^|,)part:{part}(,|$)")
            here = some & said.to_numpy().astype(bool)
            first = np.where(here, np.minimum(first, low), first)
            end = np.where(here, np.maximum(end, high), end)
    known = first < end
    return np.where(known, first, _WHOLE_DAY[0]), np.where(known, end, _WHOLE_DAY[1])


def _flagged(flags: pa.ChunkedArray, word: str) -> Mask:
    if flags.null_count == len(flags):
        return np.zeros(len(flags), dtype=bool)
    found = pc.match_substring_regex(flags.fill_null(""), rf"(^|,){word}(,|$)")
    return np.asarray(found.to_numpy().astype(bool))


def _micro_units(uses: pa.Table, no_use: Mask) -> tuple[Micros, Mask]:
    """Amounts in millionths of their unit, and which are usable: stated, with a unit, and within int64."""
    amount = np.asarray(uses["amount"].cast(pa.float64()).fill_null(np.nan).to_numpy(), dtype=np.float64)
    has_unit = ~uses["unit"].is_null().to_numpy().astype(bool)
    known = ~no_use & has_unit & (np.abs(amount) <= _LARGEST)
    return np.rint(np.where(known, amount, 0.0) * MICRO_UNITS).astype(np.int64), known

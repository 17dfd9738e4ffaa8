"""Where uses lie in time: instants and local clocks through the person's zone, delay of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core import clock
from ingest._core.clock import DAY, MINUTE, Micros
from ingest.harmonise._codes import Codes, whole
from ingest.harmonise.person import Person

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """A column as integers or floats; what stands where `known` is False means nothing."""

    values: NDArray[np.int64]
    known: Bools

    @classmethod
    def of(cls, column: pa.ChunkedArray, width: pa.DataType) -> Column:
        """A column of timestamps (int64 microseconds) or dates (int32 days)."""
        array = whole(column)
        known = array.is_valid().to_numpy(zero_copy_only=False)
        values = pc.fill_null(array.view(width), 0).to_numpy(zero_copy_only=False)
        return cls(values.astype(np.int64), known)


@dataclass(frozen=True)
class Times:
    """`utc` and `local` in microseconds where `timed`; `date`, the local date or day of use, in days since
    1970; `begins`, the instant of the use or at which its day begins; flags by word.
    """

    timed: Bools
    utc: Micros
    local: Micros
    date: Codes
    begins: Micros
    flags: Mapping[str, Bools]


def place(uses: pa.Table, who: Codes, people: Sequence[Person]) -> Times:
    """The times of all uses; `who` numbers each one's person.

    A clock of the log is read in its person's zone: a repeated hour in its first reading, an hour that never
    was with the offset before it; both are flagged. Instants of the log stand; their local clock follows the
    offset beside them, or the zone where there is none.
    """
    clocks, instants = (Column.of(uses[name], pa.int64()) for name in ("taken_clock", "taken_utc"))
    day = Column.of(uses["use_day"], pa.int32())
    offset = whole(uses["utc_offset_min"])
    stated = offset.is_valid().to_numpy(zero_copy_only=False)
    offset_us = pc.fill_null(offset, 0).to_numpy(zero_copy_only=False).astype(np.int64) * MINUTE
    timed = clocks.known | instants.known
    wall = np.where(clocks.known, clocks.values, day.values * DAY)
    utc, special = np.zeros(len(uses), dtype=np.int64), np.zeros(len(uses), dtype=np.int64)
    local = wall.copy()
    for rows, zone in _by_zone(who, people):
        read, _, kind = zone.to_utc(wall[rows])
        known = instants.known[rows]
        if not known.any():
            utc[rows], special[rows] = read, np.where(clocks.known[rows], kind, 0)
            continue
        utc[rows] = np.where(known, instants.values[rows], read)
        shown = np.where(stated[rows], utc[rows] + offset_us[rows], zone.to_local(utc[rows]))
        local[rows] = np.where(known, shown, wall[rows])
        special[rows] = np.where(clocks.known[rows], kind, 0)
    assumed = np.array([person.time_basis == "assumed" for person in people], dtype=np.bool_)[who]
    flags = {
        "ambiguous_local_time": special > 0,
        "nonexistent_local_time": special < 0,
        "assumed_zone": assumed & timed & ~(instants.known & stated),
    }
    return Times(timed, utc, local, np.floor_divide(local, DAY), utc, flags)


def _by_zone(who: Codes, people: Sequence[Person]) -> list[tuple[Codes | slice, clock.Zone]]:
    names = sorted({person.zone_name for person in people})
    if len(names) == 1:
        return [(slice(None), clock.zone(names[0]))]
    of_person = np.array([names.index(person.zone_name) for person in people], dtype=np.int64)
    of_row = of_person[who]
    return [(np.flatnonzero(of_row == i), clock.zone(name)) for i, name in enumerate(names)]


def recall_lag(uses: pa.Table, times: Times) -> tuple[pa.Array, Bools]:
    """Days from use to report, whole ones for a day-level use; NULL, and True in the mask, if negative."""
    given = whole(uses["recall_lag_days"])
    reported = Column.of(uses["reported_clock"], pa.int64())
    if given.null_count == len(given) and not reported.known.any():
        return given, np.zeros(len(given), dtype=np.bool_)
    by_clock = (reported.values - times.local) / DAY
    by_day = np.floor_divide(reported.values, DAY) - times.date
    lag = np.where(times.timed, by_clock, by_day)
    lag[~reported.known] = np.nan
    stated = given.is_valid().to_numpy(zero_copy_only=False)
    lag[stated] = given.drop_null().to_numpy()
    early = lag < 0
    return pa.array(lag, mask=np.isnan(lag) | early), early

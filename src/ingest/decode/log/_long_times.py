"""When the uses of a long log were: clocks, days, how well they are known, how late they were reported."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR
from ingest.decode.log._clocks import BARE_DATE, CLOCK, Clocks
from ingest.decode.log._long_clocks import read_long_when
from ingest.decode.log._reader import (
    DAYS_BACK,
    Reader,
    days,
    offset_column,
    reported_columns,
    stamps,
)
from ingest.decode.log._rows import told
from ingest.decode.log._words import Bools, each

PRECISIONS = ("exact", "hour", "part_of_day", "day")
_EXACT, _HOUR, _PART, _DAY = range(4)
_UNKNOWN = -1
_PARTS = ("night", "morning", "midday", "afternoon", "evening", "night")


def read_times(reader: Reader) -> dict[str, pa.Array | None]:
    """The time columns of decoded_use_schema(), by `taken_at`, `time_precision` and `reported_at`."""
    when = reader.mapping.taken_at
    assert when is not None
    column = reader.sheet.column(when.column)
    clocks = read_long_when(column, when)
    reader.check_dates(column, clocks, when)
    precision = _precision(reader, clocks)
    timed = precision <= _HOUR
    instant = timed & clocks.stated
    day, part = _day_of_use(reader, clocks, precision)
    reader.flags["day_of_utc"] = ~timed & clocks.stated & (clocks.offset_us == 0)
    reported = reader.reported()
    return {
        "taken_clock": stamps(clocks.local, timed & ~clocks.stated),
        "taken_utc": stamps(clocks.local - clocks.offset_us, instant, instants=True),
        "utc_offset_min": offset_column(clocks, instant),
        "use_day": days(day, ~timed),
        "part_of_day": part,
        "time_precision": pa.DictionaryArray.from_arrays(precision.astype(np.int32), pa.array(PRECISIONS)),
        "recall_lag_days": _lag(clocks, reported, instant & reported.stated),
        **reported_columns(reported, reader.flags),
    }


def _precision(reader: Reader, clocks: Clocks) -> NDArray[np.int64]:
    """Index into PRECISIONS: what the time allows, or less where the log says so."""
    allowed = np.where(clocks.kind == BARE_DATE, _DAY, _EXACT)
    called = reader.mapping.time_precision
    if called is None:
        return allowed
    column = reader.sheet.column(called)
    codes = {"": _EXACT} | {word: i for i, word in enumerate(PRECISIONS)}
    words = each(column, lambda word: codes.get(word.lower(), _UNKNOWN), pa.int64())
    stated: NDArray[np.int64] = words.to_numpy()
    reader.findings.lose_values(
        stated == _UNKNOWN,
        called,
        "unknown_word",
        told(column, f"one of {', '.join(PRECISIONS)}", "correct it in the log"),
    )
    return np.maximum(allowed, stated)


def _day_of_use(
    reader: Reader, clocks: Clocks, precision: NDArray[np.int64]
) -> tuple[NDArray[np.int64], pa.Array | None]:
    """Days since 1970, and the part of the day, of uses without a usable clock.

    A bare date is moved to the day of use by `date_means`. A clock that stands for a day only keeps its date,
    one that stands for a part of the day counts to the exposure day it lies in.
    """
    mapping = reader.mapping
    bare = clocks.kind == BARE_DATE
    if mapping.date_means is None:
        reader.findings.lose(
            bare,
            "date_means_missing",
            "expected a date with a clock, got a bare date; say in the mapping what it means: `date_means`",
            mapping.taken_at.column if mapping.taken_at else None,
        )
    part = (precision == _PART) & ~bare
    start = reader.day_start_hour * HOUR
    day = clocks.day - np.where(bare, DAYS_BACK[mapping.date_means or "use_day"], 0)
    day[part] = np.floor_divide(clocks.local[part] - start, DAY)
    if not part.any():
        return day, None
    hour = np.floor_divide(clocks.local, HOUR) % 24
    codes = np.searchsorted([reader.day_start_hour, 11, 14, 17, 22], hour, side="right")
    return day, pa.array(_PARTS).take(pa.array(codes, mask=~part))


def _lag(clocks: Clocks, reported: Clocks, known: Bools) -> pa.Array | None:
    """Days from use to report where both are stated as instants; elsewhere it needs the person's zone."""
    known = known & (reported.kind == CLOCK)
    if not known.any():
        return None
    late = (reported.local - reported.offset_us) - (clocks.local - clocks.offset_us)
    return pa.array(late / DAY, mask=~known)

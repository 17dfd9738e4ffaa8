"""Plausibility of sleep sessions, as one table: rule, bound, action, reason.

`refuse` quarantines the record, `blank` sets the value aside and keeps the record, `flag` keeps both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ingest._core.clock import DAY, MINUTE, to_micros

Column = NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """Columns a rule may look at: µs instants, elapsed minutes, vendor minutes, arrival of the export."""

    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    arrived_us: int
    value: Callable[[str], Column]

    @property
    def elapsed_min(self) -> Column:
        """Length of the record."""
        return (self.end_us - self.start_us) / MINUTE


@dataclass(frozen=True)
class Rule:
    """`wrong` gives a mask of offending records; `column` is what `blank` sets aside."""

    name: str
    action: Literal["refuse", "blank", "flag"]
    wrong: Callable[[Facts], NDArray[np.bool_]]
    expected: str
    column: str | None = None


def _outside(column: str, low: float, high: float) -> Callable[[Facts], NDArray[np.bool_]]:
    return lambda facts: (facts.value(column) < low) | (facts.value(column) > high)


EARLIEST_US = to_micros(datetime(2000, 1, 1))  # noqa: DTZ001
_VENDOR_MINUTES = ("tst", "awake", "sol", "light", "deep", "rem")

RULES: tuple[Rule, ...] = (
    Rule("end_not_after_start", "refuse", lambda f: f.end_us <= f.start_us,
         "an end after the start, got one before or at it"),
    Rule("longer_than_24h", "refuse", lambda f: f.end_us - f.start_us > DAY,
         "at most 24 h, got more"),
    Rule("before_2000", "refuse", lambda f: f.start_us < EARLIEST_US,
         "a start after 1999, got an earlier one (a clock that was never set?)"),
    Rule("in_the_future", "refuse", lambda f: f.end_us > f.arrived_us + DAY,
         "an end no later than a day after the export arrived, got a later one"),
    *(Rule(f"vendor_{name}_out_of_range", "blank", _outside(f"vendor_{name}_min", 0, 1440),
           "0 to 1440 minutes", f"vendor_{name}_min") for name in _VENDOR_MINUTES),
    Rule("vendor_efficiency_out_of_range", "blank", _outside("vendor_efficiency_pct", 0, 100),
         "0 to 100 %", "vendor_efficiency_pct"),
    Rule("vendor_score_out_of_range", "blank", _outside("vendor_score", 0, 100), "0 to 100", "vendor_score"),
    Rule("vendor_tst_exceeds_record", "flag", lambda f: f.value("vendor_tst_min") > f.elapsed_min + 1,
         "sleep time within the record"),
)  # fmt: skip

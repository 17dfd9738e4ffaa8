"""Sums over windows (low, high] of uses that lie somewhere in [start, last], by binary search in prefix sums.

A use that lies wholly in a window counts, one that lies wholly outside does not, and one that crosses an edge
makes the window unknown (decided rule 7). Amounts are integers, so sums are exact in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest._core.clock import HOUR, Micros
from ingest.mart._log import MICRO_UNITS, UNTIMED, Codes, Log, Mask

HALF_LIVES = 5
_NEVER = np.iinfo(np.int64).min
_LOAD_DIGITS = 9


@dataclass(frozen=True)
class Days:
    """What the log of one substance says of days; sorted days since 1970, each once.

    `conflicting` are those with both a use and a stated no, or with a contested answer; `good` are the days that are
    logged and not in conflict. A no about a part of the day logs no day.
    """

    used: Codes
    denied: Codes
    conflicting: Codes
    logged: Codes
    good: Codes

    @classmethod
    def of(cls, log: Log, here: Mask, any_substance: bool) -> Days:
        """`here` marks the rows of the substance; with `any_substance` a row of any substance logs a day."""
        used, denied = np.unique(log.day[here & ~log.no_use]), np.unique(log.day[here & log.denies])
        logged = np.unique(log.day[~log.partial]) if any_substance else np.union1d(used, denied)
        conflicting = np.union1d(np.intersect1d(used, denied), log.day[here & log.contested])
        good = np.setdiff1d(logged, conflicting, assume_unique=True)
        return cls(used, denied, conflicting, logged, good)

    def covered(self, first: Codes, last: Codes) -> Mask:
        """True where every day from `first` to `last` is logged and without conflict."""
        good = self.good.searchsorted(last, side="right") - self.good.searchsorted(first)
        whole: Mask = np.equal(good, last - first + 1)
        return whole


@dataclass(frozen=True)
class Window:
    """Answers for an array of windows. `known` is False where the count is; `amount` is in micro-units."""

    known: Mask
    count: Codes
    unknown_amounts: Codes
    amount: Micros

    @property
    def amount_known(self) -> Mask:
        """True where the amount of every use in the window is known, too."""
        stated: Mask = np.equal(self.unknown_amounts, 0)
        return self.known & stated


@dataclass(frozen=True)
class LastDose:
    """The last timed use at or before each anchor; its `amount` adds up what was taken at that instant."""

    known: Mask
    at: Micros
    amount: Micros
    amount_known: Mask


def _sums(values: NDArray[np.int64] | Mask) -> NDArray[np.int64]:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(values, dtype=np.int64)))


class Doses:
    """The uses of one substance and unit of one participant, sorted for binary search."""

    def __init__(self, log: Log, here: Mask, days: Days) -> None:
        use = here & ~log.no_use & ~log.restated
        start, last, day = log.start[use], log.last[use], log.day[use]
        precision, amount, unknown = log.precision[use], log.amount[use], ~log.known[use]
        self._days = days
        by_start, by_last, by_day = (np.argsort(key, kind="stable") for key in (start, last, day))
        self._starts, self._lasts, self._by_day = start[by_start], last[by_last], day[by_day]
        self._amount, self._amount_by_day = _sums(amount[by_start]), _sums(amount[by_day])
        self._unknown, self._unknown_by_day = _sums(unknown[by_start]), _sums(unknown[by_day])
        self._unknown_by_last = _sums(unknown[by_last])
        self._precisions = {
            int(each): (
                _sums((precision == each)[by_start]),
                _sums((precision == each)[by_last]),
                _sums((precision == each)[by_day]),
            )
            for each in np.unique(precision)
        }
        untimed_last = np.where(precision >= UNTIMED, last, _NEVER)[by_start]
        self._latest_untimed = np.concatenate(([_NEVER], np.maximum.accumulate(untimed_last)))
        self._keep_timed(log, use & (log.precision < UNTIMED), days)

    def _keep_timed(self, log: Log, timed: Mask, days: Days) -> None:
        rows = np.flatnonzero(timed)
        rows = rows[np.lexsort((log.known[rows], log.amount[rows], log.at[rows]))]
        self._at, self._at_amounts = log.at[rows], log.amount[rows]
        self._at_day, self._at_known = log.day[rows], log.known[rows]
        self._at_amount, self._at_unknown = _sums(self._at_amounts), _sums(~self._at_known)
        calm = rows[~np.isin(log.day[rows], days.conflicting)]
        self._calm_starts, self._calm_lasts = np.sort(log.start[calm]), np.sort(log.last[calm])

    def _started(self, at: Micros) -> Codes:
        return self._starts.searchsorted(at, side="right")

    def _ended(self, at: Micros) -> Codes:
        return self._lasts.searchsorted(at, side="right")

    def crosses(self, at: Micros) -> Mask:
        """True where a use may lie on either side of the instant."""
        return self._started(at) > self._ended(at)

    def window(self, low: Micros, high: Micros, low_day: Codes, high_day: Codes) -> Window:
        """Uses in (low, high]; `low_day` and `high_day` are the first and last exposure day they touch."""
        first, end = self._started(low), self._started(high)
        certain = ~self.crosses(low) & ~self.crosses(high)
        return Window(
            known=certain & self._days.covered(low_day, high_day),
            count=end - first,
            unknown_amounts=self._unknown[end] - self._unknown[first],
            amount=self._amount[end] - self._amount[first],
        )

    def on_day(self, day: Codes) -> Window:
        """Uses whose exposure day it is; known where the day is logged without conflict."""
        first, end = np.searchsorted(self._by_day, day), np.searchsorted(self._by_day, day, side="right")
        return Window(
            known=self._days.covered(day, day),
            count=end - first,
            unknown_amounts=self._unknown_by_day[end] - self._unknown_by_day[first],
            amount=self._amount_by_day[end] - self._amount_by_day[first],
        )

    def coarsest(self, low: Micros, high: Micros, asked: Mask, day: Codes) -> tuple[Codes, Mask]:
        """Coarsest precision (index, -1 for none) among the uses of a window (where asked) and of a day.

        A use that may lie in the window is one of them. The mask tells where an untimed use is among them or
        a use crosses an edge of the window.
        """
        coarsest = np.full(len(day), -1, dtype=np.int64)
        for each, (by_start, by_last, by_day) in sorted(self._precisions.items()):
            within = asked & (by_start[self._started(high)] > by_last[self._ended(low)])
            first, end = np.searchsorted(self._by_day, day), np.searchsorted(self._by_day, day, side="right")
            coarsest = np.where(within | (by_day[end] > by_day[first]), each, coarsest)
        vague = np.where(asked, self.crosses(low) | self.crosses(high), coarsest >= UNTIMED)
        return coarsest, vague

    def last_dose(self, anchor: Micros, anchor_day: Codes) -> LastDose:
        """Known where all days since that use are logged and no other may lie between it and the anchor."""
        if len(self._at) == 0:
            none = np.zeros(len(anchor), dtype=bool)
            zero = np.zeros(len(anchor), dtype=np.int64)
            return LastDose(none, zero, zero, none)
        end = np.searchsorted(self._at, anchor, side="right")
        found = np.maximum(end - 1, 0)
        at = self._at[found]
        first = np.searchsorted(self._at, at)
        sure = (self._latest_untimed[self._started(anchor)] <= at) & ~self.crosses(anchor)
        return LastDose(
            known=(end > 0) & sure & self._days.covered(self._at_day[found], anchor_day),
            at=at,
            amount=self._at_amount[end] - self._at_amount[first],
            amount_known=self._at_unknown[end] == self._at_unknown[first],
        )

    def load(
        self, anchor: Micros, half_life_h: float, low_day: Codes, anchor_day: Codes
    ) -> tuple[NDArray[np.float64], Mask]:
        """Residual load at each anchor and where it is known; `low_day` begins the last five half-lives.

        The sum runs over all timed uses of known amount up to the anchor, oldest first. Within the last five
        half-lives every use must be one of them; of what is older at most 1/32 is left.
        """
        low = anchor - horizon(half_life_h)
        started, ended = self._started(anchor), self._ended(low)
        known = self._days.covered(low_day, anchor_day) & ~self.crosses(anchor)
        known &= self._unknown[started] == self._unknown_by_last[ended]
        for each, (by_start, by_last, _) in self._precisions.items():
            if each >= UNTIMED:
                known &= by_start[started] == by_last[ended]
        if len(self._at) == 0:
            return np.zeros(len(anchor)), known
        end = np.searchsorted(self._at, anchor, side="right")
        last = np.maximum(end - 1, 0)
        age = np.maximum(anchor - self._at[last], 0) / (half_life_h * HOUR)
        load = np.where(end > 0, self._loads(half_life_h)[last] * np.exp2(-age), 0.0)
        return np.asarray(np.round(load, _LOAD_DIGITS), dtype=np.float64), known

    def _loads(self, half_life_h: float) -> NDArray[np.float64]:
        """Load right after each timed use."""
        ages = np.diff(self._at, prepend=self._at[:1]) / (half_life_h * HOUR)
        taken = (self._at_amounts / MICRO_UNITS).tolist()
        left = [0.5**age for age in ages.tolist()]
        load = 0.0
        return np.array([load := load * part + dose for part, dose in zip(left, taken, strict=True)])

    def during(self, begin: Micros, end: Micros, first_day: Codes, last_day: Codes) -> tuple[Mask, Mask]:
        """Whether a use lies between `begin` and `end`, both excluded, and where that is known.

        A timed use wholly within, on a day without conflict, makes it true whatever the other days say.
        False needs every touched day logged and no use that may lie within.
        """
        final = end - 1
        wholly = np.searchsorted(self._calm_lasts, final, side="right") > np.searchsorted(
            self._calm_starts, begin, side="right"
        )
        perhaps = self._started(final) > self._ended(begin)
        return wholly, wholly | (self._days.covered(first_day, last_day) & ~perhaps)


def horizon(half_life_h: float) -> int:
    """Five half-lives in microseconds."""
    return round(HALF_LIVES * half_life_h * HOUR)

"""Series of made-up participants, and sleep that goes with the dose by a known amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ingest.mart.series import EXPOSURES, LOGGED, NONE_REPORTED, NOT_LOGGED, OUTCOMES, Doses, Measure, Series

Floats = NDArray[np.float64]
DOSE_SLEEP_ONLY = (("tst", "diary"), ("se", "diary"), ("withdrawal", "scale"))


def person(
    amount: Floats,
    outcomes: Mapping[Measure, Floats],
    pid: str = "p1",
    phase: Sequence[int] | None = None,
    phases: tuple[str, ...] = ("",),
    free: Sequence[bool] | None = None,
    exposures: Mapping[str, Floats] | None = None,
) -> Series:
    """A participant whose daily kratom amounts (NaN: no log) and outcomes are given, a value per day.

    `exposures` names further exposures than any_use and amount_day, the same for both anchors.
    """
    n = len(amount)
    status = np.select([np.isnan(amount), amount == 0], [NOT_LOGGED, NONE_REPORTED], LOGGED).astype(np.int64)
    known = {"amount_day": amount, "any_use": np.where(np.isnan(amount), np.nan, (amount > 0) * 1.0)}
    matrix = np.full((n, len(EXPOSURES)), np.nan)
    for name, values in {**known, **(exposures or {})}.items():
        matrix[:, EXPOSURES.index(name)] = values
    band = np.where(status == NONE_REPORTED, 0, -1)
    since = np.full(n, np.nan)
    every: dict[Measure, Floats] = {measure: np.full(n, np.nan) for measure in (*OUTCOMES, *DOSE_SLEEP_ONLY)}
    every |= outcomes
    night = np.any([np.isfinite(values) for values in every.values()], axis=0)
    doses = Doses({"onset": matrix, "usual": matrix}, status, amount, since, band, ("none",))
    return Series(pid, 20_000, night, {}, every, np.zeros(n, np.int64) if phase is None else np.array(phase), phases,
                  None if free is None else np.array(free), {("kratom", "g"): doses})  # fmt: skip


def noise(rng: Generator, days: int, columns: int, of_day_before: float = 0.3, sd: float = 30.0) -> Floats:
    """Noise (days x columns) that carries over from night to night."""
    shock = rng.normal(0, sd * np.sqrt(1 - of_day_before**2), (days, columns))
    found = np.empty((days, columns))
    found[0] = rng.normal(0, sd, columns)
    for day in range(1, days):
        found[day] = of_day_before * found[day - 1] + shock[day]
    return found


def gaps(rng: Generator, days: int, share: float = 0.15) -> NDArray[np.bool_]:
    """Days on which nothing was measured."""
    return np.asarray(rng.random(days) < share)


def doses(rng: Generator, days: int, of_day_before: float = 0.4) -> Floats:
    """Daily amounts around 5 g that carry over from day to day, some days without."""
    amount = np.exp(0.4 * noise(rng, days, 1, of_day_before, 1.0)[:, 0]) * 5
    return np.where(rng.random(days) < 0.15, 0.0, amount)


def row_of(table: Any, **wanted: Any) -> dict[str, Any]:
    """The one row of a table in which these columns have these values."""
    found = [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, (len(found), wanted)
    return dict(found[0])

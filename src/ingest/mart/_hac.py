"""Newey-West variances on a calendar with missing nights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.sandwich_covariance import S_hac_simple

Floats = NDArray[np.float64]


def lag_length(days: int) -> int:
    """floor(4 (T/100)^(2/9)) for T calendar days (Newey & West 1994), less than T."""
    return min(int(4 * (days / 100) ** (2 / 9)), days - 1)


def long_run_variance(influence: Floats, day: NDArray[np.int64], lags: int) -> Floats:
    """Newey-West variance of the sum of each column of `influence` (nights x columns), Bartlett kernel.

    `day` is the calendar day of each night, rising. A day without a night has a score of zero, so nights are
    neighbours by their dates and never by their rows (decided rule 13).
    """
    scores = np.zeros((int(day[-1] - day[0]) + 1, influence.shape[1]))
    scores[day - day[0]] = influence
    return np.asarray(np.diag(S_hac_simple(scores, nlags=lags)), dtype=np.float64)

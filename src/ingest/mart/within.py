"""Least squares within one person: a predictor, the calendar beside it, all outcomes at once (decided rule 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ingest._core.settings_association import Association
from ingest.mart._hac import lag_length, long_run_variance
from ingest.mart.series import Bools, Floats, Ints, Series

CONFIDENCE = 0.95
_TINY = 1e-10
_ALONE = 1e-6
REASONS = (
    "coupled", "few_pairs", "few_per_parameter", "dose_does_not_vary", "few_levels", "follows_calendar",
    "outcome_does_not_vary", "exact_fit", "few_people", "did_not_converge", "singular_fit",
)  # fmt: skip
OK = -1
LEVELS = ("any_use", "late_dose", "dose_band")


def why(reason: str) -> int:
    """Code of a reason, an index into REASONS."""
    return REASONS.index(reason)


@dataclass(frozen=True)
class Estimates:
    """One value per outcome; NaN where `reason` is not OK. `lags` is 0 there."""

    n: Ints
    estimate: Floats
    std_error: Floats
    df: Floats
    lags: Ints
    reason: Ints

    def interval(self) -> tuple[Floats, Floats]:
        """Ends of the 95 % interval, t with n - k degrees of freedom."""
        half = special.stdtrit(self.df, (1 + CONFIDENCE) / 2) * self.std_error
        return self.estimate - half, self.estimate + half

    def p_value(self) -> Floats:
        """Two-sided, of no difference."""
        return np.asarray(2 * special.stdtr(self.df, -np.abs(self.estimate / self.std_error)), dtype=np.float64)


def no_estimates(n: Ints, reason: str) -> Estimates:
    """Of outcomes that cannot be estimated, all for one reason."""
    m = len(n)
    estimate, std_error, df = (np.full(m, np.nan) for _ in range(3))
    return Estimates(n, estimate, std_error, df, np.zeros(m, dtype=np.int64), np.full(m, why(reason), dtype=np.int64))


def calendar_terms(of: Series) -> tuple[Floats, list[str]]:
    """Matrix (days x terms) of the calendar beside the predictor, and the words that name its terms.

    A constant, the free day where the roster names them, a level for each phase and a slope of its own over
    the time within each.
    """
    days = np.arange(len(of.night), dtype=np.float64)
    columns, words = [], ["time_in_phase"]
    present = np.unique(of.phase[of.night]) if of.night.any() else np.unique(of.phase)
    for code in present.tolist():
        here = of.phase == code
        columns += [here.astype(np.float64), np.where(here, days - days[here].mean(), 0.0)]
    if of.free is not None:
        columns.append(of.free.astype(np.float64))
        words.append("free_day")
    if len(present) > 1:
        words.append("phase")
    return np.column_stack(columns) if columns else np.ones((len(days), 1)), sorted(words)


@dataclass(frozen=True)
class _Projection:
    """Orthonormal columns (nights x rank) of the calendar's terms on some nights."""

    basis: Floats

    def leverage(self) -> Floats:
        """How much of each night's own outcome the calendar's fit takes up, 0 to 1."""
        return np.asarray((self.basis**2).sum(axis=1), dtype=np.float64)

    @staticmethod
    def on(terms: Floats) -> _Projection:
        u, size, _ = np.linalg.svd(terms, full_matrices=False)
        return _Projection(u[:, size > _TINY * max(size[0], 1.0)])

    def residual(self, values: Floats) -> Floats:
        """What the calendar leaves of each column, and of a vector."""
        return np.asarray(values - self.basis @ (self.basis.T @ values), dtype=np.float64)


class Fitter:
    """Fits of one person; keeps what nights have in common, so that each set of nights is decomposed once."""

    def __init__(self, terms: Floats, settings: Association) -> None:
        self._terms = terms
        self._settings = settings
        self._known: dict[bytes, _Projection] = {}

    def _projection(self, used: Bools) -> _Projection:
        key = used.tobytes()
        if key not in self._known:
            self._known[key] = _Projection.on(self._terms[used])
        return self._known[key]

    def fit(self, exposure: Floats, outcomes: Floats, compares: bool, reverse: bool = False,
            beside: Floats | None = None) -> Estimates:  # fmt: skip
        """Slope of each column of `outcomes` (days x m) on `exposure`, or, in reverse, of exposure on each of them.

        `compares` says that the exposure's values are levels. `beside` is a further term (days). NaN is missing.
        Where several reasons speak against an estimate, the first of REASONS is given.
        """
        known = np.isfinite(outcomes) & np.isfinite(exposure)[:, None]
        if beside is not None:
            known &= np.isfinite(beside)[:, None]
        n = known.sum(axis=0)
        found = no_estimates(n, "few_pairs")
        alike: dict[bytes, list[int]] = {}
        for at in np.flatnonzero(n >= self._settings.min_pairs).tolist():
            alike.setdefault(known[:, at].tobytes(), []).append(at)
        for mine in alike.values():
            used = known[:, mine[0]]
            self._fit_on(used, exposure, outcomes, np.array(mine), compares, reverse, beside, found)
        return found

    def _fit_on(self, used: Bools, exposure: Floats, outcomes: Floats, mine: Ints, compares: bool, reverse: bool,
                beside: Floats | None, found: Estimates) -> None:  # fmt: skip
        x, y, day = exposure[used], outcomes[np.ix_(used, mine)], np.flatnonzero(used)
        if beside is None:
            projection = self._projection(used)
        else:
            projection = _Projection.on(np.column_stack([self._terms[used], beside[used] - beside[used].mean()]))
        k = projection.basis.shape[1] + 1
        lags = self._settings.hac_lags
        lags = lag_length(int(day[-1] - day[0]) + 1) if lags is None else min(lags, int(day[-1] - day[0]))
        rest = projection.residual(x - x.mean())
        found.reason[mine] = self._refusal(x, rest, k, compares)
        if found.reason[mine[0]] != OK:
            return
        left = projection.residual(y - y.mean(axis=0))
        varies = (left**2).sum(axis=0) > _TINY * np.maximum(((y - y.mean(axis=0)) ** 2).sum(axis=0), _TINY)
        found.reason[mine[~varies]] = why("outcome_does_not_vary")
        estimate, variance, exact = slopes(rest, left[:, varies], day, lags, projection.leverage(), reverse)
        mine = mine[varies]
        found.reason[mine[exact]] = why("exact_fit")
        mine = mine[~exact]
        found.estimate[mine], found.std_error[mine] = estimate[~exact], np.sqrt(variance[~exact])
        found.df[mine], found.lags[mine] = len(x) - k, lags

    def _refusal(self, x: Floats, rest: Floats, k: int, compares: bool) -> int:
        settings = self._settings
        if len(x) < settings.min_per_parameter * k:
            return why("few_per_parameter")
        if (said := _variation(x, compares, settings)) != OK:
            return said
        total = ((x - x.mean()) ** 2).sum()
        if (rest**2).sum() < (1 - settings.max_calendar_r2) * total:
            return why("follows_calendar")
        return OK


def slopes(x: Floats, y: Floats, day: Ints, lags: int, leverage: Floats,
           reverse: bool) -> tuple[Floats, Floats, Bools]:  # fmt: skip
    """Slope, its Newey-West variance, and where the fit is exact, for each column of `y`.

    `x` (nights) and `y` (nights x m) are what the calendar leaves of exposure and outcomes, so that these are the
    slopes and variances of the whole model (Frisch, Waugh and Lovell); `leverage` (nights) is the calendar's. A night's
    residual is divided by 1 - its leverage (HC3, MacKinnon and White 1985), since a night that pulls the line towards
    itself has a residual that is too small. Where nothing is left to be pulled, it is zero.
    """
    predictor, response = (y, np.broadcast_to(x[:, None], y.shape)) if reverse else (x[:, None], y)
    square = (predictor**2).sum(axis=0)
    estimate = (predictor * response).sum(axis=0) / square
    error = response - predictor * estimate
    exact = (error**2).sum(axis=0) <= _TINY * (response**2).sum(axis=0)
    own = 1 - leverage[:, None] - predictor**2 / square
    alone = own < _ALONE
    adjusted = np.where(alone, 0.0, error / np.where(alone, 1.0, own))
    variance = long_run_variance(predictor * adjusted / square, day, lags)
    return np.asarray(estimate), variance, np.asarray(exact)


def _variation(x: Floats, compares: bool, settings: Association) -> int:
    """OK, or why the exposure does not vary enough."""
    if compares:
        levels, counts = np.unique(x, return_counts=True)
        if len(levels) < 2:
            return why("dose_does_not_vary")
        return OK if (counts >= settings.min_per_level).sum() > 1 else why("few_levels")
    dosed = x[x != 0]
    mean = np.abs(dosed.mean()) if len(dosed) else 0.0
    if len(dosed) > 1 and dosed.std(ddof=1) >= settings.min_cv * mean > 0:
        return OK
    if len(dosed) in (0, len(x)):
        return why("dose_does_not_vary")
    # Dose or no dose is then a comparison of two levels.
    return OK if min(len(dosed), len(x) - len(dosed)) >= settings.min_per_level else why("few_levels")


def shifted(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    """Each day's value moved `days` days on; the first ones become NaN."""
    if days == 0:
        return values
    out = np.full_like(values, np.nan)
    out[days:] = values[:-days]
    return out

"""Over the cohort: random effects of the people's own estimates; a mixed model and GEE for the declared primary."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from statsmodels.genmod.cov_struct import Exchangeable
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from ingest._core.settings_association import Association
from ingest.mart.series import Bools, Floats
from ingest.mart.within import CONFIDENCE, OK, Estimates, no_estimates

_SMALLEST_SHARE = 1e-4


def pool(estimate: Floats, std_error: Floats, used: Bools, min_people: int) -> Estimates:
    """Random-effects mean of each column over the people (rows) marked in `used`.

    The variance between people is Paule and Mandel's, the interval Hartung and Knapp's, with t on people - 1
    degrees of freedom. Fewer than `min_people` people give none.
    """
    n = used.sum(axis=0)
    found = no_estimates(n, "few_people")
    for at in np.flatnonzero(n >= min_people).tolist():
        mine = used[:, at]
        both = combine_effects(estimate[mine, at], std_error[mine, at] ** 2, method_re="pm")
        found.estimate[at], found.std_error[at] = both.mean_effect_re, np.sqrt(both.var_hksj_re)
        found.df[at], found.reason[at] = n[at] - 1, OK
    return found


@dataclass(frozen=True)
class PrimaryNights:
    """One participant's nights in the primary: outcome, exposure and the calendar's terms, a value per pair."""

    participant_id: str
    unit: str
    outcome: Floats
    exposure: Floats
    day: Floats
    phase: Sequence[str]
    free: Floats | None


@dataclass(frozen=True)
class Fit:
    """One model of the primary over the cohort. `reason` says why there is no estimate, or that the fit is singular."""

    method: str
    unit: str
    n_nights: int
    n_participants: int
    n_excluded: int
    covariates: str
    estimate: float
    std_error: float
    df: float
    estimable: bool
    reason: str | None

    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval, t with people - 1 degrees of freedom."""
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.df)) * self.std_error
        return self.estimate - half, self.estimate + half

    def p_value(self) -> float:
        """Two-sided, of no difference."""
        return float(2 * stats.t.sf(abs(self.estimate / self.std_error), self.df))


def primary_fits(people: Sequence[PrimaryNights], unit: str, n_excluded: int, settings: Association) -> list[Fit]:
    """Mixed model with a random slope, and GEE (exchangeable, bias-reduced cluster-robust errors), of all `people`.

    Both estimate the slope within people: the exposure's deviation from the person's own mean, beside that mean,
    the phase, the weeks within it and the free day where every roster entry names them.
    """
    nights = sum(len(each.outcome) for each in people)
    free = bool(people) and all(each.free is not None for each in people)
    words = ["exposure_mean", "phase", "time_in_phase", *(["free_day"] if free else [])]
    missing = (unit, nights, len(people), n_excluded, ",".join(sorted(words)), np.nan, np.nan, np.nan, False)
    if len(people) < settings.min_people_mixed:
        return [Fit(method, *missing, "few_people") for method in ("mixedlm", "gee")]
    frame, design = _frame(people, free)
    shared = (unit, nights, len(people), n_excluded, ",".join(sorted(words)))
    found = []
    for method, fit in (("mixedlm", _mixed), ("gee", _gee)):
        estimate, error, reason = fit(frame, design)
        good = bool(np.isfinite(estimate) and np.isfinite(error) and error > 0)
        if good:
            found.append(Fit(method, *shared, estimate, error, len(people) - 1, True, reason))
        else:
            found.append(Fit(method, *missing, reason or "did_not_converge"))
    return found


def _frame(people: Sequence[PrimaryNights], free: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    parts = []
    for each in people:
        part = pd.DataFrame({"person": each.participant_id, "day": each.day, "y": each.outcome,
                             "within": each.exposure - each.exposure.mean(), "mean": each.exposure.mean(),
                             "phase": list(each.phase)})  # fmt: skip
        part["week"] = (part["day"] - part.groupby("phase")["day"].transform("mean")) / 7
        if free:
            part["free"] = each.free
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    phases = pd.get_dummies(frame["phase"], prefix="phase", drop_first=True, dtype=float)
    slopes = {f"week_{name}": frame["week"].where(frame["phase"] == name, 0.0) for name in sorted(set(frame["phase"]))}
    design = pd.concat([frame[["within", "mean", *(["free"] if free else [])]], phases, pd.DataFrame(slopes)], axis=1)
    design["mean"] -= design["mean"].mean()
    design.insert(0, "constant", 1.0)
    keep = (design.abs().max() > 0).to_numpy()
    return frame, design.loc[:, keep]


def _mixed(frame: pd.DataFrame, design: pd.DataFrame) -> tuple[float, float, str | None]:
    """Random intercept and slope; where the slope does not vary the fit is singular, and says so."""
    scale = float(design["within"].std()) or 1.0
    slope = np.column_stack([np.ones(len(frame)), design["within"] / scale])
    model = sm.MixedLM(frame["y"], design, groups=frame["person"], exog_re=slope)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = model.fit(reml=True, method=["lbfgs", "powell"])
        except np.linalg.LinAlgError:
            return np.nan, np.nan, "singular_fit"
    if not result.converged:
        return np.nan, np.nan, "did_not_converge"
    spread = np.linalg.eigvalsh(np.asarray(result.cov_re, dtype=np.float64))
    singular = spread[0] < _SMALLEST_SHARE * float(result.scale) or any(
        issubclass(each.category, ConvergenceWarning) for each in said
    )
    return float(result.params["within"]), float(result.bse["within"]), "singular_fit" if singular else None


def _gee(frame: pd.DataFrame, design: pd.DataFrame) -> tuple[float, float, str | None]:
    model = sm.GEE(frame["y"], design, groups=frame["person"], cov_struct=Exchangeable())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = model.fit(cov_type="bias_reduced")
        except np.linalg.LinAlgError:
            return np.nan, np.nan, "singular_fit"
    if any(issubclass(each.category, ConvergenceWarning) for each in said):
        return np.nan, np.nan, "did_not_converge"
    return float(result.params["within"]), float(result.bse["within"]), None

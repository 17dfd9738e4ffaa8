"""One person's estimates: against statsmodels, against the formulas, and when there is none (decided rule 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.outliers_influence import OLSInfluence
from statsmodels.stats.sandwich_covariance import S_hac_simple

from ingest._core.settings_association import Association
from ingest.mart._hac import lag_length, long_run_variance
from ingest.mart.association import person_blocks
from ingest.mart.series import OUTCOMES, Series
from ingest.mart.within import OK, REASONS, Estimates, Fitter, calendar_terms, shifted
from mart.association_rows import Floats, doses, gaps, noise, person

TST = OUTCOMES.index(("tst", "wearable"))
SETTINGS = Association()


def tapering(seed: int = 1, days: int = 120, missing: float = 0.2) -> tuple[Series, Any, Any]:
    """A participant with two phases and free days; the amounts, and the outcome with gaps."""
    rng = np.random.default_rng(seed)
    phase = np.where(np.arange(days) < days // 3, 0, 1)
    amount = doses(rng, days) - 0.01 * np.arange(days)
    amount = np.where(amount < 0, 0, amount)
    y = 400 - 3 * amount + 0.2 * np.arange(days) - 10 * phase + noise(rng, days, 1)[:, 0]
    y[gaps(rng, days, missing)] = np.nan
    free = [(20_000 + day + 4) % 7 in (5, 6) for day in range(days)]
    of = person(amount, {("tst", "wearable"): y}, phase=phase.tolist(), phases=("baseline", "taper", ""), free=free)
    return of, amount, y


def whole_design(of: Series, x: Any, used: Any) -> Any:
    """The model's matrix written out: exposure, a level and a slope per phase, free day."""
    day = np.arange(len(x), dtype=float)
    columns = [x - x[used].mean()]
    for code in (0, 1):
        columns += [(of.phase == code) * 1.0, np.where(of.phase == code, day, 0.0)]
    assert of.free is not None
    return np.column_stack([*columns, of.free * 1.0])[used]


def test_the_estimate_and_its_error_by_the_formulas() -> None:
    """Normal equations, then the sandwich with every pair of nights weighed by the dates between them."""
    of, x, y = tapering()
    used = np.isfinite(y)
    design, day = whole_design(of, x, used), np.flatnonzero(used)
    inverse = np.linalg.inv(design.T @ design)
    coefficients = inverse @ design.T @ y[used]
    leverage = np.diag(design @ inverse @ design.T)
    score = design * ((y[used] - design @ coefficients) / (1 - leverage))[:, None]
    lags = int(4 * ((day[-1] - day[0] + 1) / 100) ** (2 / 9))
    apart = np.abs(day[:, None] - day[None, :])
    weight = np.clip(1 - apart / (lags + 1), 0, None)
    n, k = design.shape
    covariance = inverse @ (score.T @ weight @ score) @ inverse
    found = Fitter(calendar_terms(of)[0], SETTINGS).fit(x, of.outcomes(), compares=False)
    assert (found.n[TST], found.lags[TST], found.df[TST]) == (n, lags, n - k)
    assert found.estimate[TST] == pytest.approx(coefficients[0], rel=1e-9)
    assert found.std_error[TST] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    half = stats.t.ppf(0.975, n - k) * np.sqrt(covariance[0, 0])
    low, high = found.interval()
    assert [low[TST], high[TST]] == pytest.approx([coefficients[0] - half, coefficients[0] + half], rel=1e-9)
    t = coefficients[0] / np.sqrt(covariance[0, 0])
    assert found.p_value()[TST] == pytest.approx(2 * stats.t.sf(abs(t), n - k), rel=1e-9)


@dataclass
class _Said:
    """What statsmodels says of the first coefficient."""

    estimate: float
    std_error: float
    interval: list[float]


def said_by_statsmodels(y: Floats, design: Floats, lags: int) -> _Said:
    """Least squares; S_hac_simple of the scores whose residuals are those of HC3."""
    model = sm.OLS(y, design).fit()
    score = design * OLSInfluence(model).resid_press[:, None]  # the residual over 1 - leverage
    inverse = model.normalized_cov_params
    error = float(np.sqrt((inverse @ S_hac_simple(score, nlags=lags) @ inverse)[0, 0]))
    half = stats.t.ppf(0.975, model.df_resid) * error
    return _Said(model.params[0], error, [model.params[0] - half, model.params[0] + half])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_gaps_it_is_what_statsmodels_says(seed: int) -> None:
    of, x, y = tapering(seed, missing=0)
    model = said_by_statsmodels(y, whole_design(of, x, np.isfinite(y)), lag_length(120))
    found = Fitter(calendar_terms(of)[0], SETTINGS).fit(x, of.outcomes(), compares=False)
    assert found.estimate[TST] == pytest.approx(model.estimate, rel=1e-9)
    assert found.std_error[TST] == pytest.approx(model.std_error, rel=1e-9)
    assert [each[TST] for each in found.interval()] == pytest.approx(model.interval, rel=1e-9)


def test_without_carry_over_it_is_hc3() -> None:
    of, x, y = tapering(4, missing=0)
    model = sm.OLS(y, whole_design(of, x, np.isfinite(y))).fit(cov_type="HC3", use_t=True)
    found = Fitter(calendar_terms(of)[0], Association(hac_lags=0)).fit(x, of.outcomes(), compares=False)
    assert found.std_error[TST] == pytest.approx(model.bse[0], rel=1e-9)
    assert [each[TST] for each in found.interval()] == pytest.approx(model.conf_int()[0].tolist(), rel=1e-9)


def test_a_night_that_no_other_is_compared_with_says_nothing_of_the_error() -> None:
    """A phase of one night: its level takes the night up, so the error is that of the other nights."""
    rng = np.random.default_rng(6)
    x, days = doses(rng, 90), 90
    y = 400 + 2 * x + noise(rng, days, 1)[:, 0]
    alone = person(x, {("tst", "wearable"): y}, phase=[0] * 89 + [1], phases=("a", "b"))
    without = person(x[:89], {("tst", "wearable"): y[:89]})
    errors = [
        Fitter(calendar_terms(of)[0], Association(hac_lags=3)).fit(amount, of.outcomes(), compares=False).std_error[TST]
        for of, amount in ((alone, x), (without, x[:89]))
    ]
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_the_reverse_is_the_exposure_on_the_night_before() -> None:
    of, x, y = tapering(missing=0)
    before = np.concatenate([[np.nan], y[:-1]])
    used = np.isfinite(before)
    model = said_by_statsmodels(x[used], whole_design(of, before, used), lag_length(119))
    (block,) = [each for each in person_blocks(of, SETTINGS)
                if (each.exposure, each.anchor, each.lag) == ("amount_day", "usual", -1)]  # fmt: skip
    assert block.found.estimate[TST] == pytest.approx(model.estimate, rel=1e-9)
    assert block.found.std_error[TST] == pytest.approx(model.std_error, rel=1e-9)


def test_lags_go_by_date_and_never_by_row() -> None:
    """Every other night is missing, so the row before is two dates before."""
    rng = np.random.default_rng(4)
    x = doses(rng, 120)
    y = np.full(120, np.nan)
    y[1::2] = 400 + 7 * x[0:-1:2]
    of = person(x, {("tst", "wearable"): y + 1e-3 * rng.normal(size=120)})
    at = {each.lag: each.found.estimate[TST] for each in person_blocks(of, SETTINGS)
          if (each.exposure, each.anchor) == ("amount_day", "usual")}  # fmt: skip
    assert at[1] == pytest.approx(7, abs=0.01)
    assert abs(at[0]) < 6


def test_a_missing_night_is_a_score_of_zero() -> None:
    """Two scores three dates apart, a lag length of four: weights by hand."""
    variance = long_run_variance(np.array([[2.0], [3.0]]), np.array([10, 13]), 4)
    assert variance.tolist() == pytest.approx([2**2 + 3**2 + 2 * (1 - 3 / 5) * 2 * 3])


def test_shifted_moves_by_days() -> None:
    assert np.array_equal(shifted(np.array([1.0, 2, 3]), 1), [np.nan, 1, 2], equal_nan=True)


def _reason(of: Series, exposure: str = "amount_day", outcome: int = TST, anchor: str = "usual",
            settings: Association = SETTINGS) -> str | None:  # fmt: skip
    (found,) = [each.found for each in person_blocks(of, settings)
                if (each.exposure, each.anchor, each.lag) == (exposure, anchor, 0)]  # fmt: skip
    code = int(found.reason[outcome])
    _is_consistent(found)
    return None if code == OK else REASONS[code]


def _is_consistent(found: Estimates) -> None:
    assert np.array_equal(found.reason == OK, np.isfinite(found.estimate))
    assert np.array_equal(np.isfinite(found.std_error), np.isfinite(found.estimate))


def _plain(amount: Any, days: int | None = None) -> Series:
    rng = np.random.default_rng(9)
    y = 400 + noise(rng, len(amount), 1)[:, 0]
    if days is not None:
        y[days:] = np.nan
    return person(np.asarray(amount, dtype=float), {("tst", "wearable"): y, ("onset", "wearable"): y})


@pytest.mark.parametrize(("pairs", "reason"), [(27, "few_pairs"), (28, "few_per_parameter"), (30, None)])
def test_pairs(pairs: int, reason: str | None) -> None:
    """28 pairs; with a constant, a slope over time and the exposure also ten for each of the three."""
    assert _reason(_plain(doses(np.random.default_rng(2), 60), pairs)) == reason


@pytest.mark.parametrize(("dosed", "reason"), [(0, "dose_does_not_vary"), (6, "few_levels"), (7, None), (53, None),
                                               (54, "few_levels"), (60, "dose_does_not_vary")])  # fmt: skip
def test_nights_in_each_level(dosed: int, reason: str | None) -> None:
    amount = np.zeros(60)
    amount[np.random.default_rng(3).permutation(60)[:dosed]] = 5
    of = _plain(amount)
    assert _reason(of, "any_use") == reason
    # The same dose each time is as good as any use or none.
    assert _reason(of, "amount_day") == reason


@pytest.mark.parametrize(("cv", "reason"), [(0.09, "dose_does_not_vary"), (0.11, None)])
def test_doses_vary(cv: float, reason: str | None) -> None:
    wave = np.resize([1.0, -1.0, -1.0, 1.0], 60)
    assert _reason(_plain(5 * (1 + cv * wave / wave.std(ddof=1)))) == reason


def test_a_dose_that_follows_the_calendar_is_not_estimable() -> None:
    rng = np.random.default_rng(5)
    falling = 10 - 0.1 * np.arange(60)
    assert _reason(_plain(falling + rng.normal(0, 0.3, 60))) == "follows_calendar"
    assert _reason(_plain(falling + rng.normal(0, 2, 60))) is None


def test_a_dose_on_free_days_only_follows_the_calendar() -> None:
    free = [day % 7 in (5, 6) for day in range(90)]
    rng = np.random.default_rng(6)
    amount = np.where(free, 5.0, 0.0) + rng.uniform(0, 0.2, 90)
    y = 400 + 30 * np.array(free) + noise(rng, 90, 1)[:, 0]
    assert _reason(person(amount, {("tst", "wearable"): y}, free=free)) == "follows_calendar"
    assert _reason(person(amount, {("tst", "wearable"): y})) is None


def test_windows_before_the_onset_are_bound_to_it() -> None:
    of = _plain(doses(np.random.default_rng(7), 90))
    onset = OUTCOMES.index(("onset", "wearable"))
    assert _reason(of, outcome=onset, anchor="onset") == "coupled"
    assert _reason(of, outcome=onset, anchor="usual") is None
    assert _reason(of, outcome=TST, anchor="onset") is None


def test_an_outcome_that_never_changes() -> None:
    of = person(doses(np.random.default_rng(8), 90), {("tst", "wearable"): np.full(90, 400.0)})
    assert _reason(of) == "outcome_does_not_vary"


def test_an_outcome_that_is_the_dose() -> None:
    amount = doses(np.random.default_rng(8), 90)
    assert _reason(person(amount, {("tst", "wearable"): 400 - 2 * amount})) == "exact_fit"


def test_thresholds_are_settings() -> None:
    of = _plain(doses(np.random.default_rng(2), 60), 20)
    assert _reason(of, settings=Association(min_pairs=20, min_per_parameter=5)) is None

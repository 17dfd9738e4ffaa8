"""The table `association`: what goes with what, within people and over the cohort (decided rules 12 to 14)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from statsmodels.stats.multitest import fdrcorrection

from ingest._core.contract import arrow_schema, primary_key, to_contract
from ingest._core.settings_association import COUPLED, Association, Primary
from ingest.lake.cohort_store import COHORT_ID
from ingest.mart._anchors import ANCHORS
from ingest.mart.pooled import pool
from ingest.mart.series import EXPOSURES, OUTCOMES, Bools, Floats, Ints, Series
from ingest.mart.within import LEVELS, OK, REASONS, Estimates, Fitter, calendar_terms, no_estimates, shifted, why

LAGS = (0, 1, -1)
OLS, LAGGED = "ols_newey_west", "_lagged_outcome"
POOLED, MIXED, GEE = "random_effects", "mixedlm", "gee"
_NAMES = [
    "substance", "exposure", "unit", "anchor", "outcome", "basis", "lag", "level", "participant_id", "n_nights",
    "n_participants", "n_excluded", "estimate", "std_error", "ci_low", "ci_high", "p_value", "is_primary",
    "sensitivity_of", "covariates", "method", "estimable", "reason",
]  # fmt: skip


@dataclass(frozen=True)
class Block:
    """Estimates of all OUTCOMES for one participant, substance, unit, exposure, anchor and lag.

    `possible` counts the nights with each outcome; `lagged` says that the outcome of the night before stands
    beside the exposure.
    """

    participant_id: str
    substance: str
    unit: str
    exposure: str
    anchor: str
    lag: int
    covariates: str
    possible: Ints
    found: Estimates
    lagged: bool = False

    def key(self) -> tuple[str, str, str, str, int, bool]:
        """All that the block shares with the same one of other participants."""
        return self.substance, self.unit, self.exposure, self.anchor, self.lag, self.lagged


def person_blocks(of: Series, settings: Association) -> list[Block]:
    """All estimates of one participant; where there can be none, their reason.

    Lag 0: the night and the exposure of its own date. Lag 1: the exposure of the date before. Lag -1, the reverse
    direction: the exposure, as the dependent variable, on the outcome of the night before it. With the anchor
    `onset` the outcomes of COUPLED have no estimate.
    """
    terms, words = calendar_terms(of)
    fitter, outcomes = Fitter(terms, settings), of.outcomes()
    blocks = []
    for (substance, unit), doses in of.doses.items():
        for anchor in ANCHORS:
            coupled = np.array([name in COUPLED for name, _ in OUTCOMES]) & (anchor == "onset")
            for at, exposure in enumerate(EXPOSURES):
                values = doses.exposures[anchor][:, at]
                for lag in LAGS:
                    found = _fit(fitter, values, outcomes, lag, exposure in LEVELS)
                    blocks.append(Block(of.participant_id, substance, unit, exposure, anchor, lag, ",".join(words),
                                        _possible(outcomes), _without(found, coupled)))  # fmt: skip
                if is_primary_block(settings.primary, substance, exposure, anchor):
                    blocks.append(_sensitivity(blocks, settings.primary, values, outcomes, fitter))
    return blocks


def _possible(outcomes: Floats) -> Ints:
    return np.asarray(np.isfinite(outcomes).sum(axis=0), dtype=np.int64)


def _fit(fitter: Fitter, exposure: Floats, outcomes: Floats, lag: int, compares: bool) -> Estimates:
    if not np.isfinite(exposure).any():
        return no_estimates(np.zeros(outcomes.shape[1], dtype=np.int64), "few_pairs")
    if lag < 0:
        return fitter.fit(exposure, shifted(outcomes, -lag), compares, reverse=True)
    return fitter.fit(shifted(exposure, lag), outcomes, compares)


def is_primary_block(primary: Primary | None, substance: str, exposure: str, anchor: str) -> bool:
    """True where the study's primary lies in the blocks of this exposure."""
    return primary is not None and (primary.substance, primary.exposure, primary.anchor) == (
        substance, exposure, anchor)  # fmt: skip


def _sensitivity(blocks: Sequence[Block], primary: Primary | None, values: Floats, outcomes: Floats,
                 fitter: Fitter) -> Block:  # fmt: skip
    """The primary once more, with the outcome of the night before beside the exposure."""
    assert primary is not None
    like = next(block for block in reversed(blocks) if block.lag == primary.lag)
    at = OUTCOMES.index((primary.outcome, primary.basis))
    found = no_estimates(np.zeros(len(OUTCOMES), dtype=np.int64), "few_pairs")
    own = fitter.fit(shifted(values, primary.lag), outcomes[:, [at]], primary.exposure in LEVELS,
                     beside=shifted(outcomes[:, at], 1))  # fmt: skip
    for name in ("n", "estimate", "std_error", "df", "lags", "reason"):
        getattr(found, name)[at] = getattr(own, name)[0]
    covariates = ",".join(sorted([*like.covariates.split(","), "outcome_of_night_before"]))
    return Block(like.participant_id, like.substance, like.unit, like.exposure, like.anchor, like.lag, covariates,
                 like.possible, found, lagged=True)  # fmt: skip


def _without(found: Estimates, coupled: Bools) -> Estimates:
    def gone(values: Floats) -> Floats:
        return np.where(coupled, np.nan, values)

    return Estimates(found.n, gone(found.estimate), gone(found.std_error), gone(found.df),
                     np.where(coupled, 0, found.lags), np.where(coupled, why("coupled"), found.reason))  # fmt: skip


@dataclass
class _Rows:
    """Columns of schema association in chunks of one row per outcome."""

    chunks: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _NAMES})
    lengths: list[int] = field(default_factory=list)

    def add(self, at: Ints, **values: Any) -> None:
        """Rows of the outcomes `at`; a value is one for all, or an array or list with one for each."""
        for name in _NAMES:
            given = values.get(name)
            self.chunks[name].append(given if isinstance(given, (np.ndarray, list)) else [given] * len(at))
        self.lengths.append(len(at))

    def table(self) -> pa.Table:
        schema = arrow_schema("association")
        columns = {}
        for name in _NAMES:
            parts = self.chunks[name]
            if parts and isinstance(parts[0], np.ndarray):
                whole = np.concatenate(parts)
                columns[name] = pa.array(whole, from_pandas=whole.dtype.kind == "f")
            else:
                columns[name] = pa.array([value for part in parts for value in part], schema.field(name).type)
        return pa.table(columns)


def association(blocks: Sequence[Block], primary: Sequence[Any], settings: Association) -> pa.Table:
    """Rows of schema association, sorted by primary key: each participant's estimates, those pooled from them, and the
    `primary` ones of a mixed model and of GEE (pooled.Fit). Rows do not depend on the order of `blocks`.
    """
    ordered = sorted(blocks, key=lambda block: (block.key(), block.participant_id))
    rows = _Rows()
    for block in ordered:
        _add_person(rows, block, settings.primary)
    by_key: dict[Any, list[Block]] = {}
    for block in ordered:
        by_key.setdefault(block.key(), []).append(block)
    for same in by_key.values():
        _add_cohort(rows, same, settings)
    for fit in primary:
        _add_fit(rows, fit, settings.primary)
    table = _with_families(rows.table())
    table = to_contract("association", table)
    return table.sort_by([(name, "ascending") for name in primary_key("association")])


def _outcomes_of(block: Block, primary: Primary | None) -> Ints:
    if not block.lagged:
        return np.arange(len(OUTCOMES))
    assert primary is not None
    return np.array([OUTCOMES.index((primary.outcome, primary.basis))])


def _is_primary(block: Block, at: Ints, primary: Primary | None) -> list[bool]:
    mine = is_primary_block(primary, block.substance, block.exposure, block.anchor)
    if primary is None or not mine or block.lag != primary.lag or block.lagged:
        return [False] * len(at)
    return [OUTCOMES[each] == (primary.outcome, primary.basis) for each in at]


def _shared(block: Block, at: Ints) -> dict[str, Any]:
    return {
        "substance": block.substance, "exposure": block.exposure, "unit": block.unit, "anchor": block.anchor,
        "outcome": [OUTCOMES[each][0] for each in at], "basis": [OUTCOMES[each][1] for each in at],
        "lag": block.lag, "covariates": block.covariates,
    }  # fmt: skip


def _numbers(found: Estimates, at: Ints) -> dict[str, Any]:
    low, high = found.interval()
    reason = found.reason[at]
    return {
        "estimate": found.estimate[at], "std_error": found.std_error[at], "ci_low": low[at], "ci_high": high[at],
        "p_value": found.p_value()[at], "estimable": reason == OK,
        "reason": [None if code == OK else REASONS[code] for code in reason.tolist()],
    }  # fmt: skip


def _add_person(rows: _Rows, block: Block, primary: Primary | None) -> None:
    at, found = _outcomes_of(block, primary), block.found
    tail = LAGGED if block.lagged else ""
    estimated = found.reason[at] == OK
    methods = [f"{OLS}_{lags}" if ok else OLS for lags, ok in zip(found.lags[at].tolist(), estimated, strict=True)]
    rows.add(
        at, **_shared(block, at), **_numbers(found, at), level="participant", participant_id=block.participant_id,
        n_nights=found.n[at], n_participants=np.ones(len(at), dtype=np.int64),
        n_excluded=block.possible[at] - found.n[at], is_primary=_is_primary(block, at, primary),
        sensitivity_of=methods if tail else None,
        method=[method + tail for method in methods],
    )  # fmt: skip


def _add_cohort(rows: _Rows, same: Sequence[Block], settings: Association) -> None:
    first, at = same[0], _outcomes_of(same[0], settings.primary)
    reason = np.stack([block.found.reason[at] for block in same])
    used = reason == OK
    nights = np.where(used, np.stack([block.found.n[at] for block in same]), 0).sum(axis=0)
    found = pool(np.stack([block.found.estimate[at] for block in same]),
                 np.stack([block.found.std_error[at] for block in same]), used, settings.min_people)  # fmt: skip
    coupled = (reason == why("coupled")).all(axis=0)
    found = Estimates(found.n, found.estimate, found.std_error, found.df, found.lags,
                      np.where(coupled, why("coupled"), found.reason))  # fmt: skip
    words = sorted({word for block in same for word in block.covariates.split(",")})
    rows.add(
        at, **(_shared(first, at) | {"covariates": ",".join(words)}), **_numbers(found, np.arange(len(at))),
        level="cohort", participant_id=COHORT_ID, n_nights=nights, n_participants=found.n,
        n_excluded=len(same) - found.n, is_primary=_is_primary(first, at, settings.primary),
        sensitivity_of=POOLED if first.lagged else None, method=POOLED + (LAGGED if first.lagged else ""),
    )  # fmt: skip


def _add_fit(rows: _Rows, fit: Any, primary: Primary | None) -> None:
    assert primary is not None
    low, high = fit.interval()
    rows.add(
        np.zeros(1, dtype=np.int64), substance=primary.substance, exposure=primary.exposure, unit=fit.unit,
        anchor=primary.anchor, outcome=primary.outcome, basis=primary.basis, lag=primary.lag, level="cohort",
        participant_id=COHORT_ID, n_nights=np.array([fit.n_nights]), n_participants=np.array([fit.n_participants]),
        n_excluded=np.array([fit.n_excluded]), estimate=np.array([fit.estimate]), std_error=np.array([fit.std_error]),
        ci_low=np.array([low]), ci_high=np.array([high]), p_value=np.array([fit.p_value()]), is_primary=True,
        covariates=fit.covariates, method=fit.method, estimable=np.array([fit.estimable]), reason=fit.reason,
    )  # fmt: skip


def _with_families(table: pa.Table) -> pa.Table:
    """Families of tests, and Benjamini-Hochberg q-values within them (decided rule 14)."""
    level = np.array(table["level"].to_pylist(), dtype=object)
    lag = table["lag"].to_numpy()
    alone = table["is_primary"].to_numpy() | table["sensitivity_of"].is_valid().to_numpy()
    counted = table["estimable"].to_numpy() & ~alone
    family = np.where(lag < 0, level + "_reverse", level)
    family[table["is_primary"].to_numpy()] = "primary"
    family[~(counted | (family == "primary")) | ~table["estimable"].to_numpy()] = None
    q = np.full(len(level), np.nan)
    p = table["p_value"].cast(pa.float64()).fill_null(np.nan).to_numpy()
    for name in sorted({name for name in family if name not in (None, "primary")}):
        mine = family == name
        q[mine] = fdrcorrection(p[mine])[1]
    return table.append_column("family", pa.array(family.tolist(), pa.string())).append_column(
        "q_value", pa.array(q, from_pandas=True))  # fmt: skip

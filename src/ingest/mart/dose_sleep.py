"""The table `dose_sleep`: nights by dose, and whether lower doses go with better sleep (decided rule 15)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ingest._core.contract import arrow_schema, primary_key
from ingest._core.settings_association import Association, DoseSleep
from ingest.lake.cohort_store import COHORT_ID
from ingest.mart.pooled import pool
from ingest.mart.series import LOGGED, NONE_REPORTED, Bools, Doses, Floats, Measure, Series
from ingest.mart.within import OK, REASONS, Estimates, Fitter, calendar_terms, no_estimates

ALL, NONE, DOSED, AMOUNT_UNKNOWN = "all", "none", "dosed", "amount_unknown"
MEASURES = ("tst", "sol", "waso", "se", "quality", "withdrawal")
BASES = ("wearable", "diary")
BETTER, WORSE = "lower doses with better sleep", "lower doses with worse sleep"
SAME, OPEN, NOT = "no difference beyond the declared margin", "inconclusive", "not estimable"
_UNITS = {"tst": "_min", "sol": "_min", "waso": "_min", "se": "_pct", "quality": "", "withdrawal": ""}
_MORE_IS_BETTER = {"tst": 1, "sol": -1, "waso": -1, "se": 1, "quality": 1}
_DAYS_SINCE = ((1, 1, "1"), (2, 3, "2-3"), (4, 7, "4-7"), (8, 10**6, "8+"))
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Cell:
    """One participant's nights of one kind: how many, the mean of each MEASURES and its difference."""

    participant_id: str
    basis: str
    phase: str
    substance: str
    unit: str
    dose_band: str
    days_since_dose: str
    n_nights: int
    mean: Floats
    found: Estimates

    def key(self) -> tuple[str, ...]:
        """All that the cell shares with the same one of other participants."""
        return self.basis, self.phase, self.substance, self.unit, self.dose_band, self.days_since_dose


def person_cells(of: Series, settings: Association) -> list[Cell]:
    """The participant's cells, for both bases, the whole time and each named phase.

    `all` holds every night with a dose of known amount; its difference is that of a night with a low dose (the lower
    quartile of these amounts) from one with a high dose (the upper quartile), along the slope of the amount. A band's
    difference is that of its nights from the other nights with a dose; of `none` from all nights with a dose.
    """
    fitter = Fitter(calendar_terms(of)[0], settings)
    named = sorted({of.phases[code] for code in of.phase[of.night].tolist()} - {""})
    cells = []
    for (substance, unit), doses in of.doses.items():
        kinds = list(_kinds(doses))
        for phase in (ALL, *named):
            here = np.ones(len(of.phase), bool) if phase == ALL else of.phase == of.phases.index(phase)
            for basis in BASES:
                outcomes = np.column_stack([of.values[_measure(name, basis)] for name in MEASURES])
                own = outcomes[:, : MEASURES.index("quality") + (basis == "diary")]
                there = here & np.isfinite(own).any(axis=1)
                for band, since, mine, rest in kinds:
                    if band != ALL and not (mine & there).any():
                        continue
                    found = _lower_less_higher(doses, mine & there, outcomes, fitter) if band == ALL else (
                        _mine_less_rest(mine & there, rest & there, outcomes, fitter))  # fmt: skip
                    cells.append(Cell(of.participant_id, basis, phase, substance, unit, band, since,
                                      int((mine & there).sum()), _means(outcomes[mine & there]), found))  # fmt: skip
    return cells


def _measure(name: str, basis: str) -> Measure:
    if name == "withdrawal":
        return name, "scale"
    return name, "diary" if name == "quality" else basis


def _means(values: Floats) -> Floats:
    known = np.isfinite(values)
    n = known.sum(axis=0)
    return np.asarray(np.where(n > 0, np.where(known, values, 0).sum(axis=0) / np.maximum(n, 1), np.nan))


def _kinds(doses: Doses) -> Iterator[tuple[str, str, Bools, Bools]]:
    """Band, days since the last dose, which days are of this kind, and which they are compared with."""
    dosed, none = doses.status == LOGGED, doses.status == NONE_REPORTED
    amount = dosed & (doses.amount_day > 0)
    yield ALL, ALL, amount, amount
    for code, label in enumerate(doses.labels[1:], start=1):
        yield label, ALL, dosed & (doses.band == code), dosed & (doses.band > 0) & (doses.band != code)
    if len(doses.labels) == 1:
        yield DOSED, ALL, amount, np.zeros_like(amount)
    yield AMOUNT_UNKNOWN, ALL, dosed & np.isnan(doses.amount_day), np.zeros_like(amount)
    yield NONE, ALL, none, dosed
    since = doses.days_since
    for low, high, label in _DAYS_SINCE:
        yield NONE, label, none & (since >= low) & (since <= high), dosed
    yield NONE, UNKNOWN, none & ~(since >= 1), dosed


def _lower_less_higher(doses: Doses, mine: Bools, outcomes: Floats, fitter: Fitter) -> Estimates:
    if not mine.any():
        return no_estimates(np.zeros(len(MEASURES), dtype=np.int64), "few_pairs")
    low, high = np.quantile(doses.amount_day[mine], (0.25, 0.75))
    if high <= low:
        return no_estimates(np.isfinite(outcomes[mine]).sum(axis=0), "dose_does_not_vary")
    return fitter.fit(np.where(mine, -doses.amount_day / (high - low), np.nan), outcomes, compares=False)


def _mine_less_rest(mine: Bools, rest: Bools, outcomes: Floats, fitter: Fitter) -> Estimates:
    return fitter.fit(np.where(mine, 1.0, np.where(rest, 0.0, np.nan)), outcomes, compares=True)


def dose_sleep(cells: Sequence[Cell], settings: Association) -> pa.Table:
    """Rows of schema dose_sleep, sorted by primary key: each participant's cells and those of the cohort."""
    ordered = sorted(cells, key=lambda cell: (cell.key(), cell.participant_id))
    rows = [_row(cell, "participant", 1, settings.dose_sleep) for cell in ordered]
    same: dict[tuple[str, ...], list[Cell]] = {}
    for cell in ordered:
        same.setdefault(cell.key(), []).append(cell)
    rows += [_cohort_row(each, settings) for each in same.values()]
    table = pa.Table.from_pylist(rows, schema=arrow_schema("dose_sleep"))
    return table.sort_by([(name, "ascending") for name in primary_key("dose_sleep")])


def _cohort_row(same: Sequence[Cell], settings: Association) -> dict[str, object]:
    first = same[0]
    estimate, error = (np.stack([getattr(cell.found, name) for cell in same]) for name in ("estimate", "std_error"))
    used = np.stack([cell.found.reason for cell in same]) == OK
    found = pool(estimate, error, used, settings.min_people)
    whole = replace(first, participant_id=COHORT_ID, n_nights=sum(cell.n_nights for cell in same),
                    mean=_means(np.stack([cell.mean for cell in same])), found=found)  # fmt: skip
    return _row(whole, "cohort", sum(cell.n_nights > 0 for cell in same), settings.dose_sleep)


def _row(cell: Cell, level: str, n_participants: int, settings: DoseSleep) -> dict[str, object]:
    low, high = cell.found.interval()
    at = MEASURES.index(settings.outcome)
    row: dict[str, object] = {
        "level": level, "participant_id": cell.participant_id, "basis": cell.basis, "phase": cell.phase,
        "substance": cell.substance, "unit": cell.unit, "dose_band": cell.dose_band,
        "days_since_dose": cell.days_since_dose, "n_nights": cell.n_nights, "n_participants": n_participants,
    }  # fmt: skip
    for i, name in enumerate(MEASURES):
        numbers = {"mean": cell.mean[i], "diff": cell.found.estimate[i], "diff_low": low[i], "diff_high": high[i]}
        row |= {f"{name}_{part}{_UNITS[name]}": _or_null(value) for part, value in numbers.items()}
    code = int(cell.found.reason[at])
    row["answer_outcome"] = settings.outcome
    if cell.dose_band == ALL:
        row["answer"] = answer(code == OK, float(low[at]), float(high[at]), settings)
    row["reason"] = REASONS[code] if code != OK else _why_open(row.get("answer"), settings)
    return row


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def answer(estimable: bool, low: float, high: float, settings: DoseSleep) -> str:
    """One of five answers to an interval of the outcome's difference, lower doses less higher ones."""
    if not estimable:
        return NOT
    if settings.margin is not None and -settings.margin <= low and high <= settings.margin:
        return SAME
    better = _MORE_IS_BETTER[settings.outcome]
    if min(low * better, high * better) > 0:
        return BETTER
    return WORSE if max(low * better, high * better) < 0 else OPEN


def _why_open(said: object, settings: DoseSleep) -> str | None:
    if said != OPEN:
        return None
    return "no_margin_declared" if settings.margin is None else "interval_too_wide"

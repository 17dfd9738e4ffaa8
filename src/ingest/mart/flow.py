"""The table `flow`: from enrolled to analysed, every exclusion with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ingest._core.contract import arrow_schema
from ingest._core.settings_association import Primary
from ingest.lake.cohort_store import COHORT_ID
from ingest.mart.association import Block, is_primary_block
from ingest.mart.series import CONFLICT, EXPOSURES, LOGGED, NONE_REPORTED, OUTCOMES, Bools, Series
from ingest.mart.within import OK, REASONS, shifted

NOWHERE = "no_estimable_association"
OUTSIDE = ("before_enrolment", "after_withdrawal")
_NIGHT_REASONS = (*OUTSIDE, "log_conflict", "not_logged", "exposure_unknown", "outcome_missing")


@dataclass(frozen=True)
class PersonFlow:
    """How far one participant came: nights, and how many of them were excluded for each reason."""

    exported: bool
    nights: int
    excluded: dict[str, int]


def person_flow(of: Series, blocks: Sequence[Block], primary: Primary | None) -> dict[str, int]:
    """Excluded nights of one participant by reason; each night has at most one.

    With a primary, analysed nights are those in its participant's estimate; without, those in any estimate of lag 0.
    """
    excluded = dict(of.outside)
    lag = primary.lag if primary else 0
    own = [
        doses.status for (substance, _), doses in of.doses.items() if primary is None or substance == primary.substance
    ]
    status = (
        np.stack([shifted(each.astype(np.float64), lag) for each in own]) if own else np.full((1, len(of.night)), -1.0)
    )
    logged = np.isin(status, (LOGGED, NONE_REPORTED)).any(axis=0)
    conflict = (status == CONFLICT).any(axis=0) & ~logged
    left = of.night & logged
    excluded["log_conflict"] = int((of.night & conflict).sum())
    excluded["not_logged"] = int((of.night & ~logged & ~conflict).sum())
    if primary is None:
        excluded[NOWHERE] = int((left & ~_analysed(of, blocks)).sum())
        return excluded
    exposed, measured, reason = _primary(of, blocks, primary)
    excluded["exposure_unknown"] = int((left & ~exposed).sum())
    excluded["outcome_missing"] = int((left & exposed & ~measured).sum())
    if reason != OK:
        excluded[REASONS[reason]] = int((left & exposed & measured).sum())
    return excluded


def _values(of: Series, block: Block) -> Bools:
    exposure = of.doses[block.substance, block.unit].exposures[block.anchor][:, EXPOSURES.index(block.exposure)]
    return np.isfinite(shifted(exposure, block.lag))


def _analysed(of: Series, blocks: Sequence[Block]) -> Bools:
    found, known = np.zeros(len(of.night), dtype=bool), np.isfinite(of.outcomes())
    for block in blocks:
        used = block.found.reason == OK
        if block.lag == 0 and not block.lagged and used.any():
            found |= _values(of, block) & known[:, used].any(axis=1)
    return found


def _primary(of: Series, blocks: Sequence[Block], primary: Primary) -> tuple[Bools, Bools, int]:
    """Nights with the exposure, nights with the outcome, and why the participant has no estimate, if so."""
    at = OUTCOMES.index((primary.outcome, primary.basis))
    mine = [block for block in blocks if block.lag == primary.lag and not block.lagged
            and is_primary_block(primary, block.substance, block.exposure, block.anchor)]  # fmt: skip
    exposed = np.zeros(len(of.night), dtype=bool)
    reasons = [int(block.found.reason[at]) for block in mine]
    for block, reason in zip(mine, reasons, strict=True):
        if reason == OK or OK not in reasons:
            exposed |= _values(of, block)
    return exposed, np.isfinite(of.outcomes()[:, at]), min(reasons, default=OK)


def flow(people: Sequence[PersonFlow]) -> pa.Table:
    """Rows of schema flow in the order of `position`.

    Nights: `nights` = excluded + analysed. Participants: an exclusion counts those of whom it leaves no night, so that
    enrolled = excluded + analysed.
    """
    exported = [person for person in people if person.exported]
    slept = [person for person in exported if person.nights]
    rows: list[tuple[str, str, int, int | None]] = [
        ("enrolled", "", len(people), None),
        ("excluded", "no_export", len(people) - len(exported), 0),
        ("exported", "", len(exported), None),
        ("excluded", "no_night", len(exported) - len(slept), 0),
        ("nights", "", len(slept), sum(person.nights for person in slept)),
    ]
    left = np.array([person.nights for person in slept], dtype=np.int64)
    for reason in (*_NIGHT_REASONS, *REASONS, NOWHERE):
        gone = np.array([person.excluded.get(reason, 0) for person in slept], dtype=np.int64)
        if reason in _NIGHT_REASONS or gone.any():
            lost = int(((left > 0) & (left == gone)).sum())
            rows.append(("excluded", reason, lost, int(gone.sum())))
        left -= gone
    rows.append(("analysed", "", int((left > 0).sum()), int(left.sum())))
    names = ("step", "reason", "n_participants", "n_nights")
    listed = [
        {"participant_id": COHORT_ID, "position": at, **dict(zip(names, row, strict=True))}
        for at, row in enumerate(rows, start=1)
    ]
    return pa.Table.from_pylist(listed, schema=arrow_schema("flow"))

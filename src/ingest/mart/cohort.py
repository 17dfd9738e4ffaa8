"""What needs all participants at once: association, dose_sleep and flow, from the marts in the lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow.compute as pc

from ingest._core.clock import day_number
from ingest._core.files import digest
from ingest._core.keys import in_use
from ingest._core.roster import consents_of
from ingest._core.settings_association import Primary
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.lake.cohort_store import CohortState, write_cohort
from ingest.lake.encryption import begin_writing
from ingest.lake.store import manifests, read, read_part
from ingest.mart.association import Block, association, is_primary_block, person_blocks
from ingest.mart.consent import consented
from ingest.mart.dose_sleep import Cell, dose_sleep, person_cells
from ingest.mart.flow import PersonFlow, flow, person_flow
from ingest.mart.participant import DEFINITIONS_VERSION
from ingest.mart.person import PersonSettings
from ingest.mart.pooled import Fit, PrimaryNights, primary_fits
from ingest.mart.rebuild import MartState, mart_states, person_settings
from ingest.mart.record_versions import current_records
from ingest.mart.series import EXPOSURES, OUTCOMES, Series, series
from ingest.mart.within import OK, shifted

_MARTS = ("night", "night_diary", "night_exposure", "phase")


@dataclass(frozen=True)
class Associated:
    """What the step did: whose marts went in, and rows by table."""

    participants: int
    rows: dict[str, int]
    estimable: int

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"participants": self.participants, **self.rows, "estimable": self.estimable}


@dataclass
class _Gathered:
    """What is kept of each participant."""

    blocks: list[Block] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    flows: list[PersonFlow] = field(default_factory=list)
    primary: dict[str, list[PrimaryNights]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)


def associate(study: Study, progress: Callable[[], None] = lambda: None) -> Associated:
    """Compute the cohort tables from the marts as they stand and put them in the lake, replacing what was there.

    One participant's marts are in memory at a time. The same marts, roster and settings give the same bytes.
    """
    entries, states = entries_by_id(study), mart_states(study.lake)
    gathered, used = _Gathered(), []
    for participant_id in sorted(entries):
        if participant_id in states:
            _gather(study, participant_id, gathered)
            used.append(states[participant_id])
        else:
            gathered.flows.append(PersonFlow(False, 0, {}))
        progress()
    settings = study.settings.association
    built = {
        "association": association(gathered.blocks, _primary_fits(study, gathered), settings),
        "dose_sleep": dose_sleep(gathered.cells, settings),
        "flow": flow(gathered.flows),
    }
    ids = [each.participant_id for each in used]
    settings_hash = study.settings.cohort_hash_part()[:32]
    state = CohortState(cohort_hash(study, used), DEFINITIONS_VERSION, settings_hash, ids,
                        consents_of({pid: entries[pid] for pid in ids}))  # fmt: skip
    with in_use(study.identity):
        begin_writing(study.lake)
        write_cohort(study.lake, built, state)
    estimable = int(pc.sum(built["association"]["estimable"]).as_py() or 0)
    return Associated(len(used), {name: len(table) for name, table in built.items()}, estimable)


def cohort_hash(study: Study, used: Sequence[MartState]) -> str:
    """Hash of everything the cohort tables are computed from: who is enrolled, whose marts, settings, definitions."""
    marts = [f"{each.participant_id}={each.mart_hash}" for each in used]
    enrolled = ",".join(sorted(entries_by_id(study)))
    return digest(DEFINITIONS_VERSION, study.settings.cohort_hash_part(), enrolled, *marts)[:32]


def _gather(study: Study, participant_id: str, gathered: _Gathered) -> None:
    settings = study.settings.association
    person = person_settings(study, participant_id, entries_by_id(study)[participant_id])
    marts = {table: read_part(study.lake, table, participant_id) for table in _MARTS}
    of = manifests(study.lake, participant_id)
    exported = any(each.status in ("loaded", "partial") for each in of)
    own = series(marts, person, study.settings, _withdrawal(study, person))
    if own is None:
        gathered.flows.append(PersonFlow(exported, 0, {}))
        return
    blocks = person_blocks(own, settings)
    gathered.blocks += blocks
    gathered.cells += person_cells(own, settings)
    gathered.flows.append(PersonFlow(exported, len(marts["night"]), person_flow(own, blocks, settings.primary)))
    if settings.primary is not None:
        _add_primary(own, blocks, settings.primary, gathered)


def _withdrawal(study: Study, person: PersonSettings) -> dict[int, float]:
    """The day's total of the study's withdrawal scale, the mean where there are several; items on sleep are left out.

    An answer speaks of its own day only: it is not carried to other nights.
    """
    scale = study.settings.association.withdrawal_scale
    if scale is None:
        return {}
    answers = read(study.lake, "scale_response", manifests(study.lake, person.participant_id))
    granted = consented({"scale_response": answers}, {person.participant_id: person})
    rows = current_records("response_version", granted["scale_response"])
    rows = rows.filter(pc.equal(rows["instrument"], scale))
    found: dict[int, list[float]] = {}
    for row in rows.select(["answered_on", "total", "total_without_sleep_item"]).to_pylist():
        total = row["total_without_sleep_item"] if row["total_without_sleep_item"] is not None else row["total"]
        if total is not None:
            found.setdefault(day_number(row["answered_on"]), []).append(total)
    return {day: float(np.mean(sorted(totals))) for day, totals in found.items()}


def _add_primary(of: Series, blocks: list[Block], primary: Primary, gathered: _Gathered) -> None:
    at = OUTCOMES.index((primary.outcome, primary.basis))
    for block in blocks:
        if block.lag != primary.lag or block.lagged or not is_primary_block(
            primary, block.substance, block.exposure, block.anchor):  # fmt: skip
            continue
        gathered.asked[block.unit] = gathered.asked.get(block.unit, 0) + 1
        if block.found.reason[at] != OK:
            continue
        matrix = of.doses[block.substance, block.unit].exposures[block.anchor]
        x = shifted(matrix[:, EXPOSURES.index(block.exposure)], block.lag)
        y = of.outcomes()[:, at]
        used = np.isfinite(x) & np.isfinite(y)
        day = np.flatnonzero(used).astype(np.float64)
        phase = [of.phases[code] for code in of.phase[used].tolist()]
        free = None if of.free is None else of.free[used].astype(np.float64)
        gathered.primary.setdefault(block.unit, []).append(
            PrimaryNights(of.participant_id, block.unit, y[used], x[used], day, phase, free))  # fmt: skip


def _primary_fits(study: Study, gathered: _Gathered) -> list[Fit]:
    fits = []
    for unit, asked in sorted(gathered.asked.items()):
        people = gathered.primary.get(unit, [])
        fits += primary_fits(people, unit, asked - len(people), study.settings.association)
    return fits

"""Publishing: the warehouse is brought to the state of the marts, in one transaction, on either engine."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import duckdb
import pyarrow as pa

from ingest._core import clock, contract
from ingest._core.contract import COHORT, OPS
from ingest._core.errors import Again, Transient
from ingest._core.keys import in_use
from ingest._core.roster import NOBODY, RosterEntry
from ingest._core.study import Study, consent_lock, read_roster
from ingest.harmonise.identity import entries_by_id
from ingest.lake.cohort_store import read_cohort_state
from ingest.lake.pack import reading
from ingest.mart.rebuild import mart_states
from ingest.publish import ops
from ingest.publish.backlog import shown_by, silent, unpublished
from ingest.publish.duckdb_warehouse import DuckdbWarehouse
from ingest.publish.gate import Gate, gate
from ingest.publish.lake_files import Parameters
from ingest.publish.stale import Held, Plan, cohort_state, plan
from ingest.publish.tables import cohort_row, select, select_cohort

Progress = Callable[[int, int], None]
People = Callable[[], Mapping[str, RosterEntry]]
"""The roster's entries by participant_id, as they stand when asked."""
_GROUP = 50
_ATTEMPTS = 3


class Warehouse(Protocol):
    """What an engine can do. `held` locks, `changed` is the transaction, and in it rows are inserted; what `insert`
    gives back says how many, once they are in.
    """

    def held(self) -> AbstractContextManager[Held]: ...
    def changed(self, has: Held, todo: Plan) -> AbstractContextManager[None]: ...
    def source(self) -> duckdb.DuckDBPyConnection: ...
    def insert(self, table: str, sql: str, parameters: Parameters, ids: list[str] | None) -> Callable[[], int]: ...
    def insert_arrow(self, table: str, rows: pa.Table) -> None: ...
    def admit(self, to: Gate) -> None: ...
    def size_bytes(self) -> int: ...


@dataclass(frozen=True)
class Published:
    """What a publication did.

    `published` and `removed` name participants; `waiting` those whose marts are behind the lake and whose
    former rows stand until the marts are built; `unchanged` counts the others. `rows` counts the rows written
    by table; it is empty where nothing was. `rebuilt` says why the warehouse was made anew, if it was.
    """

    published: list[str]
    removed: list[str]
    waiting: list[str]
    unchanged: int
    rows: dict[str, int]
    warehouse_bytes: int
    rebuilt: str | None = None

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {
            "published": len(self.published),
            "removed": len(self.removed),
            "waiting": len(self.waiting),
            "unchanged": self.unchanged,
            "rows": sum(self.rows.values()),
            "warehouse_bytes": self.warehouse_bytes,
        }


def publish_study(
    study: Study, progress: Progress | None = None, *, run: ops.OpsRun | None = None, scrub: bool = False
) -> Published:
    """`publish` with the study's own roster as it stands when rows are chosen and, again, when they are committed;
    recorded as a run of its own unless it is part of `run`.
    """

    def people() -> Mapping[str, RosterEntry]:
        return entries_by_id(replace(study, roster=read_roster(study.root)))

    if run is not None:
        return _tried(study, people, clock.now(), progress, run, scrub)
    with ops.recorded(study, "publish") as own:
        return _tried(study, people, clock.now(), progress, own, scrub)


def publish(
    study: Study,
    people: Mapping[str, RosterEntry],
    now: datetime,
    progress: Progress | None = None,
    *,
    run: ops.OpsRun | None = None,
    scrub: bool = False,
) -> Published:
    """Bring the warehouse to the state of the marts: whole participants, in one transaction.

    `people` are the roster's entries by participant_id; `now` becomes `published_at`; `progress` is called
    with participants done and to do; `run` gets the counts and goes out with the runs before it. Where nothing
    differs, nothing is written. Readers see the old rows until the new ones are whole; whoever has a DuckDB file
    open keeps the old one. An older warehouse is upgraded. Marts that were built from another roster entry wait. With
    `scrub` the files are written anew even where no row differs, so that nothing of former rows lingers in them.
    Raises Transient where another publication runs, the disk has no room (on DuckDB twice the warehouse's size
    must be free), the server is away, or lake and marts change meanwhile; Terminal where they contradict the
    contract, the role lacks a right, or the warehouse is newer than this program or not one; the old warehouse
    stands then.
    """
    return _tried(study, lambda: people, now, progress, run, scrub)


def _tried(
    study: Study, people: People, now: datetime, progress: Progress | None, run: ops.OpsRun | None, scrub: bool
) -> Published:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with in_use(study.identity), reading(study.identity):
                return _publish(study, people, now, progress, run, scrub)
        except Again:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(random.uniform(0.1, 0.5) * attempt)  # noqa: S311 - so that two do not meet again
    raise AssertionError


def _publish(
    study: Study, people: People, now: datetime, progress: Progress | None, run: ops.OpsRun | None, scrub: bool
) -> Published:
    warehouse = warehouse_of(study)
    with warehouse.held() as has, ExitStack() as until_committed:
        known = people()
        todo = replace(plan(study, known, has), scrub=scrub)
        rows: dict[str, int] = {}
        opens = has.gate is not None and has.gate != gate(study, known)
        if todo.replaced or has.unusable is not None or has.upgraded or scrub or opens:
            with warehouse.changed(has, todo):
                rows = _fill(warehouse, study, todo, now, progress)
                if run is not None:
                    _complete(run, study, todo, now)
                warehouse.insert_arrow(ops.TABLE, ops.rows(study, run))
                until_committed.enter_context(consent_lock(study.root))
                known = people()
                _check_consent(study, todo, known)
                if has.gate is not None:
                    warehouse.admit(gate(study, known))
                _check_marts(study, todo)
        return Published(
            [person.participant_id for person in todo.people],
            todo.removed,
            todo.waiting,
            todo.unchanged,
            rows,
            warehouse.size_bytes(),
            has.unusable or None,
        )


def warehouse_of(study: Study) -> Warehouse:
    """The engine that study.yaml names."""
    url = study.warehouse_url
    if url is None:
        return DuckdbWarehouse(study)
    from ingest.publish.postgres_warehouse import PostgresWarehouse

    return PostgresWarehouse(study, url)


def _fill(warehouse: Warehouse, study: Study, todo: Plan, now: datetime, progress: Progress | None) -> dict[str, int]:
    counts: list[tuple[str, Callable[[], int]]] = []
    for start in range(0, len(todo.people), _GROUP):
        group = todo.people[start : start + _GROUP]
        ids = [person.participant_id for person in group]
        for table in contract.published_tables():
            found = None
            if contract.schemas()[table]["stage"] not in (COHORT, OPS):
                found = select(warehouse.source(), study, table, group, now)
            if found is not None:
                counts.append((table, warehouse.insert(table, *found, ids)))
        if progress is not None:
            progress(start + len(group), len(todo.people))
    if todo.cohort is not None and todo.cohort_differs:
        counts += [(table, warehouse.insert(table, *select_cohort(warehouse.source(), study, table), None))
                   for table in contract.tables(COHORT)]  # fmt: skip
        warehouse.insert_arrow("publication", cohort_row(todo.cohort, now))
    rows = dict.fromkeys(contract.published_tables(), 0)
    for table, count in counts:
        rows[table] += count()
    return rows


def _complete(run: ops.OpsRun, study: Study, todo: Plan, now: datetime) -> None:
    """Fill in what the warehouse will show once this publication stands."""
    run.outcome, run.ended_at = "ended", now
    run.participants_published = len({person.participant_id for person in todo.people} - {NOBODY})
    run.participants_removed, run.participants_waiting = len(todo.removed), len(todo.waiting)
    states = mart_states(study.lake).values()
    waits = unpublished(study, shown_by(each for each in states if each.participant_id not in todo.waiting))
    run.unpublished_count, run.oldest_unpublished_at = waits.count, waits.oldest_at
    run.silent_participants = len(silent(study, now.date()))


def _check_consent(study: Study, todo: Plan, people: Mapping[str, RosterEntry]) -> None:
    """Raises Again, so that rows are chosen anew, where the roster changed for somebody whose rows were written, the
    cohort's among them.
    """
    if any(person.entry != people.get(person.participant_id) for person in todo.people) or (
        todo.cohort != cohort_state(study, people)
    ):
        raise Again("the roster changed during the publication; nothing was published, run again")


def _check_marts(study: Study, todo: Plan) -> None:
    states = mart_states(study.lake)
    changed = any(person.state and states.get(person.participant_id) != person.state for person in todo.people)
    if changed or (todo.cohort is not None and read_cohort_state(study.lake) != todo.cohort):
        raise Transient("marts were rebuilt during the publication; nothing was published, run again")

"""The tables over all participants at once: `lake/_cohort/<table>.parquet`, and the state that commits them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
import pyarrow as pa

from ingest._core.contract import COHORT, tables, to_contract
from ingest._core.places import Place, read, read_each, remove, wipe, write, write_each
from ingest.lake.parquet import coded

COHORT_ID = "_cohort"
_FOLDER = "_cohort"


class CohortState(msgspec.Struct, frozen=True):
    """What the cohort tables were computed from; written last, it commits them.

    `participants` are all whose rows went in, `definitions_version` and `settings_hash` as in a mart's state;
    `consents` is `roster.consents_of` them.
    """

    state_hash: str
    definitions_version: str
    settings_hash: str
    participants: list[str]
    consents: str = ""


def cohort_path(lake: Place, table: str) -> Place:
    """Where the file of a cohort table is."""
    return lake / _FOLDER / f"{table}.parquet"


def write_cohort(lake: Place, made: Mapping[str, pa.Table], state: CohortState) -> None:
    """Write every cohort table (those absent from `made` empty), then the state.

    Between the two nothing is committed. Raises Terminal where a table does not fit its schema, Transient where
    storage refuses.
    """
    fitting = {table: to_contract(table, made.get(table, pa.table({}))) for table in tables(COHORT)}
    remove(_state_path(lake))
    paths = {table: cohort_path(lake, table) for table in fitting}
    held = zip(fitting.items(), read_each(list(paths.values())), strict=True)
    write_each({paths[table]: coded(lake, table, data, stands.data) for (table, data), stands in held})
    write(_state_path(lake), msgspec.json.encode(state, order="sorted"))


def read_cohort_state(lake: Place) -> CohortState | None:
    """The state of the committed cohort tables; None where there are none."""
    data = read(_state_path(lake)).data
    return None if data is None else msgspec.json.decode(data, type=CohortState)


def drop_cohort(lake: Place) -> None:
    """Take the cohort tables away, the state first."""
    wipe(_state_path(lake))
    for table in tables(COHORT):
        wipe(cohort_path(lake, table))


def drop_cohort_without(lake: Place, people: Collection[str]) -> bool:
    """`drop_cohort` where rows of somebody who is not of `people` went in; True where it was done."""
    state = read_cohort_state(lake)
    if state is None or set(state.participants) <= set(people):
        return False
    drop_cohort(lake)
    return True


def _state_path(lake: Place) -> Place:
    return lake / _FOLDER / "state.json"

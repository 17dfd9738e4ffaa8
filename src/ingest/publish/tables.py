"""Where the rows of each of the warehouse's tables come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from ingest._core import contract
from ingest._core.contract import MART, PUBLISH
from ingest._core.places import Place
from ingest._core.roster import RosterEntry
from ingest._core.study import Study
from ingest.lake.cohort_store import COHORT_ID, CohortState, cohort_path
from ingest.lake.store import Manifest, part_path, stretches
from ingest.mart.rebuild import MartState, source_file_rows
from ingest.publish.lake_files import LakeFile, Parameters, readable
from ingest.publish.shape import STAGES, cells, clustered_key, quoted

_VERSIONS = {
    "sleep_session": ("session_version", "session_id"),
    STAGES: ("session_version", "session_id"),
    "substance_use": ("use_version", "use_id"),
    "sleep_diary": ("diary_version", "diary_id"),
    "scale_response": ("response_version", "response_id"),
}


_NAMED = "(parse_filename(r.filename), r.source_file_id) IN (SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]))"


@dataclass(frozen=True)
class Person:
    """One participant in lake and roster: `state` is None without marts, `entry` without a roster row."""

    participant_id: str
    manifests: Sequence[Manifest]
    state: MartState | None
    entry: RosterEntry | None


def select(
    connection: duckdb.DuckDBPyConnection, study: Study, table: str, people: Sequence[Person], now: datetime
) -> tuple[str, Parameters] | None:
    """A SELECT in `connection`, with its parameters, of the rows of these participants in a table.

    Columns are the contract's, rows in the order of participant and key; None where there can be none. The
    connection must have been opened by `session`. Raises Terminal where a file of the lake is not as its manifest
    says.
    """
    if table == STAGES and not study.settings.publish.stages:
        return None
    if contract.schemas()[table]["stage"] == PUBLISH:
        return _select_arrow(connection, table, _made_here(table, study, people, now))
    return _select_files(connection, study.lake, table, people)


def select_cohort(connection: duckdb.DuckDBPyConnection, study: Study, table: str) -> tuple[str, Parameters]:
    """The same of a table over all participants."""
    (found,) = readable(connection, study.lake, [[LakeFile(table, cohort_path(study.lake, table))]])
    relation, parameters = found.relation()
    return f"SELECT {cells(table)} FROM {relation} ORDER BY {_order(table)}", parameters  # noqa: S608 - names of schemas/


def participant_row(study: Study, person: Person) -> dict[str, Any] | None:
    """The participant's row of `participant`; None for one who is not in the roster."""
    entry = person.entry
    if entry is None:
        return None
    last = max((date.fromisoformat(each.covers[1]) for each in person.manifests if each.covers), default=None)
    ended = entry.withdrew_on or last
    reason = "withdrawn" if entry.withdrew_on else "last_export"
    return {
        "participant_id": person.participant_id,
        "time_zone": entry.time_zone or study.settings.time_zone,
        "enrolled_on": entry.enrolled_on,
        "withdrew_on": entry.withdrew_on,
        "arm": entry.arm,
        "taper_start_on": entry.taper_start_on,
        "censor_on": ended,
        "censor_reason": reason if ended else None,
    }


def _made_here(table: str, study: Study, people: Sequence[Person], now: datetime) -> pa.Table:
    if table == "source_file":
        return source_file_rows(each for person in people for each in person.manifests)
    if table == "participant":
        found = [participant_row(study, person) for person in people]
    else:
        found = [_publication_row(person.state, now) for person in people if person.state is not None]
    rows = [row for row in found if row is not None]
    return pa.Table.from_pylist(rows, schema=contract.arrow_schema(table, PUBLISH))


def cohort_row(state: CohortState, now: datetime) -> pa.Table:
    """The row of `publication` for the tables over all participants."""
    row = {
        "participant_id": COHORT_ID,
        "mart_hash": state.state_hash,
        "definitions_version": state.definitions_version,
        "settings_hash": state.settings_hash,
        "published_at": now,
    }
    return pa.Table.from_pylist([row], schema=contract.arrow_schema("publication", PUBLISH))


def _publication_row(state: MartState, now: datetime) -> dict[str, Any]:
    return {
        "participant_id": state.participant_id,
        "mart_hash": state.mart_hash,
        "definitions_version": state.definitions_version,
        "settings_hash": state.settings_hash,
        "published_at": now,
    }


def _select_arrow(connection: duckdb.DuckDBPyConnection, table: str, rows: pa.Table) -> tuple[str, Parameters]:
    # Registered until the next one takes its name.
    connection.register("incoming", contract.to_contract(table, rows, PUBLISH))
    return f"SELECT {cells(table)} FROM incoming ORDER BY {_order(table)}", []  # noqa: S608 - names of schemas/


def _select_files(
    connection: duckdb.DuckDBPyConnection, lake: Place, table: str, people: Sequence[Person]
) -> tuple[str, Parameters] | None:
    versions, record_id = _VERSIONS.get(table, (None, ""))
    chosen = [_files(lake, table, people), *([_files(lake, versions, people)] if versions else [])]
    found = readable(connection, lake, chosen)
    if not all(found):
        return None
    of_packed = _rows_of_packed(lake, table, people)
    (rows, parameters), *joined = (found[0].relation(bool(of_packed)), *(each.relation() for each in found[1:]))
    join = f"{rows} r"
    for others, of_others in joined:
        join += f" JOIN {others} v ON r.{record_id} = v.{record_id} AND r.source_file_id = v.source_file_id"
        join += " AND v.is_current" if table == STAGES else ""
        parameters = [*parameters, *of_others]
    if of_packed:
        join += f" WHERE {_NAMED}"
        parameters = [*parameters, *of_packed]
    of = {field["name"]: "v." if "addedBy" in field else "r." for field in contract.fields(table, PUBLISH)}
    return f"SELECT {cells(table, of)} FROM {join} ORDER BY {_order(table, 'r.')}", parameters  # noqa: S608 - names of schemas/


def _files(lake: Place, table: str, people: Sequence[Person]) -> list[LakeFile]:
    if contract.schemas()[table]["stage"] == MART:
        return [LakeFile(table, part_path(lake, table, person.participant_id)) for person in people]
    found = {part.path: LakeFile(table, part.path, each, part.sha256)
             for person in people for each in person.manifests if table in each.files
             for part in stretches(lake, table, each)}  # fmt: skip
    return list(found.values())


def _rows_of_packed(lake: Place, table: str, people: Sequence[Person]) -> list[list[str]]:
    """Names of files and, one for one, exports that have rows in them; nothing where no file holds those of several.

    A packed file may hold rows that no manifest names any more.
    """
    of = [each for person in people for each in person.manifests if table in each.files]
    if contract.schemas()[table]["stage"] == MART or not any(each.packed and table in each.packed for each in of):
        return []
    held = {(part.path.name, each.source_file_id) for each in of for part in stretches(lake, table, each)}
    return [list(names) for names in zip(*sorted(held), strict=True)]


def _order(table: str, prefix: str = "") -> str:
    return ", ".join(prefix + quoted(name) for name in clustered_key(table))

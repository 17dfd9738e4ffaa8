"""Exports that left landing, from a lake made with one key to a lake made with another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
from msgspec.structs import replace

from ingest._core.files import digest
from ingest._core.keys import read_key
from ingest._core.pseudonyms import keyed
from ingest._core.roster import NOBODY, STUDY_LOGS
from ingest._core.study import Study
from ingest.arrive.arrivals import open_arrivals
from ingest.harmonise.identity import read_links
from ingest.harmonise.sessions import session_id
from ingest.lake.load import rows_hash_of
from ingest.lake.parquet import to_parquet
from ingest.lake.store import Manifest, commit, manifest, manifests, participants, read

_IDS = {"substance_use": "use_id", "sleep_diary": "diary_id", "scale_response": "response_id"}
_SESSION = "session_id"


@dataclass
class Carried:
    """How many exports were carried over, and how many of their records have ids that only this lake has."""

    exports: int = 0
    ids_of_its_own: int = 0


def carry(old: Study, new: Study, ids: Mapping[str, str]) -> Carried:
    """Write into the lake of `new` what the lake of `old` holds and landing no longer does, under the new ids.

    `ids` are new participant_ids by old ones. A session's id is made anew from its record's id or times. Ids of
    reports rest on record ids that the lake does not hold: they are those of the same rows in an export that landing
    still holds, else a keyed hash of the former id. Such an export is decoded again should it return to landing.
    """
    done = Carried()
    key = read_key(new.identity / "key")
    refs = read_links(old)
    with open_arrivals(new) as store:
        here = {(each.folder, each.source_file_id) for each in store.present()}
    for pid in participants(old.lake):
        to = pid if pid == NOBODY else ids.get(pid)
        if to is None:
            continue
        held = manifests(old.lake, pid)
        made = {each.source_file_id for each in manifests(new.lake, to)}
        folders = {STUDY_LOGS, refs.get(pid, "")} if refs.get(pid) in new.roster.entries else set()
        seen = {sfid for folder, sfid in here if pid == NOBODY or folder in folders}
        gone = [each for each in held if each.source_file_id not in made | seen]
        twins = [each for each in held if each.source_file_id in made] if gone else []
        known = dict(pair for each in twins for pair in _twins(old, new, each, to))
        for each in gone:
            done.ids_of_its_own += _carry_one(old, new, each, to, known, key)
            done.exports += 1
    return done


def _carry_one(old: Study, new: Study, of: Manifest, to: str, known: Mapping[str, str], key: bytes) -> int:
    """Write one export's rows under their new ids; returns how many ids only this lake has."""
    own: set[str] = set()
    made_anew = {}
    for table in of.files:
        rows = read(old.lake, table, [of])
        column = _IDS.get(table, _SESSION if _SESSION in rows.column_names else None)
        if table == "sleep_session":
            known = {**known, **_sessions(rows, of, to)}
        if column is not None:
            given = rows[column].to_pylist()
            made = {each: keyed(key, "carried", each)[:20] for each in {*given} - known.keys()}
            own |= made.keys()
            rows = _with(rows, column, [known.get(each) or made[each] for each in given])
        made_anew[table] = _with(rows, "participant_id", [to] * len(rows))
    parquet = {table: to_parquet(rows) for table, rows in made_anew.items()}
    after = replace(of, participant_id=to, inputs_hash=digest("carried", of.inputs_hash)[:16],
                    rows_hash=None if of.rows_hash is None else rows_hash_of(parquet))  # fmt: skip
    commit(new.lake, after, made_anew, parquet)
    return len(own)


def _sessions(rows: pa.Table, of: Manifest, to: str) -> dict[str, str]:
    """New ids by old ones of the sessions whose record is known."""
    found = {}
    spans = zip(
        rows["start_utc"].cast(pa.int64()).to_pylist(), rows["end_utc"].cast(pa.int64()).to_pylist(), strict=True
    )
    for each, record, span in zip(rows[_SESSION].to_pylist(), rows["source_record_id"].to_pylist(), spans, strict=True):
        said = record or f"{span[0]}/{span[1]}"
        if each == session_id(of.participant_id, of.source, said):
            found[each] = session_id(to, of.source, said)
    return found


def _twins(old: Study, new: Study, of: Manifest, to: str) -> Iterator[tuple[str, str]]:
    """Old and new ids of the rows of an export that both lakes hold."""
    now = manifest(new.lake, to, of.source_file_id)
    for table in of.files:
        column = _IDS.get(table, _SESSION if table == "sleep_session" else None)
        if column is None or now is None or table not in now.files:
            continue
        before, after = (_in_order(read(*each), column) for each in ((old.lake, table, [of]), (new.lake, table, [now])))
        if [row[1:] for row in before] == [row[1:] for row in after]:
            yield from ((a[0], b[0]) for a, b in zip(before, after, strict=True))


def _in_order(rows: pa.Table, column: str) -> list[tuple[str, str]]:
    """The id of each row and all else that it says, in the order of that; rows that say the same have equal rights."""
    others = rows.drop_columns([column, "participant_id"]).to_pylist()
    return sorted(((each, repr(other)) for each, other in zip(rows[column].to_pylist(), others, strict=True)),
                  key=lambda pair: pair[1])  # fmt: skip


def _with(rows: pa.Table, column: str, values: list[str]) -> pa.Table:
    at = rows.column_names.index(column)
    # With the field as it was: a new one would forget that the column has no NULL.
    return rows.set_column(at, rows.schema.field(at), pa.array(values, rows.schema.field(at).type))

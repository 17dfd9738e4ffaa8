"""Which participants' marts are stale, and building them anew. Staleness is computed, never remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import msgspec
import pyarrow as pa

from ingest._core.acknowledgements import Acknowledged, read_acknowledgements
from ingest._core.clock import tzdata_version
from ingest._core.contract import MART, arrow_schema, tables
from ingest._core.files import digest, inside, remove, write_bytes
from ingest._core.roster import NOBODY, RosterEntry
from ingest._core.study import Study
from ingest.decode.registry import decoders
from ingest.harmonise.identity import entries_by_id, waiting_ids
from ingest.harmonise.substances import class_and_unit
from ingest.lake.store import Manifest, manifests, participants, read_all, write_part
from ingest.mart.participant import DEFINITIONS_VERSION, build
from ingest.mart.person import PersonSettings

GROUP_SIZE = 200


class MartState(msgspec.Struct, frozen=True):
    """What a participant's marts were built from; written last, it commits them."""

    participant_id: str
    mart_hash: str
    definitions_version: str
    settings_hash: str
    manifests: list[str]


@dataclass
class RebuildResult:
    """Whose marts were built anew, and how many nights they have."""

    participants: list[str]
    nights: int = 0

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"participants": len(self.participants), "nights": self.nights}


def mart_states(lake: Path) -> dict[str, MartState]:
    """The committed marts by participant_id."""
    folder = lake / "_mart"
    paths = sorted(folder.glob("[!.]*.json")) if folder.is_dir() else []
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=MartState) for path in paths}


def stale(study: Study) -> list[str]:
    """participant_ids whose marts differ from what lake, roster, settings and definitions would give, sorted.

    `_study`, which holds what belongs to nobody, is one of them. Marts of people who left the roster are taken
    away.
    """
    entries = entries_by_id(study)
    held = mart_states(study.lake)
    for participant_id in sorted(held.keys() - entries.keys() - waiting_ids(study) - {NOBODY}):
        remove(inside(study.lake, "_mart", f"{participant_id}.json"))
    wanted = {*entries, *({NOBODY} & set(participants(study.lake)))}
    given = read_acknowledgements(study.root)
    return [
        pid
        for pid in sorted(wanted)
        if pid not in held
        or held[pid].mart_hash != _state(study, pid, entries.get(pid), manifests(study.lake, pid), given).mart_hash
    ]


def stale_groups(study: Study, size: int = GROUP_SIZE) -> list[list[str]]:
    """The stale participants in groups, for mapped tasks."""
    found = stale(study)
    return [found[i : i + size] for i in range(0, len(found), size)]


def rebuild(study: Study, ids: Iterable[str], progress: Callable[[], None] = lambda: None) -> RebuildResult:
    """Build and commit the marts of the participants, one after the other; memory holds one at a time."""
    entries = entries_by_id(study)
    given = read_acknowledgements(study.root)
    result = RebuildResult([])
    for participant_id in ids:
        of = manifests(study.lake, participant_id)
        state = _state(study, participant_id, entries.get(participant_id), of, given)
        built = _build(study, participant_id, entries.get(participant_id), of, given)
        for table in tables(MART):
            write_part(study.lake, table, participant_id, built[table])
        path = inside(study.lake, "_mart", f"{participant_id}.json")
        write_bytes(path, msgspec.json.encode(state, order="sorted"))
        result.participants.append(participant_id)
        result.nights += len(built["night"])
        progress()
    return result


def _build(
    study: Study, pid: str, entry: RosterEntry | None, of: list[Manifest], given: Acknowledged
) -> dict[str, pa.Table]:
    if entry is None:
        return {table: arrow_schema(table).empty_table() for table in tables(MART)}
    person = person_settings(study, pid, entry)
    last = max((each.covers[1] for each in of if each.covers), default=None)
    seen = {pid: date.fromisoformat(last)} if last else {}
    # A file nobody recognises is no lost night; one that a decoder or the unpacking gave up on may be.
    held = source_file_rows(each for each in of if each.reason != "no_decoder")
    logs = {each.source for each in decoders() if each.kind == "log"}
    made = {each.source_file_id: datetime.fromisoformat(each.exported_at) for each in of}
    return build(read_all(study.lake, of), held, {pid: person}, study.settings, seen,
                 class_and_unit(study.settings.substances), logs, given, made)  # fmt: skip


def person_settings(study: Study, participant_id: str, entry: RosterEntry) -> PersonSettings:
    """A roster entry as the marts use it."""
    zone_name, basis = study.zone_of(entry)
    return PersonSettings(participant_id, zone_name, entry.enrolled_on, entry.withdrew_on, entry.taper_start_on,
                          entry.day_anchor_hour, basis, frozenset(entry.free_days), entry.phases)  # fmt: skip


def source_file_rows(of: Iterable[Manifest]) -> pa.Table:
    """Manifests as rows of schema source_file."""
    rows = [
        {
            "source_file_id": each.source_file_id,
            "participant_id": each.participant_id,
            "source": each.source,
            "format": each.format or None,
            "decoder_version": each.decoder_version or None,
            "arrived_at": datetime.fromisoformat(each.arrived_at),
            "records_read": each.counts["read"] if each.counts else None,
            **{name: each.counts[name] if each.counts else None
               for name in ("kept", "duplicate", "ignored", "quarantined")},
            "status": each.status,
        }
        for each in of
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=arrow_schema("source_file"))


def _state(study: Study, pid: str, entry: RosterEntry | None, of: list[Manifest], given: Acknowledged) -> MartState:
    named = sorted(f"{each.source_file_id}.{each.inputs_hash}.{each.status}" for each in of)
    settings_hash = study.settings.mart_hash_part()
    zone_name = study.zone_of(entry)[0] if entry else ""
    seen = digest(*(cell for each in given.get(pid, ()) for cell in each.cells()))
    whole = digest(DEFINITIONS_VERSION, settings_hash, entry.hash_part() if entry else "", zone_name,
                   tzdata_version(), seen, *named)  # fmt: skip
    return MartState(pid, whole[:32], DEFINITIONS_VERSION, settings_hash[:32], named)

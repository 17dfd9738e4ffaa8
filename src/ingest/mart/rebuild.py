"""Which participants' marts are stale, and building them anew. Staleness is computed, never remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec
import pyarrow as pa

from ingest._core.acknowledgements import Acknowledged, read_acknowledgements
from ingest._core.clock import tzdata_version
from ingest._core.contract import MART, arrow_schema, tables
from ingest._core.errors import Terminal, Transient
from ingest._core.files import digest, locked
from ingest._core.keys import in_use
from ingest._core.logs import event
from ingest._core.places import Place, committed, inside, read, remove, write
from ingest._core.roster import NOBODY, RosterEntry
from ingest._core.study import Study
from ingest.decode.registry import decoders
from ingest.harmonise.identity import entries_by_id, waiting_ids
from ingest.harmonise.substances import class_and_unit
from ingest.lake.cohort_store import drop_cohort_without
from ingest.lake.encryption import begin_writing
from ingest.lake.store import (
    STATES,
    Commit,
    Manifest,
    commit_names,
    commits,
    every_commit,
    manifests,
    read_all,
    write_parts,
)
from ingest.mart.participant import DEFINITIONS_VERSION, build
from ingest.mart.person import PersonSettings

GROUP_SIZE = 200
_SETTINGS = "settings."
_ATTEMPTS = 10


class MartState(msgspec.Struct, frozen=True):
    """What a participant's marts were built from; written last, it commits them.

    `manifests` are names as `lake.store.commit_names` gives them; `parts` what else goes into `mart_hash`, each hashed
    (versions as they are).
    """

    participant_id: str
    mart_hash: str
    definitions_version: str
    settings_hash: str
    manifests: list[str]
    parts: dict[str, str] = {}


_STATES = msgspec.json.Decoder(MartState)


@dataclass
class RebuildResult:
    """Whose marts were built anew, how many nights they have, and by participant_id why."""

    participants: list[str]
    nights: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"participants": len(self.participants), "nights": self.nights}


def mart_states(lake: Place) -> dict[str, MartState]:
    """The committed marts by participant_id."""
    found = (_STATES.decode(data) for _, data in committed(lake / STATES))
    return {each.participant_id: each for each in found}


def mart_state(lake: Place, participant_id: str) -> MartState | None:
    """The committed marts of one participant, or None."""
    data = read(_state_path(lake, participant_id)).data
    return None if data is None else _STATES.decode(data)


def stale(study: Study) -> list[str]:
    """participant_ids whose marts differ from what lake, roster, settings and definitions would give, sorted.

    `_study`, which holds what belongs to nobody, is one of them. Marts of people who left the roster are taken
    away, and with them the tables over all participants that hold rows of theirs.
    """
    inputs = _Inputs(study)
    held = mart_states(study.lake)
    staying = {*inputs.entries, *waiting_ids(study), NOBODY}
    drop_cohort_without(study.lake, staying)
    for participant_id in sorted(held.keys() - staying):
        remove(_state_path(study.lake, participant_id))
    return _differing(study, inputs, held)


def behind(study: Study) -> list[str]:
    """participant_ids whose marts `stale` would name or take away, sorted; changes nothing."""
    inputs = _Inputs(study)
    held = mart_states(study.lake)
    left = held.keys() - {*inputs.entries, *waiting_ids(study), NOBODY}
    return sorted({*left, *_differing(study, inputs, held)})


def _differing(study: Study, inputs: _Inputs, held: Mapping[str, MartState]) -> list[str]:
    there = {pid: inputs.state(pid, of).mart_hash for pid, of in every_commit(study.lake)}
    wanted = {*inputs.entries, *({NOBODY} & there.keys())}
    return [
        pid
        for pid in sorted(wanted)
        if pid not in held or held[pid].mart_hash != (there.get(pid) or inputs.state(pid, ()).mart_hash)
    ]


def why_stale(study: Study, ids: Iterable[str]) -> dict[str, list[str]]:
    """Why the marts of each of `ids` are not what they would be now, by participant_id; empty where they are.

    Changes nothing, and asks only about people of the roster.
    """
    inputs = _Inputs(study)
    return {pid: reasons(mart_state(study.lake, pid), inputs.state(pid, commits(study.lake, pid)))
            for pid in ids if pid in inputs.entries}  # fmt: skip


def published_before(study: Study, published: Mapping[str, str]) -> set[str]:
    """Whose published rows, given by mart_hash, are not those that lake, roster and settings would give."""
    inputs = _Inputs(study)
    wanted = {*inputs.entries, NOBODY}
    return {pid for pid, mart_hash in published.items()
            if pid not in wanted or mart_hash != inputs.state(pid, commits(study.lake, pid)).mart_hash}  # fmt: skip


def stale_groups(study: Study, size: int = GROUP_SIZE) -> list[list[str]]:
    """The stale participants in groups, for mapped tasks."""
    found = stale(study)
    return [found[i : i + size] for i in range(0, len(found), size)]


def rebuild(study: Study, ids: Iterable[str], progress: Callable[[], None] = lambda: None) -> RebuildResult:
    """Build and commit the marts of the participants, one after the other; memory holds one at a time."""
    with in_use(study.identity):
        begin_writing(study.lake)
        return _rebuild(study, ids, progress)


def forget(study: Study, ids: Iterable[str]) -> None:
    """Take the commit of these participants' marts away, so that they are built again."""
    remove(*(_state_path(study.lake, participant_id) for participant_id in sorted(ids)))


def _rebuild(study: Study, ids: Iterable[str], progress: Callable[[], None]) -> RebuildResult:
    inputs = _Inputs(study)
    result = RebuildResult([])
    for participant_id in ids:
        began = time.perf_counter()
        with one_builder(study, participant_id):
            path = _state_path(study.lake, participant_id)
            held = read(path)
            of, built = _built(study, participant_id, inputs)
            state = inputs.state(participant_id, of)
            write_parts(study.lake, participant_id, {table: built[table] for table in tables(MART)})
            before = None if held.data is None else _STATES.decode(held.data)
            result.reasons[participant_id] = reasons(before, state)
            write(path, msgspec.json.encode(state, order="sorted"), held)
        result.participants.append(participant_id)
        result.nights += len(built["night"])
        event("participant", participant_id=participant_id, nights=len(built["night"]), exports=len(of),
              seconds=round(time.perf_counter() - began, 3))  # fmt: skip
        progress()
    return result


def one_builder(study: Study, participant_id: str) -> AbstractContextManager[None]:
    """Held by the one process that builds this participant's marts: two would mix theirs under one state."""
    stripe = digest(participant_id)[:2]
    return locked(study.identity / ".locks" / f"mart-{stripe}", "building nights", wait=True)


def _built(study: Study, participant_id: str, inputs: _Inputs) -> tuple[list[Manifest], dict[str, pa.Table]]:
    """The manifests and the marts built from them; begun again where the lake changed meanwhile."""
    for _ in range(_ATTEMPTS):
        of = manifests(study.lake, participant_id)
        try:
            return of, _build(study, participant_id, inputs.entries.get(participant_id), of, inputs.given)
        except Terminal:
            if commit_names(manifests(study.lake, participant_id)) == commit_names(of):
                raise
    raise Transient("the lake changed again and again while nights were built; run again when it is quiet")


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
    return PersonSettings(
        participant_id, zone_name, entry.enrolled_on, entry.withdrew_on, entry.taper_start_on, entry.day_anchor_hour,
        basis, frozenset(entry.free_days), entry.phases, entry.consents,
    )  # fmt: skip


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


class _Inputs:
    """All that goes into marts besides the lake, read once for all participants."""

    def __init__(self, study: Study) -> None:
        self.entries = entries_by_id(study)
        self.given = read_acknowledgements(study.root)
        self._study = study
        self._settings_hash = study.settings.mart_hash_part()[:32]
        self._everybody = {
            "definitions": DEFINITIONS_VERSION,
            "tzdata": tzdata_version(),
            **{f"{_SETTINGS}{name}": part[:32] for name, part in study.settings.mart_parts().items()},
        }

    def state(self, participant_id: str, of: Iterable[Manifest | Commit]) -> MartState:
        """What the participant's marts would be built from now."""
        entry, names = self.entries.get(participant_id), commit_names(of)
        seen = (cell for each in self.given.get(participant_id, ()) for cell in each.cells())
        parts = {
            **self._everybody,
            "roster": roster_part(entry),
            "zone": digest(self._study.zone_of(entry)[0])[:32] if entry else "",
            "acknowledgements": digest(*seen)[:32],
        }
        whole = digest(*(text for part in sorted(parts.items()) for text in part), *names)
        return MartState(participant_id, whole[:32], DEFINITIONS_VERSION, self._settings_hash, names, parts)


def roster_part(entry: RosterEntry | None) -> str:
    """What of the roster goes into a participant's `mart_hash`: empty for who is not in it."""
    return entry.hash_part()[:32] if entry else ""


_SAID = {
    "definitions": "definitions",
    "tzdata": "tzdata",
    "roster": "roster entry",
    "zone": "time zone",
    "acknowledgements": "acknowledgements",
}


def reasons(held: MartState | None, now: MartState) -> list[str]:
    """Why marts of state `held` (None: there are none) are not those of `now`; empty where they are."""
    if held is None:
        return ["no marts yet"]
    if held.mart_hash == now.mart_hash:
        return []
    found = _about_exports(held.manifests, now.manifests)
    if not held.parts:
        return [*found, "built by an earlier version"]
    changed = sorted(name for name in held.parts.keys() | now.parts.keys()
                     if held.parts.get(name) != now.parts.get(name))  # fmt: skip
    for name in changed:
        said = _SAID.get(name) or f"settings of {name.removeprefix(_SETTINGS)}"
        versions = f" {held.parts.get(name)} -> {now.parts.get(name)}" if name in ("definitions", "tzdata") else ""
        found.append(f"{said} changed{versions}")
    return found


def _about_exports(held: list[str], now: list[str]) -> list[str]:
    before, after = ({name.partition(".")[0]: name for name in names} for names in (held, now))
    counts = {
        "new": len(after.keys() - before.keys()),
        "gone or replaced": len(before.keys() - after.keys()),
        "decoded again": sum(before[each] != after[each] for each in before.keys() & after.keys()),
    }
    return [f"{count} export{'s' if count > 1 else ''} {what}" for what, count in counts.items() if count]


def _state_path(lake: Place, participant_id: str) -> Place:
    return inside(lake, STATES, f"{participant_id}.json")

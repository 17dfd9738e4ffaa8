"""What has to be decoded: everything settled in landing that the lake does not hold in its present form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from posixpath import basename

from ingest._core import clock
from ingest._core.errors import Refused, Transient, Unreachable
from ingest._core.files import digest
from ingest._core.keys import in_use, read_key, write_check
from ingest._core.roster import NOBODY, STUDY_LOGS
from ingest._core.study import Study
from ingest._core.tombstones import tombstones
from ingest.arrive.archive import archive_in
from ingest.arrive.arrivals import Arrival, Arrivals, files_id, open_arrivals, token_of
from ingest.arrive.landing import NotAFile, Unit, units
from ingest.decode.claim import UNKNOWN, Claimed, File, sort_out
from ingest.decode.registry import decoder, decoders, reports_uses
from ingest.harmonise.identity import make_key, people, write_links
from ingest.harmonise.person import Person
from ingest.harmonise.substances import registry_digest
from ingest.lake.pack import changing, drop_left
from ingest.lake.removal import remove_erased
from ingest.lake.store import Commit, every_commit, manifests, retire
from ingest.lake.sweep import sweep

LAYOUT = "4"
UNKNOWN_PARTICIPANT = "unknown_participant"
MOST_BATCHES = 500
EXPORT_BYTES = 128 << 10  # what opening, committing and syncing one more export costs, in bytes decoded meanwhile
_STALE_S = 3600


@dataclass
class Plan:
    """Exports to decode, and what was seen besides."""

    wanted: list[Arrival] = field(default_factory=list)
    present: int = 0
    unsettled: int = 0
    waiting: int = 0
    not_files: int = 0
    erased: int = 0

    def batches(self, batch_bytes: int) -> list[list[str]]:
        """`in_batches` of the exports to decode."""
        return in_batches(self.wanted, batch_bytes)


def in_batches(wanted: Iterable[Arrival], batch_bytes: int, most: int = MOST_BATCHES) -> list[list[str]]:
    """Tokens in batches of about `batch_bytes`, a big export alone; never more than `most` batches.

    A small export counts as `EXPORT_BYTES`, so that a hundred thousand of them are shared out, too. Study-wide logs
    stay together, in the order given: whether a participant's share is written depends on the logs before it.
    """
    own: list[Arrival] = []
    study_wide: list[Arrival] = []
    for each in wanted:
        (study_wide if each.folder == STUDY_LOGS else own).append(each)
    size = max(batch_bytes, sum(map(_cost, own)) // most + 1)
    found: list[list[str]] = []
    room = 0
    for each in own:
        if _cost(each) > room or not found:
            found.append([])
            room = size
        found[-1].append(each.token)
        room -= _cost(each)
    if study_wide:
        if not found or sum(map(_cost, study_wide)) > room:
            found.append([])
        found[-1] += [each.token for each in study_wide]
    step = -(-len(found) // most)
    return [list(chain(*found[i : i + step])) for i in range(0, len(found), step)] if found else []


def with_later_logs(chosen: Iterable[Arrival], present: Iterable[Arrival]) -> list[Arrival]:
    """`chosen` with the study-wide logs of the same sources made after one of them, in the order of `present`.

    What of theirs is new is told by comparison with the logs before.
    """
    tokens = {each.token for each in chosen}
    begun: set[str] = set()
    found = []
    for each in present:
        if each.token in tokens or (each.folder == STUDY_LOGS and each.source in begun):
            found.append(each)
            if each.folder == STUDY_LOGS:
                begun.add(each.source)
    return found


def _cost(of: Arrival) -> int:
    return max(of.bytes, EXPORT_BYTES)


def plan(study: Study, progress: Callable[[int], None] = lambda count: None) -> Plan:
    """Look at landing: split what is settled into exports, remember their arrival, say which to decode.

    Calls `progress` with the number of units looked at so far.
    """
    with in_use(study.identity):
        return _plan(study, progress)


def _plan(study: Study, progress: Callable[[int], None]) -> Plan:
    make_key(study)
    write_check(study.identity, read_key(study.identity / "key"))
    known = people(study)
    write_links(study, known)
    now = clock.now()
    stones = tombstones(study.identity)
    remove_erased(study.lake, stones)
    result = Plan()
    tokens: set[str] = set()
    claimed_with = _claimed_with(study)
    with open_arrivals(study) as store:
        for count, unit in enumerate(units(study, store), start=1):
            progress(count)
            if isinstance(unit, NotAFile):
                result.not_files += 1
            elif stones.holds(unit.folder):
                result.erased += 1
            elif unit.folder in study.roster.waiting:
                result.waiting += 1
            elif (found := _exports_if_settled(study, unit, store, now, claimed_with)) is None:
                result.unsettled += 1
            else:
                tokens |= set(found)
        store.mark_present(tokens)
        _retire_put_right(study, store, tokens, known)
        held = _Held(study)
        for folder in sorted({folder for folder, sfid in store.absent() if sfid in held.of(_owner(folder, known))}):
            retire_replaced(study, folder, known, store)
        sweep(study, held.commits, now.timestamp() - _STALE_S)
        result.present = len(tokens)
        present = store.present()
        for arrival in present:
            held_inputs = held.of(owner_of(arrival, known)).get(arrival.source_file_id)
            if not is_current(study, held_inputs, inputs_hash(study, arrival, known, store)):
                result.wanted.append(arrival)
        result.wanted = with_later_logs(result.wanted, present)
    return result


class _Held:
    """Which exports the lake holds of whom, and from which inputs, when it was looked at."""

    def __init__(self, study: Study) -> None:
        self._commits = dict(every_commit(study.lake))
        self._found = {
            owner: {each.source_file_id: each.inputs_hash for each in of} for owner, of in self._commits.items()
        }

    def of(self, owner: str) -> dict[str, str]:
        """inputs_hash by source_file_id."""
        return self._found.get(owner, {})

    def commits(self, owner: str) -> list[Commit]:
        """The manifests in short."""
        return self._commits.get(owner, [])


def _retire_put_right(study: Study, store: Arrivals, present: set[str], known: dict[str, Person]) -> None:
    """Take out refusals of unknown folders that the roster knows by now, or that left landing."""
    for held in manifests(study.lake, NOBODY):
        arrivals = [a for a in store.of_file(held.source_file_id) if a.token in present]
        if held.reason == UNKNOWN_PARTICIPANT and all(a.folder in known for a in arrivals):
            retire(study.lake, held)


def retire_replaced(study: Study, folder: str, known: dict[str, Person], store: Arrivals) -> None:
    """Take out exports that a grown folder's newer export holds whole.

    A load does so when the newer one stands, and every look for all folders: one may have ended in between.
    """
    present = store.present_ids(folder)
    owner = _owner(folder, known)
    with changing(study.identity, owner):
        held = manifests(study.lake, owner)
        for old in held:
            if old.source_file_id not in present and any(
                old.source == new.source and set(old.members) < set(new.members) for new in held
            ):
                retire(study.lake, old)
    if any(each.packed for each in held):
        drop_left(study, owner)


def owner_of(arrival: Arrival, known: dict[str, Person]) -> str:
    """participant_id whose folder it is; `_study` for study-wide logs and unknown folders."""
    return _owner(arrival.folder, known)


def _owner(folder: str, known: dict[str, Person]) -> str:
    return known[folder].participant_id if folder in known else NOBODY


def inputs_hash(study: Study, arrival: Arrival, known: dict[str, Person], store: Arrivals) -> str:
    """16 hexadecimal digits over all that decoding this export depends on."""
    if arrival.folder in known:
        whose = [repr((known[arrival.folder].zone_name, known[arrival.folder].time_basis))]
    elif arrival.folder == STUDY_LOGS:
        whose = [repr((p.participant_id, p.zone_name, p.time_basis)) for _, p in sorted(known.items())]
    else:
        whose = [UNKNOWN_PARTICIPANT]
    if is_misfiled(study, arrival, known, store):
        whose.append("misfiled")
    return digest(LAYOUT, arrival.source_file_id, arrival.source, _version(study, arrival.source),
                  study.settings.decode_hash_part(), clock.tzdata_version(), *whose)[:16]  # fmt: skip


def bounded_hash(study: Study, inputs: str) -> str:
    """The same of an export that was too much for the bound on memory: with another bound it is tried again."""
    return digest(inputs, str(study.settings.decode_memory_mb))[:16]


def is_current(study: Study, held: str | None, inputs: str) -> bool:
    """True if what the lake holds was decoded from these inputs, or found too large for the bound as it is."""
    return held in (inputs, bounded_hash(study, inputs))


def is_misfiled(study: Study, arrival: Arrival, known: dict[str, Person], store: Arrivals) -> bool:
    """True if another participant handed in the same bytes before."""
    if arrival.source_file_id in study.settings.allow_shared:
        return False
    others = [o for o in store.of_file(arrival.source_file_id) if o.folder != arrival.folder and o.folder in known]
    return any((o.arrived_at, o.folder) < (arrival.arrived_at, arrival.folder) for o in others)


def _version(study: Study, source: str) -> str:
    if source == UNKNOWN:
        return _claimed_with(study)
    own = decoder(source)
    substances = registry_digest(study.settings.substances) if reports_uses(own) else ""
    return digest(own.version, own.settings_part(study.settings), substances)


def _claimed_with(study: Study) -> str:
    each = [part for d in decoders() for part in (d.source, d.version, d.settings_part(study.settings))]
    return digest(LAYOUT, study.settings.bounds.model_dump_json(), *each)


def _exports_if_settled(
    study: Study, unit: Unit, store: Arrivals, now: datetime, claimed_with: str
) -> list[str] | None:
    """`_exports` of a settled unit; None where it is not, or changed, went or was closed while it was read.

    The next look takes it up then.
    """
    if not unit.settled(now.timestamp(), study.settings.quiet_seconds):
        return None
    try:
        return _exports(study, unit, store, now, claimed_with)
    except Unreachable:
        raise
    except (Transient, FileNotFoundError, PermissionError):
        return None


def _exports(study: Study, unit: Unit, store: Arrivals, now: datetime, claimed_with: str) -> list[str]:
    unit_id = store.unit_id(unit)
    tokens = store.claims(unit_id, unit.folder, claimed_with)
    if tokens is None or any((a := store.get(t)) is None or a.unit_path != unit.path for t in tokens):
        found = [_arrival(unit, unit_id, claimed, several, store, now)
                 for several, claimed in _claimed(study, unit)]  # fmt: skip
        store.remember(unit_id, unit.folder, claimed_with, found)
        tokens = [arrival.token for arrival in found]
    return tokens


def _claimed(study: Study, unit: Unit) -> list[tuple[bool, tuple[Claimed, datetime | None]]]:
    if not unit.archived:
        with files_of(study, unit) as (files, _):
            return [(False, (claimed, None)) for claimed in sort_out(files, study.settings, archived=False)]
    try:
        with files_of(study, unit) as (files, packed_at):
            found = sort_out(files, study.settings, archived=True)
    except Refused as refused:
        found, packed_at = [Claimed(UNKNOWN, refused=[(0, refused)])], None
    first = min(claimed.source for claimed in found)
    return [(claimed.source != first, (claimed, packed_at)) for claimed in found]


def _arrival(unit: Unit, unit_id: str, claimed_at: tuple[Claimed, datetime | None], another: bool,
             store: Arrivals, now: datetime) -> Arrival:  # fmt: skip
    claimed, packed_at = claimed_at
    by_name = {file.name: file for file in unit.files}
    if unit.archived:
        # A second source in one archive needs an id of its own.
        source_file_id = digest(unit_id, claimed.source) if another else unit_id
        files = unit.files
    else:
        files = tuple(by_name[name] for name in claimed.names)
        source_file_id = files_id({file.name: store.sha256(file) for file in files})
    newest = datetime.fromtimestamp(max(file.mtime_ns for file in files) // 10**9, UTC)
    members = [source_file_id] if unit.archived else sorted(store.sha256(file) for file in files)
    claim = {
        "members": [[member.ordinal, member.name, member.role] for member in claimed.members],
        "classes": dict(sorted(claimed.classes.items())),
        "refused": [[ordinal, refused.reason, refused.detail] for ordinal, refused in claimed.refused],
        "refused_names": [[ordinal, name] for ordinal, name in claimed.refused_names.items()],
        "hashes": members,
    }
    return Arrival(token_of(source_file_id, unit.folder, claimed.source), source_file_id, unit.folder,
                   claimed.source, unit.path, unit_id, claim, sum(file.size for file in files), now,
                   packed_at or newest)  # fmt: skip


@contextmanager
def files_of(study: Study, unit: Unit) -> Iterator[tuple[list[File], datetime | None]]:
    """The unit's files for decoders, and when an archive says it was packed; raises Refused for a bad archive."""
    if not unit.archived:
        yield [File(f.name, f.size, f.open) for f in unit.files], None
        return
    (file,) = unit.files
    with file.open() as stream, archive_in(stream, basename(file.name), study.settings.bounds) as archive:
        files = [File(m.name, m.size, lambda name=m.name: archive.open(name)) for m in archive.members]  # type: ignore[misc]
        times = [m.packed_at for m in archive.members if m.packed_at]
        yield files, max(times, default=None)

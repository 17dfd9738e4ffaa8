"""Landing to lake: one export after the other, each committed by its manifest."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from ingest._core.clock import MINUTE
from ingest._core.contract import to_contract
from ingest._core.errors import Changed, Refused
from ingest._core.files import digest, locked
from ingest._core.keys import in_use
from ingest._core.logs import event, log
from ingest._core.roster import NOBODY, STUDY_LOGS
from ingest._core.study import Study
from ingest._core.tombstones import tombstones
from ingest.arrive.arrivals import Arrival, Arrivals, open_arrivals
from ingest.arrive.landing import unit_again
from ingest.decode.claim import UNKNOWN
from ingest.decode.model import Decoded, ExportFacts, Member, Tally
from ingest.decode.registry import decoder
from ingest.harmonise.diaries import harmonise_diaries
from ingest.harmonise.identity import people
from ingest.harmonise.person import Person
from ingest.harmonise.scales import harmonise_responses
from ingest.harmonise.sessions import harmonise_sleep
from ingest.harmonise.substances import Own
from ingest.harmonise.uses import harmonise_uses
from ingest.lake.encryption import begin_writing
from ingest.lake.isolated import isolated
from ingest.lake.pack import changing, drop_left
from ingest.lake.parquet import columns_hash, to_parquet
from ingest.lake.plan import (
    UNKNOWN_PARTICIPANT,
    bounded_hash,
    files_of,
    inputs_hash,
    is_misfiled,
    owner_of,
    plan,
    retire_replaced,
)
from ingest.lake.store import Manifest, commit, manifest, manifests, participants, retire

# What a decoder may do wrong on input it does not expect. The export is refused and says so; anything else
# (storage, memory, a signal) is not the export's fault and ends the task.
_DECODER_FAULTS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError,
                   RecursionError, pa.ArrowException)  # fmt: skip
Rows = dict[str, dict[str, pa.Table]]
"""Lake tables by participant_id and name."""
_OF_THE_EXPORT = ["source_file_id", "exported_at", "source_row"]
_STATUSES = ("loaded", "partial", "ignored", "refused")
_RECORDS = ("read", "kept", "duplicate", "ignored_records", "quarantined")


@dataclass
class LoadResult:
    """What became of a batch: exports by status, records by fate."""

    exports: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    gone: int = 0

    def add(self, status: str, tally: Tally | None) -> None:
        """Count one export."""
        self.exports[status] += 1
        if tally is not None:
            self.records.update(read=tally.read, kept=tally.kept, duplicate=tally.duplicate,
                                ignored_records=tally.ignored.total(), quarantined=tally.quarantined)  # fmt: skip

    def add_counts(self, counts: dict[str, int]) -> None:
        """Add what `counts` of another gave."""
        self.exports.update({status: counts[status] for status in _STATUSES})
        self.records.update({name: counts[name] for name in _RECORDS})
        self.gone += counts["gone"]

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"exports": self.exports.total(), **{status: self.exports[status] for status in _STATUSES},
                **{name: self.records[name] for name in _RECORDS}, "gone": self.gone}  # fmt: skip


def plan_batches(study: Study) -> list[list[str]]:
    """Tokens of all exports to decode, in batches by bytes."""
    return plan(study).batches(study.settings.batch_bytes)


def load_batch(study: Study, tokens: Iterable[str], progress: Callable[[], None] = lambda: None) -> LoadResult:
    """Decode the exports and commit them to the lake; one that cannot be read is refused, the others go on."""
    with in_use(study.identity):
        begin_writing(study.lake)
        return _load_batch(study, tokens, progress)


def _load_batch(study: Study, tokens: Iterable[str], progress: Callable[[], None]) -> LoadResult:
    result = LoadResult()
    known = people(study)
    touched: set[str] = set()
    stones = tombstones(study.identity)
    with open_arrivals(study) as store:
        for token in tokens:
            arrival = store.get(token)
            if arrival is None or stones.holds(arrival.folder):
                result.gone += 1
            else:
                touched.add(arrival.folder)
                _bounded(study, arrival, known, store, result)
            progress()
        for folder in sorted(touched):
            retire_replaced(study, folder, known, store)
    if STUDY_LOGS in touched:
        for owner in participants(study.lake):
            drop_left(study, owner)
    return result


def _bounded(study: Study, arrival: Arrival, known: dict[str, Person], store: Arrivals, result: LoadResult) -> None:
    """Load it here, or where study.yaml bounds the memory, in a process of its own; one that dies is refused."""
    limit_mb = study.settings.decode_memory_mb
    if limit_mb is None:
        _load(study, arrival, known, store, result)
        return

    def alone() -> dict[str, int]:
        of_one = LoadResult()
        with open_arrivals(study) as own:
            _load(study, arrival, known, own, of_one)
        return of_one.counts()

    try:
        result.add_counts(isolated(alone, limit_mb))
    except Refused as died:
        _load(study, arrival, known, store, result, died)


def _load(
    study: Study,
    arrival: Arrival,
    known: dict[str, Person],
    store: Arrivals,
    result: LoadResult,
    died: Refused | None = None,
) -> None:
    facts = ExportFacts(arrival.source_file_id, arrival.source, arrival.arrived_at, arrival.exported_at)
    rows: Rows = {}
    decoded, reason = None, None
    began = time.perf_counter()
    try:
        _check_place(arrival, known)
        if died is not None:
            raise died
        with _faults_refuse(arrival):
            try:
                decoded = _decode(study, arrival, store)
            except (Changed, FileNotFoundError):
                decoded = None
            if decoded is None:
                result.gone += 1
                event("export", export=arrival.source_file_id[:12], source=arrival.source, status="gone")
                return
            rows = harmonised(decoded, facts, arrival.folder, known, study.settings.substances)
        if decoded.tally.kept and is_misfiled(study, arrival, known, store):
            raise Refused(
                "misfiled",
                "another participant handed in the same bytes before; held back for review: "
                "move it, or list its source_file_id under allow_shared in study.yaml",
            )
    except Refused as refused:
        decoded, rows, reason = None, {}, refused
    tally = decoded.tally if decoded else Tally()
    if reason is not None:
        tally.refuse("file", "file", reason.reason, reason.detail)
    base = Manifest(
        arrival.source_file_id, owner_of(arrival, known), arrival.source, decoded.format if decoded else "",
        decoder(arrival.source).version if arrival.source != UNKNOWN else "", arrival.arrived_at.isoformat(),
        arrival.exported_at.isoformat(), _status(decoded, tally), inputs_hash(study, arrival, known, store),
        counts=_counts(tally) if decoded else None, ignored=dict(sorted(tally.ignored.items())),
        classes=dict(sorted(tally.classes.items())), members=arrival.claim["hashes"],
        reason=reason.reason if reason else None,
    )  # fmt: skip
    if died is not None:
        base = replace(base, inputs_hash=bounded_hash(study, base.inputs_hash))
    if arrival.folder == STUDY_LOGS:
        _redo_later(study, base, store)
    _commit(study, base, tally, rows, facts)
    _log(base, tally, time.perf_counter() - began)
    result.add(base.status, tally if decoded else None)


def _check_place(arrival: Arrival, known: dict[str, Person]) -> None:
    if arrival.folder not in known and arrival.folder != STUDY_LOGS:
        raise Refused(
            UNKNOWN_PARTICIPANT,
            "the folder's name is no usable participant_ref of roster.csv; add "
            "or correct the row, or rename the folder, and run again",
        )
    if arrival.folder == STUDY_LOGS and arrival.source != UNKNOWN and decoder(arrival.source).kind != "log":
        raise Refused(
            "sleep_in_study_logs",
            "sleep records say nothing of whose they are; move the export to the participant's own folder",
        )


@contextmanager
def _faults_refuse(arrival: Arrival) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise  # Arrow's is a ValueError of sorts, too.
    except _DECODER_FAULTS as fault:
        # The message may quote the file; the type and the place in our code do not.
        place = traceback.extract_tb(fault.__traceback__)[-1]
        log.error("decoder %s failed on export %s: %s at %s:%d", arrival.source, arrival.source_file_id[:12],
                  type(fault).__name__, Path(place.filename).name, place.lineno)  # fmt: skip
        raise Refused(
            "decoder_failed",
            f"the decoder {arrival.source} met something it does not know "
            f"({type(fault).__name__}); please report it with the decoder's version",
        ) from None


def _decode(study: Study, arrival: Arrival, store: Arrivals) -> Decoded | None:
    """The export decoded; None if its unit left landing or changed since the plan."""
    claim = arrival.claim
    if arrival.source == UNKNOWN:
        _, reason, detail = claim["refused"][0]
        raise Refused(reason, detail)
    unit = unit_again(study, arrival.folder, arrival.unit_path, store)
    if unit is None or store.unit_id(unit) != arrival.unit_id:
        return None
    with ExitStack() as stack:
        files, _ = stack.enter_context(files_of(study, unit))
        opener = {file.name: file.open for file in files}
        members = [Member(ordinal, name, role, opener[name]) for ordinal, name, role in claim["members"]]
        decoded = decoder(arrival.source).decode(members, study.settings)
    decoded.tally.classes.update(claim["classes"])
    for ordinal, reason, detail in claim["refused"]:
        decoded.tally.refuse("member", f"file {ordinal}", reason, detail)
    first = next((each for each in decoded.tally.refusals if each.kind == "member"), None)
    if decoded.tally.read == 0 and first is not None:
        where = "" if len(claim["members"]) == 1 else f"{first.locator}: "
        raise Refused(first.reason, where + first.detail)
    return decoded


def harmonised(decoded: Decoded, facts: ExportFacts, folder: str, known: dict[str, Person], own: Own) -> Rows:
    """The lake's rows of an export that arrived in a folder; what is refused on the way goes to its tally."""
    rows: Rows = {}
    person = known.get(folder)
    if person is not None:
        rows[person.participant_id] = harmonise_sleep(decoded, facts, person)
    only = folder if person is not None else None
    for name, reported, harmonise in (
        ("substance_use", decoded.uses, partial(harmonise_uses, own=own)),
        ("sleep_diary", decoded.diaries, harmonise_diaries),
        ("scale_response", decoded.responses, harmonise_responses),
    ):
        if reported is not None:
            beside = name == "substance_use" and not decoded.uses_are_records
            tally = Tally() if beside else decoded.tally
            for participant_id, table in harmonise(reported, tally, facts, known, only).items():
                rows.setdefault(participant_id, {})[name] = table
            if beside:
                for each in tally.refusals:
                    decoded.tally.refuse("value", each.locator, each.reason, each.detail)
    if decoded.tally.shared:
        logs = [table for of_one in rows.values() for table in of_one.values() if "source_row" in table.column_names]
        decoded.tally.settle({row for table in logs for row in table["source_row"].to_pylist()})
    return rows


def _commit(study: Study, base: Manifest, tally: Tally, rows: Rows, facts: ExportFacts) -> None:
    if base.participant_id == NOBODY and base.counts is not None:
        # One after the other: whether a share is written depends on those that stand.
        with locked(study.identity / ".shares.lock", "study-wide logs", wait=True):
            base = replace(base, counts=_commit_shares(study, base, rows))
    own = rows.get(base.participant_id, {})
    if tally.refusals:
        own = {**own, "quarantine": _quarantine(tally, facts, base.participant_id)}
    with changing(study.identity, base.participant_id):
        commit(study.lake, replace(base, covers=_covers(own)), own)


def _commit_shares(study: Study, base: Manifest, rows: Rows) -> dict[str, int]:
    """Commit each participant's share of a study-wide log; returns the counts of what belongs to nobody.

    A participant whose rows an export made earlier already holds gets no manifest: nothing is new for them, and
    their records count as duplicates here.
    """
    rest = dict(base.counts or {})
    for participant_id in sorted({*rows, *participants(study.lake)} - {NOBODY}):
        mine = manifest(study.lake, participant_id, base.source_file_id)
        if participant_id not in rows:
            if mine is not None and mine.rows_hash is not None:
                with changing(study.identity, participant_id):
                    retire(study.lake, mine)
            continue
        kept = len(
            pc.unique(pa.chunked_array([t["source_row"].combine_chunks() for t in rows[participant_id].values()]))
        )
        rest["kept"] -= kept
        parquet = {name: to_parquet(table) for name, table in sorted(rows[participant_id].items())}
        rows_hash = rows_hash_of(parquet)
        others = [m for m in manifests(study.lake, participant_id) if _age(m) < _age(base)]
        if not any(m.source == base.source and m.rows_hash == rows_hash for m in others):
            share = {"read": kept, "kept": kept, "duplicate": 0, "ignored": 0, "quarantined": 0}
            of = replace(base, participant_id=participant_id, status="loaded", counts=share, ignored={}, classes={},
                         rows_hash=rows_hash, covers=_covers(rows[participant_id]))  # fmt: skip
            with changing(study.identity, participant_id):
                commit(study.lake, of, rows[participant_id], parquet)
            rest["read"] -= kept
        else:
            rest["duplicate"] += kept
            if mine is not None:
                with changing(study.identity, participant_id):
                    retire(study.lake, mine)
    return rest


def rows_hash_of(parquet: Mapping[str, bytes]) -> str:
    """Hash of a participant's rows of a study-wide log by table: the same where an export says the same of them."""
    return digest(*(part for name in sorted(parquet) for part in (name, columns_hash(parquet[name], _OF_THE_EXPORT))))


def _log(of: Manifest, tally: Tally, seconds: float) -> None:
    event("export", export=of.source_file_id[:12], participant_id=of.participant_id, source=of.source,
          format=of.format or None, decoder_version=of.decoder_version or None, status=of.status, reason=of.reason,
          **_counts(tally), seconds=round(seconds, 3))  # fmt: skip


def _age(of: Manifest) -> tuple[str, str]:
    return of.exported_at, of.source_file_id


def _redo_later(study: Study, base: Manifest, store: Arrivals) -> None:
    """Take out the study-wide logs of this source made after one that is not yet in the lake as it is now.

    What they hold of whom was decided without it. They stand in landing and are decoded after it; where the run ends
    in between, the next one does so.
    """
    before = manifest(study.lake, NOBODY, base.source_file_id)
    if before is not None and before.inputs_hash == base.inputs_hash:
        return
    present = store.present_ids(STUDY_LOGS)
    for each in manifests(study.lake, NOBODY):
        if each.source == base.source and _age(each) > _age(base) and each.source_file_id in present:
            retire(study.lake, each)


def _counts(tally: Tally) -> dict[str, int]:
    return {"read": tally.read, "kept": tally.kept, "duplicate": tally.duplicate,
            "ignored": tally.ignored.total(), "quarantined": tally.quarantined}  # fmt: skip


def _status(decoded: Decoded | None, tally: Tally) -> str:
    if decoded is None:
        return "refused"
    if tally.refusals:
        return "partial"
    return "loaded" if tally.kept else "ignored"


def _covers(rows: dict[str, pa.Table]) -> list[str] | None:
    days = []
    sessions = rows.get("sleep_session")
    if sessions is not None and len(sessions):
        offset = pc.multiply(pc.fill_null(sessions["utc_offset_min"], 0), MINUTE).cast(pa.duration("us"))
        for name in ("start_utc", "end_utc"):
            ends = pc.min_max(pc.add(sessions[name], offset)).as_py().values()
            days += [end.date().isoformat() for end in ends]
    for name, column in (
        ("substance_use", "local_date"),
        ("sleep_diary", "night_date"),
        ("scale_response", "answered_on"),
    ):
        if name in rows and len(rows[name]):
            days += [day.isoformat() for day in pc.min_max(rows[name][column]).as_py().values()]
    return [min(days), max(days)] if days else None


def _quarantine(tally: Tally, facts: ExportFacts, owner: str) -> pa.Table:
    n = len(tally.refusals)
    seen: Counter[tuple[str, str, str]] = Counter()
    locators = []
    for each in tally.refusals:
        key = (each.kind, each.locator, each.reason)
        seen[key] += 1
        # Place and rule are the row's key; the same twice (two values of one record) must stay apart.
        locators.append(each.locator if seen[key] == 1 else f"{each.locator} ({seen[key]})")
    table = pa.table({
        "source_file_id": [facts.source_file_id] * n,
        "participant_id": [owner] * n,
        "source": [facts.source] * n,
        "record_kind": [each.kind for each in tally.refusals],
        "locator": locators,
        "reason": [each.reason for each in tally.refusals],
        "detail": [each.detail for each in tally.refusals],
        "first_seen_at": pa.array([facts.arrived_at] * n, pa.timestamp("us", tz="UTC")),
    })  # fmt: skip
    return to_contract("quarantine", table)

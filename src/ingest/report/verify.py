"""The invariants that must hold after every run and every fault."""

from __future__ import annotations

from collections.abc import Iterator

from ingest._core.contract import MART, tables
from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.arrive.arrivals import open_arrivals
from ingest.arrive.landing import Unit, units
from ingest.lake.cohort_store import COHORT_ID
from ingest.lake.encryption import check_key
from ingest.lake.pack import changing
from ingest.lake.parquet import Unreadable
from ingest.lake.store import Manifest, damaged, manifest, manifests, participants, read_part, retire
from ingest.mart.rebuild import forget, mart_states, published_before
from ingest.publish.reading import Reader, exists, opened
from ingest.report._consent import Broken, erased_traces, outside_consent

INVARIANTS = {
    "I1": "every lake file a manifest names has the manifest's bytes or rows, and every mart is its participant's",
    "I2": "every warehouse row names a source file that a manifest holds, and the counts agree; former rows of whoever "
    "the next run publishes again aside",
    "I3": "one current main night per participant and night date",
    "I4": "no row from a withdrawal on or outside a granted scope, and nothing of who was erased",
    "I5": "landing is untouched: what was taken up still has the bytes it had",
    "R": "for every export: read = kept + duplicate + ignored + quarantined",
}


def verify(study: Study) -> list[Broken]:
    """Every invariant that does not hold; empty when all is well."""
    check_key(study.lake)
    held = {pid: manifests(study.lake, pid) for pid in participants(study.lake)}
    found = [*erased_traces(study, held), *_lake(study, held), *_marts(study), *_counts(held), *_nights(study),
             *_landing(study)]  # fmt: skip
    if exists(study):
        found += _warehouse(study, held)
    return found


def waiting(study: Study) -> list[str]:
    """participant_ids whose rows in the warehouse are former ones, until the next run publishes them again, sorted."""
    if not exists(study):
        return []
    with opened(study) as reader:
        return sorted(_former(study, reader) - {NOBODY, COHORT_ID})


def _former(study: Study, reader: Reader) -> set[str]:
    return published_before(study, dict(reader.rows("select participant_id, mart_hash from publication")))


def drop_damaged(study: Study) -> int:
    """Take exports whose files are not as committed out of the lake, so that the next run decodes them again."""
    check_key(study.lake)
    count = 0
    for pid in participants(study.lake):
        with changing(study.identity, pid):
            found = {of.source_file_id: of for _, of in damaged(study.lake, manifests(study.lake, pid))}
            for of in found.values():
                _retire(study, of)
        count += len(found)
    return count


def _lake(study: Study, held: dict[str, list[Manifest]]) -> Iterator[Broken]:
    for of_person in held.values():
        for table, of in damaged(study.lake, of_person):
            yield Broken("I1", f"{table} of export {of.source_file_id[:12]}: bytes differ or are missing; "
                         "`ingest verify --repair` and run again")  # fmt: skip


def _retire(study: Study, of: Manifest) -> None:
    """Take an export out of the lake; of a study-wide log the whole, first: its shares come from nothing else."""
    whole = None if of.rows_hash is None else manifest(study.lake, NOBODY, of.source_file_id)
    if whole is not None:
        with changing(study.identity, NOBODY):
            retire(study.lake, whole)
    retire(study.lake, of)


def forget_damaged_marts(study: Study) -> int:
    """Have the next run build the marts of whoever has one that cannot be read; returns of how many."""
    found = {pid for pid, _ in _wrong_marts(study)}
    forget(study, found)
    return len(found)


def _marts(study: Study) -> Iterator[Broken]:
    for pid, table in _wrong_marts(study):
        yield Broken("I1", f"{table} of participant {pid}: cannot be read, or holds rows of somebody else; "
                     "`ingest verify --repair` and run again")  # fmt: skip


def _wrong_marts(study: Study) -> Iterator[tuple[str, str]]:
    for pid in sorted(mart_states(study.lake).keys() - {NOBODY}):
        for table in tables(MART):
            try:
                whose = read_part(study.lake, table, pid, ["participant_id"])["participant_id"].unique().to_pylist()
            except Unreadable:
                yield pid, table
                continue
            if whose not in ([], [pid]):
                yield pid, table


def _counts(held: dict[str, list[Manifest]]) -> Iterator[Broken]:
    for of in (of for of_person in held.values() for of in of_person):
        counts = of.counts
        if counts and counts["read"] != sum(counts[k] for k in ("kept", "duplicate", "ignored", "quarantined")):
            yield Broken("R", f"export {of.source_file_id[:12]}: {counts}")


def _nights(study: Study) -> Iterator[Broken]:
    for pid in sorted(mart_states(study.lake).keys() - {NOBODY}):
        try:
            rows = read_part(study.lake, "night_source", pid, ["night_date", "role"]).to_pylist()
        except Unreadable:
            continue  # I1 says so
        mains = [row["night_date"] for row in rows if row["role"] == "main"]
        if len(set(mains)) < len(mains):
            yield Broken("I3", f"participant {pid}: {len(mains) - len(set(mains))} night dates with two main nights")


def _landing(study: Study) -> Iterator[Broken]:
    with open_arrivals(study) as store:
        for unit in units(study, store):
            if isinstance(unit, Unit):
                changed = [file for file in unit.files if store.differs(file)]
                if changed:
                    yield Broken("I5", f"{len(changed)} files of one landing folder have other bytes than when they "
                                 "were taken up, though their times are the same")  # fmt: skip


def _warehouse(study: Study, held: dict[str, list[Manifest]]) -> Iterator[Broken]:
    known = {(of.source_file_id, of.participant_id) for each in held.values() for of in each}
    with opened(study) as reader:
        # Rows of whoever waits for the next run stand whole as they were before the lake's last change.
        former = _former(study, reader)
        for table in ("sleep_session", "substance_use", "quarantine", "source_file"):
            names = reader.rows(f"select distinct source_file_id, participant_id from {table}")  # noqa: S608 - names of schemas/
            strange = {name for name in set(names) - known if name[1] not in former}
            if strange:
                yield Broken("I2", f"{table}: rows of {len(strange)} exports that no manifest holds; run again")
        rows = reader.rows(
            "select f.source_file_id, f.quarantined, count(q.locator) from source_file f left join quarantine q on"
            " q.source_file_id = f.source_file_id and q.participant_id = f.participant_id and q.record_kind in"
            " ('sleep', 'score', 'substance_use') where f.quarantined is not null group by f.source_file_id,"
            " f.participant_id, f.quarantined having f.quarantined"
            " <> count(q.locator)"
        )
        for sfid, counted, found in rows:
            yield Broken("I2", f"export {sfid[:12]}: {counted} quarantined by its manifest, {found} rows")
        yield from outside_consent(study, reader)

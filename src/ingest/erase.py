"""Erasing a participant from all stores of a study, so that a second call, after whatever end of the first, finds
nothing left to do.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest._core import clock
from ingest._core.acknowledgements import acknowledgements_path
from ingest._core.audit_ids import audit_ids, forget_audit_id
from ingest._core.clinicians import CLINICIANS
from ingest._core.contract import PUBLISH, fields, published_tables
from ingest._core.csv_edit import without_rows
from ingest._core.errors import Terminal, WrongUse
from ingest._core.files import TMP_PREFIX, locked, remove, write_bytes
from ingest._core.keys import former_keys
from ingest._core.pseudonyms import participant_id as id_of
from ingest._core.pseudonyms import read_key
from ingest._core.roster import NOBODY, STUDY_LOGS
from ingest._core.study import PARTICIPANT_FILES, Study, consent_lock, open_study
from ingest._core.tombstones import add_tombstone, tombstones
from ingest.arrive.arrivals import open_arrivals
from ingest.arrive.landing import folders as folders_of_landing
from ingest.arrive.landing import sizes_below
from ingest.harmonise.identity import read_links, remove_link
from ingest.lake.removal import left_of, remove_participant
from ingest.lake.store import manifests, participants, retire
from ingest.mart.rebuild import mart_states, rebuild
from ingest.publish.audit import audited
from ingest.publish.migrations.private import ASSIGNMENT, CONSENT
from ingest.publish.reading import Reader, exists, opened
from ingest.publish.shape import POSTGRESQL
from ingest.publish.warehouse import publish_study
from ingest.rekey import drop_begun
from ingest.report.pages.writing import remove_pages
from ingest.report.releases import elsewhere, remove_releases

_BEING_WRITTEN_S = 60


_FORGET = "ingest_airflow.forget"


@dataclass
class Erased:
    """What was removed, as counts by store, and a line for each thing that remains and why."""

    removed: dict[str, int] = field(default_factory=dict)
    remains: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return dict(self.removed)


def erase(study: Study, participant: str) -> Erased:
    """Erase a participant, given by participant_id or ref: lake, marts, cohort tables, releases not handed out,
    reports, warehouse, rows in the study's tables, identity. Landing is never written to.

    From the first step, the tombstone, on nothing of theirs is taken in any more. Called again it does what is left
    to do, and says so of what it finds. Raises WrongUse for somebody unknown, Terminal where a row is left at the end,
    and what publishing raises; the erasure is then not complete and is to be called again.
    """
    pid = find(study, participant)
    with locked(study.identity / ".erase.lock", "another erasure"), audited(study, "erase", [pid]) as entry:
        add_tombstone(study.identity, pid, clock.now().date())
        now = open_study(study.root)
        drop_begun(now)
        done = Erased()
        folders = _own_folders(now, pid)
        done.removed["lake_files"] = remove_participant(now.lake, pid)
        removed, handed_out = remove_releases(now, pid)
        outside = elsewhere(now, pid)
        done.removed["releases"] = removed
        _retire_refusals(now, folders)
        published = publish_study(now, scrub=True)
        done.removed["reports"] = remove_pages(now, pid)
        done.removed["warehouse"] = len({pid} & {*published.removed})
        done.removed["table_rows"] = _remove_rows(now, pid)
        done.removed["arrivals"] = _forget_arrivals(now, pid)
        remove_link(now, pid)
        forget_audit_id(now.identity, pid)
        _sweep(now, pid)
        left = traces(now, pid)
        if left:
            raise Terminal(f"the erasure is not complete: {'; '.join(left)}; erase again")
        done.remains = _remains(now, folders, handed_out, outside)
        entry.counts = done.counts()
    return done


def ids_of(study: Study, participant: str) -> list[str]:
    """The participant_id of a ref or participant_id, and those under the study's former keys, where the ref is known:
    it is given, or stands in roster or `identity/`. Raises as `find`.
    """
    pid, key = find(study, participant), read_key(study.identity / "key")
    ref = read_links(study).get(pid, participant)
    known = {id_of(key, each): each for each in (*study.roster.entries, *study.roster.waiting, ref)}
    former = former_keys(study.identity, key)
    return [pid, *(id_of(each, known[pid]) for each in former if pid in known)]


def forget_in_airflow(ids: Sequence[str], logs: Sequence[Path] = ()) -> list[str]:
    """Take participant_ids out of the Airflow of this machine: its database, rewritten, its local logs, and those in
    the folders `logs`; what was done and what remains, in lines.

    Raises WrongUse where Airflow is not installed, Terminal where its database cannot be reached or still holds one.
    """
    if importlib.util.find_spec("airflow") is None:
        raise WrongUse("--airflow: Airflow is not installed here; say so where its database can be reached")
    # A process of its own: importing Airflow takes seconds and sets up logging.
    folders = [word for folder in logs for word in ("--logs", str(folder))]
    command = [sys.executable, "-m", _FORGET, "--rewrite", *folders, *ids]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ids of ours
    lines = [line for line in said.stdout.splitlines() if line.startswith(("deleted:", "emptied:", "over", "remains:"))]
    if said.returncode == 1:
        raise Terminal(f"Airflow's database still names the participant: {'; '.join(lines)}; erase again")
    if said.returncode != 0:
        raise Terminal("Airflow's database could not be reached; the rest is erased. Set what Airflow needs here "
                       "(AIRFLOW_HOME, AIRFLOW__DATABASE__SQL_ALCHEMY_CONN), and erase again")  # fmt: skip
    return lines


def find(study: Study, participant: str) -> str:
    """The participant_id of a ref or participant_id; raises WrongUse where lake, roster and identity know neither."""
    key = read_key(study.identity / "key")
    stones = tombstones(study.identity)
    refs = {*study.roster.entries, *study.roster.waiting, *read_links(study).values()}
    if participant in refs or stones.holds(participant):
        return id_of(key, participant)
    ids = {*(id_of(key, ref) for ref in refs), *participants(study.lake), *mart_states(study.lake)} - {NOBODY}
    if participant in ids or stones.holds_id(participant):
        return participant
    raise WrongUse("no such participant; roster.csv lists the refs, `ingest status` the participant_ids")


def traces(study: Study, participant_id: str) -> list[str]:
    """Where lake, warehouse and identity still name the participant; empty after an erasure."""
    found = [f"lake/{folder}" for folder in left_of(study.lake, participant_id)]
    if participant_id in mart_states(study.lake):
        found.append("lake/_mart")
    if participant_id in read_links(study):
        found.append("identity/participants.csv")
    if participant_id in audit_ids(study.identity):
        found.append("identity/audit_ids.csv")
    if exists(study):
        with opened(study) as reader:
            for table in (*tables_of_participants(), *tables_beside(reader)):
                sql = f"select count(*) from {table} where participant_id = '{participant_id}'"  # noqa: S608 - a hash
                if reader.rows(sql)[0][0]:
                    found.append(f"table {table}")
    return found


def tables_of_participants() -> list[str]:
    """The warehouse's tables whose rows belong to participants."""
    return [
        table
        for table in published_tables()
        if any(each["name"] == "participant_id" for each in fields(table, PUBLISH))
    ]


def tables_beside(reader: Reader) -> list[str]:
    """Further tables of the warehouse that hold participant_ids."""
    return [CONSENT, ASSIGNMENT] if reader.engine == POSTGRESQL else []


def _own_folders(study: Study, pid: str) -> list[str]:
    key = read_key(study.identity / "key")
    return [name for name in folders_of_landing(study) if id_of(key, name) == pid]


def _retire_refusals(study: Study, folders: list[str]) -> None:
    """Take out what was refused of theirs while the roster did not know the folder."""
    names = set(folders)
    with open_arrivals(study) as store:
        for held in manifests(study.lake, NOBODY):
            arrived = {arrival.folder for arrival in store.of_file(held.source_file_id)}
            if arrived and arrived <= names:
                retire(study.lake, held)
    if NOBODY in mart_states(study.lake):
        rebuild(study, [NOBODY])


def _remove_rows(study: Study, pid: str) -> int:
    key = read_key(study.identity / "key")
    gone = 0
    with consent_lock(study.root):
        for name in (*PARTICIPANT_FILES, CLINICIANS):
            gone += _without(
                study.root / name, lambda row: id_of(key, (row.get("participant_ref") or "").strip()) == pid
            )
    path = acknowledgements_path(study.root)
    with locked(path.with_name(f".{path.name}.lock"), path.name):
        gone += _without(path, lambda row: row.get("participant_id") == pid)
    return gone


def _without(path: Path, is_it: Callable[[dict[str, str]], bool]) -> int:
    if not path.exists():
        return 0
    data, gone = without_rows(path.read_bytes(), is_it)
    if gone:
        write_bytes(path, data, path.stat().st_mode & 0o777)
    return gone


def _forget_arrivals(study: Study, pid: str) -> int:
    key = read_key(study.identity / "key")
    with open_arrivals(study) as store:
        return sum(store.forget(folder) for folder in store.folders() if id_of(key, folder) == pid)


def _sweep(study: Study, pid: str) -> None:
    """Remove what a broken-off change of the study's tables left; younger files may be being written, but not of
    the participant.
    """
    before = clock.now().timestamp() - _BEING_WRITTEN_S
    theirs = pid.encode()
    for path in [*study.root.glob(f"{TMP_PREFIX}*"), *study.identity.glob(f"{TMP_PREFIX}*")]:
        if path.is_file() and (path.stat().st_mtime < before or theirs in path.read_bytes()):
            remove(path)


def _remains(study: Study, folders: list[str], handed_out: int, outside: list[str]) -> list[str]:
    return list(_checklist(study, folders, handed_out, outside))


def _checklist(study: Study, folders: list[str], handed_out: int, outside: list[str]) -> Iterator[str]:
    files = [size for folder in folders for size in sizes_below(study, folder)]
    if files:
        yield (f"landing: {len(files)} files, {sum(files):,} bytes, in the participant's own folder; they are the "
               "originals and never touched: delete the folder if law and protocol ask for it")  # fmt: skip
    logs = sizes_below(study, STUDY_LOGS)
    if logs:
        yield (f"landing/{STUDY_LOGS}: {len(logs)} study-wide files may hold rows of theirs; they are passed over: "
               "take them out at the source and hand the logs in anew")  # fmt: skip
    if handed_out:
        yield f"releases: {handed_out} handed out hold them; ask who has them to delete them"
    for place in outside:
        yield f"releases outside the study: {place}; delete it and ask whoever has a copy"
    yield "backups and snapshots of this folder, the database and its write-ahead log: they end with their retention"
    yield "whoever has an older warehouse file open, or copied rows out of it, still has them"
    yield ("Airflow: forms, rendered fields and logs of earlier runs may name the participant_id; `ingest erase "
           "--airflow`, where its database can be reached, takes it out")  # fmt: skip

"""Releases that hold a participant: those not handed out yet go with an erasure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest._core.files import sync_folder
from ingest._core.keys import former_keys, read_key
from ingest._core.pseudonyms import id_in_release
from ingest._core.pseudonyms import participant_id as id_of
from ingest._core.study import Study
from ingest.harmonise.identity import read_links
from ingest.report._release_places import places
from ingest.report._release_placing import HANDED_OUT, PENDING, drop_waiting, names_known, names_waiting, record_of

_CHUNK_BYTES = 1 << 20


def remove_releases(study: Study, participant_id: str) -> tuple[int, int]:
    """Remove the releases that hold the participant; returns how many, and how many were handed out and stay."""
    removed = handed_out = 0
    ids_in = _ids_by_release(study, participant_id)
    for folder in _releases(study):
        ids = ids_in(folder.name)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        if any(_holds(path, each) for path in files for each in ids):
            if (folder / HANDED_OUT).exists():
                handed_out += 1
            else:
                shutil.rmtree(folder)
                sync_folder(folder.parent)
                removed += 1
    # What is known of those that wait names everybody in them, and so tells of aggregates, too.
    for name in names_known(study):
        if any(_says(record_of(study, name), each.encode()) for each in ids_in(name)):
            removed += name in names_waiting(study)
            drop_waiting(study, name)
    _drop_unfinished(study)
    return removed, handed_out


def _drop_unfinished(study: Study) -> None:
    """Take away what was to wait and was never written whole."""
    folder = study.root / "releases" / PENDING
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and path.name not in names_waiting(study):
            shutil.rmtree(path)


def _ids_by_release(study: Study, participant_id: str) -> Callable[[str], list[str]]:
    """What the participant is called in a release of a name, under the study's key and its former ones."""
    key = read_key(study.identity / "key")
    pids = [(key, participant_id), *_before(study, key, participant_id)]
    return lambda name: [each for by, pid in pids for each in (pid, id_in_release(by, name, pid))]


def _before(study: Study, key: bytes, participant_id: str) -> list[tuple[bytes, str]]:
    """The study's former keys and the participant's ids under them, where the ref is known."""
    refs = {id_of(key, ref): ref for ref in {*study.roster.entries, *study.roster.waiting}} | read_links(study)
    ref = refs.get(participant_id)
    return [] if ref is None else [(each, id_of(each, ref)) for each in former_keys(study.identity, key)]


def elsewhere(study: Study, participant_id: str) -> list[str]:
    """Releases written outside the study that hold the participant, or cannot be looked into; each in words."""
    ids_in = _ids_by_release(study, participant_id)
    found = []
    for name, folder in places(study):
        release = Path(folder, name)
        ids = ids_in(name)
        try:
            paths = [path for path in sorted(release.rglob("*")) if path.is_file()] if release.is_dir() else None
            if paths is None:
                found.append(f"{name}, written to {folder}, is not there any more")
            elif any(_holds(path, each) for path in paths for each in ids):
                found.append(f"{name} in {folder} holds them")
        except OSError as error:
            found.append(f"{name} in {folder} cannot be looked into ({error.strerror})")
    return found


def _releases(study: Study) -> Iterator[Path]:
    folder = study.root / "releases"
    return (
        path for path in (sorted(folder.iterdir()) if folder.is_dir() else []) if path.is_dir() and path.name != PENDING
    )


def _holds(path: Path, participant_id: str) -> bool:
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        return "participant_id" in file.schema_arrow.names and any(
            bool(pc.any(pc.equal(batch["participant_id"].cast("string"), participant_id)).as_py())
            for batch in file.iter_batches(columns=["participant_id"])
        )
    return _says(path, participant_id.encode())


def _says(path: Path, word: bytes) -> bool:
    """True if the file's bytes hold the word."""
    with path.open("rb") as stream:
        rest = b""
        while chunk := stream.read(_CHUNK_BYTES):
            if word in rest + chunk:
                return True
            rest = chunk[-len(word) :]
    return False

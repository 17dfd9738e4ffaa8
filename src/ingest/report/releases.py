"""Releases that hold a participant: those not handed out yet go with an erasure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingest._core.files import sync_folder
from ingest._core.pseudonyms import id_in_release, read_key
from ingest._core.study import Study
from ingest.report._release_places import places

HANDED_OUT = "handed-out.txt"
_CHUNK_BYTES = 1 << 20


def remove_releases(study: Study, participant_id: str) -> tuple[int, int]:
    """Remove the releases that hold the participant; returns how many, and how many were handed out and stay."""
    removed = handed_out = 0
    key = read_key(study.identity / "key")
    for folder in _releases(study):
        ids = (participant_id, id_in_release(key, folder.name, participant_id))
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        if any(_holds(path, each) for path in files for each in ids):
            if (folder / HANDED_OUT).exists():
                handed_out += 1
            else:
                shutil.rmtree(folder)
                sync_folder(folder.parent)
                removed += 1
    return removed, handed_out


def elsewhere(study: Study, participant_id: str) -> list[str]:
    """Releases written outside the study that hold the participant, or cannot be looked into; each in words."""
    key = read_key(study.identity / "key")
    found = []
    for name, folder in places(study):
        release = Path(folder, name)
        ids = (participant_id, id_in_release(key, name, participant_id))
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
    return (path for path in (sorted(folder.iterdir()) if folder.is_dir() else []) if path.is_dir())


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

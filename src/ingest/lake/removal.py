"""Taking a participant out of the lake altogether."""

from __future__ import annotations

import shutil
from pathlib import Path

from ingest._core.files import remove, sync_folder
from ingest._core.tombstones import Tombstones
from ingest.lake.cohort_store import drop_cohort, read_cohort_state
from ingest.lake.store import MANIFESTS, participants


def remove_participant(lake: Path, participant_id: str) -> int:
    """Remove the participant's files from every folder of the lake, the manifests first; returns how many there were.

    The tables over all participants go where rows of theirs are in them, or may be.
    """
    folders = [lake / MANIFESTS, *sorted(path for path in lake.glob("*") if path.is_dir())]
    gone = sum(_remove_folder(folder / f"participant_id={participant_id}") for folder in folders)
    state = lake / "_mart" / f"{participant_id}.json"
    gone += state.exists()
    remove(state)
    cohort = read_cohort_state(lake)
    if cohort is None or participant_id in cohort.participants:
        drop_cohort(lake)
    return gone


def remove_erased(lake: Path, stones: Tombstones) -> list[str]:
    """Take out again who was erased, should a process that began before have written of them; returns who it was."""
    states = [path.stem for path in (lake / "_mart").glob("p*.json")]
    found = stones.among({*participants(lake), *states}) if stones.days else []
    for participant_id in found:
        remove_participant(lake, participant_id)
    return found


def _remove_folder(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    count = sum(path.is_file() for path in folder.rglob("*"))
    shutil.rmtree(folder)
    sync_folder(folder.parent)
    return count

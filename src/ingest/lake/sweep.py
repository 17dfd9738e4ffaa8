"""What a killed run left behind: files that no manifest names, and temporary ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ingest._core.contract import LAKE, tables
from ingest._core.files import remove, sweep_temporary
from ingest._core.study import Study

_PERSON = "participant_id="


def sweep(study: Study, committed: Callable[[str], Mapping[str, str]], before_timestamp: float) -> int:
    """Remove what a run that ended in between left in lake, identity and ops; returns how many files.

    `committed` gives a participant's exports: inputs_hash by source_file_id. Whatever is younger than the POSIX
    time given may be a file that another run is about to commit, and stays.
    """
    written = (study.lake, study.identity, study.root / "ops")
    count = sum(sweep_temporary(folder, before_timestamp) for folder in written)
    for table in tables(LAKE):
        for folder in _entries(study.lake / table):
            held = committed(folder.name.removeprefix(_PERSON))
            names = {f"{source_file_id}.{inputs_hash}.parquet" for source_file_id, inputs_hash in held.items()}
            for entry in _entries(folder.path):
                if entry.name not in names and _older(entry, before_timestamp):
                    remove(study.lake / table / folder.name / entry.name)
                    count += 1
    return count


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []


def _older(entry: os.DirEntry[str], timestamp: float) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime < timestamp
    except FileNotFoundError:
        return False  # Another run was quicker.

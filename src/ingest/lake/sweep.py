"""What a killed run left behind: files that no manifest names, and temporary ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ingest._core.contract import LAKE, tables
from ingest._core.files import sweep_temporary
from ingest._core.places import in_subfolders, inside, remove
from ingest._core.study import Study

_PERSON = "participant_id="


def sweep(study: Study, committed: Callable[[str], Mapping[str, str]], before_timestamp: float) -> int:
    """Remove what a run that ended in between left in lake, identity and ops; returns how many files.

    `committed` gives a participant's exports: inputs_hash by source_file_id. Whatever is younger than the POSIX
    time given may be a file that another run is about to commit, and stays.
    """
    written = (study.lake, study.identity, study.root / "ops")
    count = sum(sweep_temporary(folder, before_timestamp) for folder in written if isinstance(folder, Path))
    for table in tables(LAKE):
        for folder, files in in_subfolders(study.lake / table):
            held = committed(folder.removeprefix(_PERSON))
            names = {f"{source_file_id}.{inputs_hash}.parquet" for source_file_id, inputs_hash in held.items()}
            orphans = [name for name, older in files if name not in names and older(before_timestamp)]
            remove(*(inside(study.lake, table, folder, name) for name in orphans))
            count += len(orphans)
    return count

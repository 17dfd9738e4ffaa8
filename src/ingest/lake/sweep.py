"""What a killed run left behind: files that no manifest names, and temporary ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from ingest._core.contract import LAKE, tables
from ingest._core.files import sweep_temporary
from ingest._core.places import in_subfolders, remove
from ingest._core.study import Study
from ingest.lake.pack import changing, removing
from ingest.lake.store import Commit, commits, table_folder

_PERSON = "participant_id="


def sweep(study: Study, committed: Callable[[str], Collection[Commit]], before_timestamp: float) -> int:
    """Remove what a run that ended in between left in lake, identity and ops; returns how many files.

    `committed` gives a participant's exports. Whatever is younger than the POSIX time given may be a file that another
    run is about to commit, and stays; so does all of the lake while somebody publishes from it.
    """
    written = (study.lake, study.identity, study.root / "ops")
    count = sum(sweep_temporary(folder, before_timestamp) for folder in written if isinstance(folder, Path))
    for table in tables(LAKE):
        for folder, files in in_subfolders(study.lake / table):
            owner = folder.removeprefix(_PERSON)
            names = set(_names(table, committed(owner)))
            orphans = [name for name, older in files if name not in names and older(before_timestamp)]
            if orphans:
                count += _remove(study, table, owner, orphans)
    return count


def _remove(study: Study, table: str, owner: str, orphans: list[str]) -> int:
    """Remove files that no manifest names now, either: an orphan may be what a compaction or a decoder has use for."""
    with changing(study.identity, owner, alone=True), removing(study.identity) as may:
        names = set(_names(table, commits(study.lake, owner)))
        gone = [name for name in orphans if may and name not in names]
        remove(*(table_folder(study.lake, table, owner) / name for name in gone))
    return len(gone)


def _names(table: str, held: Collection[Commit]) -> Iterator[str]:
    """Files of a table that manifests name."""
    for each in held:
        if table in each.packed:
            yield from (part.file for part in each.packed[table])
        else:
            yield f"{each.source_file_id}.{each.inputs_hash}.parquet"

"""The lake's files as `lake_encryption` of study.yaml has them: all encrypted, or all plain."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ingest._core.contract import COHORT, MART, tables
from ingest._core.keys import in_use
from ingest._core.places import Place, in_subfolders, inside, read, write
from ingest._core.study import Study
from ingest.lake.cohort_store import cohort_path
from ingest.lake.encryption import begin_writing, done
from ingest.lake.pack import drop_left
from ingest.lake.parquet import coded, decoded, encrypts, is_encrypted
from ingest.lake.store import manifests, participants, settle

Progress = Callable[[], None]


def settle_encryption(study: Study, progress: Progress = lambda: None) -> int:
    """Rewrite every file of the lake that is not as `lake_encryption` has it; returns how many it were.

    Nothing else works with the lake meanwhile. Each file stays as it is or is whole as it should be, and its manifest
    fits it at every moment: broken off, it is called again. Raises Transient where something works with the lake;
    Terminal where a file is not as it was committed, or the files are of another key: nothing is taken away then.
    """
    count = 0
    with in_use(study.identity, alone=True):
        begin_writing(study.lake)
        for participant_id in participants(study.lake):
            for of in manifests(study.lake, participant_id):
                count += settle(study.lake, of)
            drop_left(study, participant_id)
            progress()
        count += _marts(study.lake)
        count += _each(study.lake, {table: cohort_path(study.lake, table) for table in tables(COHORT)}.items())
        done(study.lake)
    return count


def _marts(lake: Place) -> int:
    found = []
    for table in tables(MART):
        for folder, files in in_subfolders(lake / table):
            found += [(table, inside(lake, table, folder, name)) for name, _ in files]
    return _each(lake, found)


def _each(lake: Place, found: Iterable[tuple[str, Place]]) -> int:
    """Files that no manifest names."""
    count = 0
    for table, path in found:
        held = read(path)
        if held.data is not None and is_encrypted(held.data) != encrypts(lake):
            write(path, coded(lake, table, decoded(lake, table, held.data)), held)
            count += 1
    return count

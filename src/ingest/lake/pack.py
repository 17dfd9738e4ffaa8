"""A participant's many small files as one per table and year; the manifests follow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace

from ingest._core.contract import LAKE, tables
from ingest._core.errors import Transient
from ingest._core.files import digest, locked
from ingest._core.keys import in_use
from ingest._core.places import Place, read_each, remove, sizes, write_each
from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.lake import parquet
from ingest.lake.store import (
    Manifest,
    Piece,
    Stretch,
    manifest_bytes,
    manifest_path,
    manifests,
    open_files,
    participants,
    stretches,
    table_folder,
)

YEAR_OF = {
    "quarantine": "first_seen_at",
    "scale_response": "answered_on",
    "sleep_diary": "night_date",
    "sleep_session": "start_utc",
    "sleep_stage": "start_utc",
    "substance_use": "local_date",
}
"""The column that says into which year's file a row of a table goes; an instant's year is that in UTC."""
_MOST_RUNS = 64
"""An export whose rows change the year more often goes whole to its first year: its manifest must not outgrow it."""


@contextmanager
def changing(identity: Path, participant_id: str, alone: bool = False) -> Iterator[None]:
    """Held by whoever commits or takes out an export of the participant, beside others; by a compaction `alone`."""
    stripe = digest(participant_id)[:2]
    with locked(identity / ".locks" / f"lake-{stripe}", "a change of the lake", wait=True, shared=not alone):
        yield


@contextmanager
def reading(identity: Path) -> Iterator[None]:
    """Held by whoever has read manifests and will open their files later: none that is no longer named goes."""
    with locked(identity / ".locks" / "files", "removing files of the lake", wait=True, shared=True):
        yield


@contextmanager
def removing(identity: Path, needed: bool = True) -> Iterator[bool]:
    """Whether files that no manifest names may go now: nobody is `reading`, and nobody begins to until the end."""
    if not needed:
        yield False
        return
    with locked(identity / ".locks" / "removing", "removing files of the lake", wait=True), ExitStack() as held:
        try:
            held.enter_context(locked(identity / ".locks" / "files", "reading from the lake"))
        except Transient:
            yield False
        else:
            yield True


@dataclass
class Compacted:
    """How many files and bytes hold the rows of the participants looked at, before and after."""

    participants: int = 0
    changed: list[str] = field(default_factory=list)
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    kept_for_readers: int = 0

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"participants": self.participants, "changed": len(self.changed), "files_before": self.files_before,
                "files_after": self.files_after, "bytes_before": self.bytes_before,
                "bytes_after": self.bytes_after, "kept_for_readers": self.kept_for_readers}  # fmt: skip


def compact(
    study: Study, only: Iterable[str] = (), dry_run: bool = False, progress: Callable[[], None] = lambda: None
) -> Compacted:
    """Have one file hold a participant's rows of a table and year, of all participants or of `only` some.

    Rows, and the order in which each export's are read, stay as they are, so that nothing becomes stale. A table whose
    exports are no more than the years they tell of keeps its files. Twice is as once, also where the first call was
    killed. With `dry_run` nothing is written. Raises Terminal where a file is not the one that a manifest names.
    """
    done = Compacted()
    with in_use(study.identity):
        for participant_id in sorted(set(only) or {*participants(study.lake)} - {NOBODY}):
            with changing(study.identity, participant_id, alone=True):
                _compact_one(study, participant_id, done, dry_run=dry_run)
            progress()
    return done


def drop_left(study: Study, participant_id: str) -> None:
    """Write those packed files of a participant anew that hold rows which no manifest names any more."""
    of = manifests(study.lake, participant_id) if participant_id != NOBODY else []
    if any(_Table(study.lake, table, of).begun for table in tables(LAKE)):
        with changing(study.identity, participant_id, alone=True):
            _compact_one(study, participant_id, Compacted(), also_loose=False)


def _compact_one(
    study: Study, participant_id: str, done: Compacted, also_loose: bool = True, dry_run: bool = False
) -> None:
    lake = study.lake
    of = manifests(lake, participant_id)
    folders = {table: table_folder(lake, table, participant_id) for table in tables(LAKE)}
    there = {folder / name: size for folder in folders.values() for name, size in sizes(folder).items()}
    made: dict[Place, tuple[str, bytes]] = {}
    pieces: dict[str, dict[str, list[Piece]]] = {}
    for table, folder in folders.items():
        files, found = _Table(lake, table, of).packed(also_loose)
        made |= {folder / name: (table, data) for name, data in files.items()}
        for source_file_id, parts in found.items():
            pieces.setdefault(source_file_id, {})[table] = parts
    after = [replace(each, packed={**(each.packed or {}), **pieces[each.source_file_id]})
             if each.source_file_id in pieces else each for each in of]  # fmt: skip
    if not dry_run:
        _write(lake, made, {a.source_file_id: (a, b) for a, b in zip(of, after, strict=True) if a != b})
    done.participants += 1
    done.changed += [participant_id] if pieces else []
    before, now = (_files(lake, each) for each in (of, after))
    done.files_before += len(before)
    done.files_after += len(now)
    done.bytes_before += sum(there.get(path, 0) for path in before)
    done.bytes_after += sum(len(made[path][1]) if path in made else there.get(path, 0) for path in now)
    if not dry_run:
        # Whoever commits waits meanwhile: what no manifest names is nobody's.
        orphans = sorted({*there, *made} - now, key=str)
        with removing(study.identity, bool(orphans)) as may:
            if may:
                remove(*orphans)
            done.kept_for_readers += 0 if may else len(orphans)


def _files(lake: Place, of: Iterable[Manifest]) -> set[Place]:
    return {part.path for each in of for table in each.files for part in stretches(lake, table, each)}


def _write(
    lake: Place, made: Mapping[Place, tuple[str, bytes]], changed: Mapping[str, tuple[Manifest, Manifest]]
) -> None:
    """The packed files, then the manifests that name them; raises Transient where one of these changed meanwhile."""
    held = read_each(list(made))
    write_each({path: data for (path, (table, data)), came in zip(made.items(), held, strict=True)
                if came.data is None or not parquet.same(lake, table, came.data, data)})  # fmt: skip
    paths = {manifest_path(lake, old.participant_id, old.source_file_id): (old, new) for old, new in changed.values()}
    versions = dict(zip(paths, read_each(list(paths)), strict=True))
    if any(versions[path].data != manifest_bytes(old) for path, (old, _) in paths.items()):
        raise Transient("the lake changed while it was compacted; run again")
    write_each({path: manifest_bytes(new) for path, (_, new) in paths.items()}, versions)


class _Run(NamedTuple):
    """Rows of an export that belong into one year's file."""

    year: str
    rows: pa.Table


class _Table:
    """A participant's exports that have rows of a table, oldest first."""

    def __init__(self, lake: Place, name: str, of: Iterable[Manifest]) -> None:
        self._lake = lake
        self._name = name
        self._of = [each for each in of if name in each.files]
        self._pieces = {each.source_file_id: each.packed[name] for each in self._of
                        if each.packed and name in each.packed}  # fmt: skip
        self._files: dict[str, dict[str, int]] = {}
        for part in (part for parts in self._pieces.values() for part in parts):
            left = self._files.setdefault(_year(part.file), {})
            left[part.file] = left.get(part.file, part.of_rows) - part.rows

    @property
    def begun(self) -> set[str]:
        """Years that stand in several packed files, or in one that has rows which no manifest names, or that is not
        encrypted where the lake is, or is where the lake is not.
        """
        on = parquet.encrypts(self._lake)
        other = {_year(part.file) for parts in self._pieces.values() for part in parts
                 if parquet.names_rows(part.sha256) != on}  # fmt: skip
        return other | {year for year, left in self._files.items() if len(left) > 1 or any(left.values())}

    def packed(self, also_loose: bool) -> tuple[dict[str, bytes], dict[str, list[Piece]]]:
        """Packed files to write, by name, and where the rows of exports then stand, by source_file_id."""
        loose = self._loose() if also_loose else {}
        if len(self._of) <= len(self._files.keys() | {run.year for runs in loose.values() for run in runs}):
            loose = {}
        todo = self.begun | {run.year for runs in loose.values() for run in runs}
        if not todo:
            return {}, {}
        runs = {**self._runs_of_packed(todo), **loose}
        files: dict[str, bytes] = {}
        at: dict[str, Piece] = {}
        for year in sorted(todo):
            rows = [run.rows for each in self._of for run in runs.get(each.source_file_id, ()) if run.year == year]
            # One chunk, so that the pages do not tell of the files that the rows came from.
            data = parquet.coded(self._lake, self._name, pa.concat_tables(rows).combine_chunks())
            named = parquet.hash_of(self._lake, self._name, data)
            file = f"{year}.{named.rpartition(':')[2][:16]}.parquet"
            files[file] = data
            at[year] = Piece(file, named, 0, 0, sum(map(len, rows)))
        found = {}
        for each in self._of:
            if each.source_file_id in runs:
                found[each.source_file_id] = list(self._moved(each, runs[each.source_file_id], at))
        return files, {name: parts for name, parts in found.items() if parts != self._pieces.get(name)}

    def _moved(self, of: Manifest, runs: Sequence[_Run], at: dict[str, Piece]) -> Iterator[Piece]:
        """Where an export's rows stand; each takes the next place in its year's file."""
        rest = iter(runs)
        parts: Sequence[Piece | None] = self._pieces.get(of.source_file_id) or [None] * len(runs)
        for part in parts:
            if part is not None and _year(part.file) not in at:
                yield part
                continue
            run = next(rest)
            before = at[run.year]
            at[run.year] = replace(before, at=before.at + len(run.rows))
            yield replace(before, rows=len(run.rows))

    def _loose(self) -> dict[str, list[_Run]]:
        loose = [each for each in self._of if each.source_file_id not in self._pieces]
        wanted = {each.source_file_id: stretches(self._lake, self._name, each)[0] for each in loose}
        opened = open_files(self._lake, [(self._name, each, wanted[each.source_file_id]) for each in loose])
        return {name: list(_runs(opened[part.path], YEAR_OF[self._name])) for name, part in wanted.items()}

    def _runs_of_packed(self, years: set[str]) -> dict[str, list[_Run]]:
        wanted: list[tuple[Manifest, Stretch, str]] = []
        for each in self._of:
            for part in self._pieces.get(each.source_file_id, ()):
                if _year(part.file) in years:
                    path = table_folder(self._lake, self._name, each.participant_id) / part.file
                    wanted.append((each, Stretch(path, part.sha256, part.at, part.rows), _year(part.file)))
        opened = open_files(self._lake, [(self._name, each, stretch) for each, stretch, _ in wanted])
        found: dict[str, list[_Run]] = {}
        for each, stretch, year in wanted:
            rows = opened[stretch.path].slice(stretch.at, stretch.rows)
            found.setdefault(each.source_file_id, []).append(_Run(year, rows))
        return found


def _year(file: str) -> str:
    return file.partition(".")[0]


def _runs(rows: pa.Table, column: str) -> Iterator[_Run]:
    """The rows in stretches of the same year, in their order."""
    years = pc.fill_null(pc.year(rows[column]), 0).to_numpy()
    edges = [0, *(np.flatnonzero(np.diff(years)) + 1).tolist(), len(rows)]
    if len(edges) - 1 > _MOST_RUNS:
        yield _Run(f"{years.min():04d}", rows)
        return
    for begin, end in pairwise(edges):
        yield _Run(f"{years[begin]:04d}", rows.slice(begin, end - begin))

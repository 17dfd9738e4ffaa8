"""identity/arrivals.sqlite: what was seen when and where, and the hashes of files that did not change.

The only store that holds paths. Batches and logs carry tokens, which it resolves.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ingest._core.errors import Changed, Terminal, Transient
from ingest._core.files import digest, sha256_of
from ingest._core.study import Study
from ingest.arrive.landing import Landed, Unit

_BATCHES_KEPT_DAYS = 90
_TABLES = """
create table if not exists file_hash(
  path text primary key, size integer, mtime_ns integer, ctime_ns integer, inode integer, sha256 text);
create table if not exists object_start(
  url text primary key, version text, archived integer);
create table if not exists unit_claims(
  unit_id text, folder text, claimed_with text, exports text, primary key (unit_id, folder));
create table if not exists arrival(
  token text primary key, source_file_id text, folder text, source text, unit_path text, unit_id text,
  claim text, bytes integer, arrived_at text, exported_at text, present integer);
create index if not exists arrival_by_id on arrival(source_file_id);
create table if not exists planned_batch(
  run text, number integer, tokens text, planned_at text, primary key (run, number));
"""


@dataclass(frozen=True)
class Arrival:
    """One export as first seen. `claim` says which files of the unit it is made of, in JSON's plain types.

    `unit_path` is the unit's path, or its URL where landing is a prefix in an object store.
    """

    token: str
    source_file_id: str
    folder: str
    source: str
    unit_path: Path | str
    unit_id: str
    claim: dict[str, Any]
    bytes: int
    arrived_at: datetime
    exported_at: datetime

    @property
    def is_archive(self) -> bool:
        """True for an export in an archive, False for one of loose files."""
        hashes: list[str] = self.claim["hashes"]
        return hashes == [self.source_file_id]


def token_of(source_file_id: str, folder: str, source: str) -> str:
    """Opaque id of an export for batches and logs: 16 hexadecimal digits."""
    return digest("arrival", source_file_id, folder, source)[:16]


class Arrivals:
    """The open store; use `open_arrivals`."""

    def __init__(self, connection: sqlite3.Connection, root: Path) -> None:
        self._db, self._root = connection, root

    def sha256(self, file: Landed) -> str:
        """SHA-256 of a landed file, from memory while its stat (of an object: its version) stays the same.

        Raises Changed where the file changes while it is read. Remembered for good with the next commit.
        """
        known = self._remembered(file)
        if known is not None:
            return known
        with file.open() as stream:
            value = sha256_of(stream)
        if not file.unchanged():
            raise Changed("a landing file changed while it was read; it is taken up by the next run")
        self._db.execute("insert or replace into file_hash values (?, ?, ?, ?, ?, ?)",
                         (self._kept(file.path), *file.version, value))  # fmt: skip
        return value

    def _remembered(self, file: Landed) -> str | None:
        """SHA-256 of a file that is as it was when it was hashed."""
        row = self._db.execute("select size, mtime_ns, ctime_ns, inode, sha256 from file_hash where path = ?",
                               (self._kept(file.path),)).fetchone()  # fmt: skip
        same = row and row[:4] == file.version
        return str(row[4]) if same else None

    def taken_up(self, unit: Unit) -> bool:
        """True if a look at landing split the unit, as it stands, into exports. Reads no file."""
        hashes = {file.name: self._remembered(file) for file in unit.files}
        known = {name: value for name, value in hashes.items() if value is not None}
        if len(known) < len(hashes):
            return False
        unit_id = known[unit.files[0].name] if unit.archived else files_id(known)
        sql = "select 1 from unit_claims where unit_id = ? and folder = ?"
        return self._db.execute(sql, (unit_id, unit.folder)).fetchone() is not None

    def differs(self, file: Landed) -> bool:
        """True if the file has the times and size it had when it was hashed, but other bytes."""
        row = self._db.execute("select size, mtime_ns, ctime_ns, inode, sha256 from file_hash where path = ?",
                               (self._kept(file.path),)).fetchone()  # fmt: skip
        if row is None or row[:4] != file.version:
            return False
        with file.open() as stream:
            return sha256_of(stream) != str(row[4])

    def archived(self, file: Landed) -> bool | None:
        """As `landing.Memory`."""
        row = self._db.execute("select version, archived from object_start where url = ?", (file.path,)).fetchone()
        return bool(row[1]) if row and row[0] == repr(file.version) else None

    def remember_archived(self, file: Landed, archived: bool) -> None:
        """As `landing.Memory`."""
        with self._db:
            self._db.execute("insert or replace into object_start values (?, ?, ?)",
                             (file.path, repr(file.version), archived))  # fmt: skip

    def _kept(self, path: Path | str) -> str:
        # Relative, so that a study may be moved or mounted elsewhere; a URL as it is.
        return path if isinstance(path, str) else path.relative_to(self._root).as_posix()

    def _place(self, kept: str) -> Path | str:
        return kept if "://" in kept else self._root / kept

    def unit_id(self, unit: Unit) -> str:
        """SHA-256 of the archive, or of the loose files' sorted names and hashes."""
        with self._db:
            if unit.archived:
                return self.sha256(unit.files[0])
            return files_id({file.name: self.sha256(file) for file in unit.files})

    def claims(self, unit_id: str, folder: str, claimed_with: str) -> list[str] | None:
        """Tokens of the exports the unit was split into with these decoders and settings; None if unknown."""
        row = self._db.execute(
            "select claimed_with, exports from unit_claims where unit_id = ? and folder = ?",
            (unit_id, folder),
        ).fetchone()
        return json.loads(row[1]) if row and row[0] == claimed_with else None

    def remember(self, unit_id: str, folder: str, claimed_with: str, found: list[Arrival]) -> None:
        """Record a unit's exports; one seen before keeps its first arrival and export time, in its new place."""
        with self._db:
            for arrival in found:
                self._db.execute(
                    "insert into arrival values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) on conflict(token) do update set"
                    " unit_path = excluded.unit_path, unit_id = excluded.unit_id, claim = excluded.claim,"
                    " present = 1",
                    (
                        arrival.token,
                        arrival.source_file_id,
                        arrival.folder,
                        arrival.source,
                        self._kept(arrival.unit_path),
                        unit_id,
                        json.dumps(arrival.claim),
                        arrival.bytes,
                        arrival.arrived_at.isoformat(),
                        arrival.exported_at.isoformat(),
                    ),
                )
            self._db.execute(
                "insert or replace into unit_claims values (?, ?, ?, ?)",
                (unit_id, folder, claimed_with, json.dumps([a.token for a in found])),
            )

    def folders(self) -> list[str]:
        """Every folder of landing that something arrived in, sorted."""
        rows = self._db.execute("select folder from arrival union select folder from unit_claims order by 1")
        return [row[0] for row in rows]

    def forget(self, folder: str) -> int:
        """Leave no byte of what arrived in a folder; returns how many exports that were."""
        below = f"landing/{folder}/"
        self._db.execute("pragma secure_delete = on")
        with self._db:
            count = self._db.execute("delete from arrival where folder = ?", (folder,)).rowcount
            self._db.execute("delete from unit_claims where folder = ?", (folder,))
            self._db.execute("delete from file_hash where substr(path, 1, length(?1)) = ?1", (below,))
            # Of objects, wherever landing was; a hash too many that goes is only made again.
            for table, path in (("file_hash", "path"), ("object_start", "url")):
                self._db.execute(f"delete from {table} where {path} like 's3://%' and instr({path}, ?) > 0",  # noqa: S608 - two names
                                 (f"/{folder}/",))  # fmt: skip
        self._db.execute("vacuum")
        return count

    def mark_present(self, tokens: set[str]) -> None:
        """Note which exports stand in landing now; writes only what differs from the last look."""
        before = {row[0] for row in self._db.execute("select token from arrival where present = 1")}
        changed = [(1, token) for token in tokens - before] + [(0, token) for token in before - tokens]
        with self._db:
            self._db.executemany("update arrival set present = ? where token = ?", changed)

    def present_ids(self, folder: str) -> set[str]:
        """source_file_ids that stand in landing under a folder, as of the last look."""
        rows = self._db.execute("select source_file_id from arrival where folder = ? and present = 1", (folder,))
        return {row[0] for row in rows}

    def absent(self) -> list[tuple[str, str]]:
        """Folder and source_file_id of all that stood in landing once and did not at the last look."""
        return self._db.execute("select folder, source_file_id from arrival where present = 0").fetchall()

    def keep_batches(self, run: str, batches: list[list[str]], now: datetime) -> None:
        """Remember the tokens of a run's batches, for tasks that are told a number; those of long ago go."""
        long_ago = (now - timedelta(days=_BATCHES_KEPT_DAYS)).isoformat()
        with self._db:
            self._db.execute("delete from planned_batch where run = ? or planned_at < ?", (run, long_ago))
            self._db.executemany("insert into planned_batch values (?, ?, ?, ?)",
                                 ((run, number, json.dumps(tokens), now.isoformat())
                                  for number, tokens in enumerate(batches, 1)))  # fmt: skip

    def batch(self, run: str, number: int) -> list[str]:
        """Tokens of a batch; raises Terminal where it is not known any more."""
        asked = "select tokens from planned_batch where run = ? and number = ?"
        row = self._db.execute(asked, (run, number)).fetchone()
        if row is None:
            raise Terminal(f"batch {number} of this run is not kept any more; clear the run's task `plan`, too")
        tokens: list[str] = json.loads(row[0])
        return tokens

    def get(self, token: str) -> Arrival | None:
        """The arrival of a token."""
        return next(self._select("where token = ?", (token,)), None)

    def of_file(self, source_file_id: str) -> list[Arrival]:
        """Every arrival of a source file, in any folder."""
        return list(self._select("where source_file_id = ? order by folder", (source_file_id,)))

    def present(self) -> list[Arrival]:
        """The arrivals that stood in landing at the last look, oldest export first."""
        return list(self._select("where present = 1 order by exported_at, source_file_id, folder", ()))

    def all(self) -> list[Arrival]:
        """Every arrival, oldest export first."""
        return list(self._select("order by exported_at, source_file_id, folder", ()))

    def _select(self, clause: str, values: tuple[str, ...]) -> Iterator[Arrival]:
        rows = self._db.execute(
            "select token, source_file_id, folder, source, unit_path, unit_id, claim, bytes, arrived_at,"  # noqa: S608 - constants
            f" exported_at from arrival {clause}",
            values,
        )
        for row in rows:
            yield Arrival(
                row[0],
                row[1],
                row[2],
                row[3],
                self._place(row[4]),
                row[5],
                json.loads(row[6]),
                row[7],
                datetime.fromisoformat(row[8]),
                datetime.fromisoformat(row[9]),
            )


def files_id(hashes: dict[str, str]) -> str:
    """source_file_id of loose files: SHA-256 of the sorted list of their relative names and SHA-256."""
    return digest(*(part for name in sorted(hashes) for part in (name, hashes[name])))


@contextmanager
def open_arrivals(study: Study) -> Iterator[Arrivals]:
    """The store of a study, made if it is not there; readable by its owner only."""
    study.identity.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = study.identity / "arrivals.sqlite"
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.executescript(_TABLES)
            yield Arrivals(connection, study.root)
    except sqlite3.OperationalError as error:
        raise Transient(f"identity/arrivals.sqlite is not usable now ({error}); run again") from error

"""The door to SQLite files: a hostile database costs bounded work and runs nothing of its own.

The bytes are copied to a private file that only this process reads; the database is opened read-only and
immutable, with limits, and nothing but plain columns of real tables is ever read: no views, no virtual tables,
no triggers, no indexes, no functions of the schema.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.model import Member

MAGIC = b"SQLite format 3\0"
Value = int | float | str | bytes | None
_CHUNK = 1 << 20
_STEP = 20_000
# Reading a row takes a handful of instructions per column, and a row takes some bytes of the file; a damaged
# tree that leads to the same pages again and again does not keep within that.
_STEPS_PER_BYTE, _STEPS_ALWAYS = 40, 5_000_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 16 << 20,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1 << 20,
    sqlite3.SQLITE_LIMIT_COLUMN: 2000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 4,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_PRAGMAS = (
    "PRAGMA trusted_schema=OFF",
    "PRAGMA query_only=ON",
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA temp_store=MEMORY",
)
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ}


class Database:
    """An open database; see `database`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> list[str] | None:
        """Names of the columns of a real table, in its order; None if there is no such table."""
        found = self._all("SELECT 1 FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?", (table,))
        if not found:
            return None
        return [str(row[1]) for row in self._all(f"PRAGMA table_info({_quoted(table)})")]

    def rows(self, table: str, columns: Sequence[str]) -> list[tuple[Value, ...]]:
        """The rows of a table in its own order, cells as they are stored; the names must be among `columns()`.

        Raises Refused where the database is damaged or costs more than its size explains.
        """
        names = ", ".join(map(_quoted, columns))
        # Both names are quoted, and come from this package. A damaged index must not decide what is read.
        return self._all(f"SELECT {names} FROM {_quoted(table)} NOT INDEXED")  # noqa: S608 - quoted names

    def _all(self, sql: str, values: tuple[str, ...] = ()) -> list[tuple[Value, ...]]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            # SQLite's own message may quote bytes of a damaged schema.
            raise _damaged() from error


@contextmanager
def database(member: Member, settings: Settings) -> Iterator[Database]:
    """The member's database, open while the block runs; its private copy is gone afterwards.

    Raises Refused for what is no SQLite database, is damaged or is larger than `bounds.member_bytes`.
    """
    with TemporaryDirectory(prefix="ingest-") as folder:
        path = Path(folder) / "copy.db"
        size = _copy(member, path, settings.bounds.member_bytes)
        _check_length(path, size)
        with closing(_connect(path, size)) as connection:
            yield Database(connection)


def _copy(member: Member, path: Path, most: int) -> int:
    size = 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with member.open() as source, os.fdopen(handle, "wb") as target:
        while chunk := source.read(_CHUNK):
            if size == 0 and not chunk.startswith(MAGIC):
                raise Refused("not_sqlite", "expected a SQLite database, got another kind of file; export it again")
            size += len(chunk)
            if size > most:
                raise Refused("too_large", f"more than bounds.member_bytes ({most}); raise it in study.yaml if the "
                                           "file is right")  # fmt: skip
            target.write(chunk)
    if size == 0:
        raise Refused("not_sqlite", "expected a SQLite database, got a file of 0 bytes; export it again")
    return size


def _check_length(path: Path, size: int) -> None:
    """Raises Refused where pages are missing: SQLite takes a page that is cut short for one that ends in zeros."""
    with path.open("rb") as stream:
        header = stream.read(100)
    page = int.from_bytes(header[16:18], "big")
    page = 1 << 16 if page == 1 else page
    # The number of pages counts if the file was last changed by whoever wrote it there.
    pages = int.from_bytes(header[28:32], "big") if header[24:28] == header[92:96] else 1
    if len(header) < 100 or page < 512 or size % page or pages * page > size:
        raise _damaged()


def _connect(path: Path, size: int) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise _damaged() from error
    try:
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        connection.text_factory = lambda data: data.decode("utf-8", errors="replace")
        left = [_STEPS_ALWAYS + _STEPS_PER_BYTE * size]

        def too_long() -> bool:
            left[0] -= _STEP
            return left[0] < 0

        connection.set_progress_handler(too_long, _STEP)
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
        connection.set_authorizer(_authorize)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise _damaged() from error
    return connection


def _authorize(action: int, first: str | None, *_: str | None) -> int:
    if action in _ALLOWED or (action == sqlite3.SQLITE_PRAGMA and first == "table_info"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _damaged() -> Refused:
    return Refused(
        "damaged_database",
        "expected a whole SQLite database, got one that is cut short, damaged or costs more to read than its size "
        "explains; export or copy it again",
    )

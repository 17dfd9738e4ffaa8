"""Opening DuckDB files for publishing, and what DuckDB's errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ingest._core.errors import Terminal, Transient
from ingest._core.files import TMP_PREFIX, remove

OLD, NEW = "old", "new"


@contextmanager
def session(target: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory, in UTC, to attach warehouses to; it spills beside `target`.

    A file that this process has open already would, opened by its path again, be seen as it was then.
    """
    connection = duckdb.connect(config={"temp_directory": str(_spilled(target))})
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


def attach_old(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Attach `database` as `old`, read-only."""
    connection.execute(f"ATTACH {_literal(database)} AS {OLD} (READ_ONLY)")


def attach_new(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    """Attach `database` as `new`, to be written."""
    connection.execute(f"ATTACH {_literal(database)} AS {NEW}")


def draft(target: Path) -> Path:
    """Where the next warehouse is made; only the holder of the lock touches it."""
    return target.with_name(f"{TMP_PREFIX}{target.name}")


def upgraded(target: Path) -> Path:
    """Where an older warehouse is brought to this version's tables."""
    return target.with_name(f"{TMP_PREFIX}{target.name}.upgraded")


def wal(database: Path) -> Path:
    """The write-ahead log that DuckDB keeps beside a database."""
    return database.with_name(f"{database.name}.wal")


def sweep(target: Path) -> None:
    """Remove what an interrupted publication left beside the warehouse."""
    for path in (draft(target), upgraded(target)):
        remove(path)
        remove(wal(path))
    if _spilled(target).is_dir():
        for path in _spilled(target).iterdir():
            remove(path)
        _spilled(target).rmdir()


@contextmanager
def clear_errors() -> Iterator[None]:
    """DuckDB's errors as ours: Transient where files or memory refuse, a commit too, Terminal else."""
    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.TransactionException) as error:
        raise Transient(
            f"DuckDB could not read or write ({type(error).__name__}); the old warehouse stands, run again"
        ) from error
    except duckdb.Error as error:
        raise Terminal(
            f"DuckDB refused the publication ({type(error).__name__}); the old warehouse stands, and "
            "`ingest verify` checks lake and marts"
        ) from error


def _spilled(target: Path) -> Path:
    return draft(target).with_name(f"{draft(target).name}.tmp")


def _literal(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"

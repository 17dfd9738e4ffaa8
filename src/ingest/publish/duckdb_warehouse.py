"""The DuckDB warehouse: copied, changed beside itself, put in place by one rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from ingest._core import contract
from ingest._core.contract import COHORT, OPS
from ingest._core.errors import Terminal, Transient
from ingest._core.files import copy_file, locked, remove, rename_durably
from ingest._core.settings import Settings
from ingest._core.study import Study
from ingest.publish import migrate
from ingest.publish.duckdb_files import (
    NEW,
    OLD,
    attach_new,
    attach_old,
    clear_errors,
    draft,
    session,
    sweep,
    upgraded,
    wal,
)
from ingest.publish.gate import Gate
from ingest.publish.lake_files import Parameters
from ingest.publish.shape import DUCKDB, Shape, columns, quoted, shape, without_comments
from ingest.publish.stale import Held, Plan
from ingest.publish.views import Ask, make_views, views_stand

_MARK = "publication"


class DuckdbWarehouse:
    """A study's DuckDB file while one publication has it."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._target = study.warehouse
        self._base = self._target
        self._connection: duckdb.DuckDBPyConnection

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Lock it, and say what it holds; an older one is upgraded in a copy first."""
        lock = self._target.with_name(f"{self._target.name}.lock")
        with locked(lock, "the warehouse"), clear_errors():
            sweep(self._target)
            try:
                yield self._held()
            finally:
                sweep(self._target)

    def _held(self) -> Held:
        if not self._target.exists():
            return Held(unusable="")
        if wal(self._target).exists():
            return Held(unusable="another program had written to it")
        try:
            since = self._revision()
            if since and since != migrate.head():
                self._upgrade(since)
            with session(self._target) as connection:
                attach_old(connection, self._base)
                if not since or shape_of(connection, OLD) != shape(self._study.settings, DUCKDB):
                    return Held(unusable="its tables were not those of this version and its settings")
                connection.execute(f"USE {OLD}")
                hashes = dict(connection.execute("SELECT participant_id, mart_hash FROM publication").fetchall())
                rows = connection.execute("FROM participant").to_arrow_table().to_pylist()
                stand = views_stand(self._study.settings, _asking(connection), connection.execute, DUCKDB)
        except duckdb.Error:
            return Held(unusable="it could not be read")
        return Held(hashes, {row["participant_id"]: row for row in rows}, upgraded=since != migrate.head() or not stand)

    def _revision(self) -> str:
        """The revision of the file; empty where it is nobody's."""
        with session(self._target) as connection:
            attach_old(connection, self._target)
            found = shape_of(connection, OLD)
            tables = {column[0] for column in found} | set(_relations(connection))
            if migrate.VERSION_TABLE in tables:
                said = connection.execute(f"SELECT version_num FROM {OLD}.{migrate.VERSION_TABLE}").fetchall()  # noqa: S608 - constants
                return migrate.check_revision([name for (name,) in said], self._target.name)
        if tables and _MARK not in tables:
            raise migrate.not_ours(self._target.name)
        return migrate.FIRST if without_comments(found) == _first_shape() else ""

    def _upgrade(self, since: str) -> None:
        self._base = upgraded(self._target)
        copy_file(self._target, self._base)
        with session(self._target) as connection:
            attach_new(connection, self._base)
            connection.execute(f"USE {NEW}")
            connection.execute("BEGIN")
            unsaid = migrate.VERSION_TABLE not in _relations(connection)
            for statement in [*(migrate.stamp(since) if unsaid else []), *migrate.upgrade(DUCKDB, since)]:
                connection.execute(statement)
            wanted = shape(self._study.settings, DUCKDB)
            found = shape_of(connection, NEW)
            if without_comments(found) == without_comments(wanted):
                for statement in migrate.comment_changes(found, wanted):
                    connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")

    @contextmanager
    def changed(self, has: Held, todo: Plan) -> Iterator[None]:
        """The next warehouse without the rows `todo` replaces, to be filled; put in place at the end."""
        _check_room(self._target)
        # Deleted rows linger in a file's free blocks: where somebody is removed, the others go to a new file.
        # So they do where most are replaced: it takes a third of the time, and the file does not double.
        most = 2 * len(todo.people) > len(has.hashes)
        anew = has.unusable is not None or bool(todo.removed) or most or todo.scrub
        if anew:
            create(draft(self._target), self._study.settings)
        else:
            copy_file(self._base, draft(self._target))
        with session(self._target) as connection:
            self._connection = connection
            attach_new(connection, draft(self._target))
            connection.execute(f"USE {NEW}")
            connection.execute("BEGIN")
            if not anew:
                self._delete(todo)
            elif has.unusable is None:
                self._keep_others(todo)
            yield
            make_views(self._study.settings, _asking(connection), connection.execute, DUCKDB)
            connection.execute("COMMIT")
            connection.execute("CHECKPOINT")
        _put(self._target)

    def source(self) -> duckdb.DuckDBPyConnection:
        """The connection that rows are selected in."""
        return self._connection

    def insert(self, table: str, sql: str, parameters: Parameters, ids: list[str] | None) -> Callable[[], int]:
        """Add what a SELECT in `source` gives; `ids` are whose rows these are, None for the cohort's. What comes back
        says how many rows.

        Raises Terminal where two rows have one key.
        """
        count = self._connection.execute(f"INSERT INTO {table} ({columns(table)}) {sql}", parameters).fetchall()
        self._check_key(table, ids)
        return partial(int, count[0][0])

    def insert_arrow(self, table: str, rows: pa.Table) -> None:
        """Add rows."""
        self._connection.register("added", rows)
        self._connection.execute(f"INSERT INTO {table} ({columns(table)}) SELECT {columns(table)} FROM added")  # noqa: S608 - names of schemas/
        self._connection.unregister("added")

    def admit(self, to: Gate) -> None:
        """Nothing: a file is read whole or not at all."""

    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self._target.stat().st_size

    def _delete(self, todo: Plan) -> None:
        for table in contract.published_tables():
            stage = contract.schemas()[table]["stage"]
            if stage not in (COHORT, OPS):
                self._connection.execute(
                    f"DELETE FROM {table} WHERE participant_id IN (SELECT unnest(?::VARCHAR[]))",  # noqa: S608 - names of schemas/
                    [todo.replaced],
                )
            elif stage == OPS or todo.cohort_differs:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of schemas/

    def _keep_others(self, todo: Plan) -> None:
        attach_old(self._connection, self._base)
        for table in contract.published_tables():
            names = columns(table)
            insert = f"INSERT INTO {table} ({names}) SELECT {names} FROM {OLD}.{table}"  # noqa: S608 - names of schemas/
            stage = contract.schemas()[table]["stage"]
            if stage == OPS:
                continue  # It comes anew with every publication.
            if stage != COHORT:
                others = "WHERE participant_id NOT IN (SELECT unnest(?::VARCHAR[]))"
                self._connection.execute(f"{insert} {others}", [todo.replaced])
            elif not todo.cohort_differs:
                self._connection.execute(insert)

    def _check_key(self, table: str, ids: list[str] | None) -> None:
        key = ", ".join(quoted(name) for name in contract.primary_key(table))
        of_them = "" if ids is None else "WHERE participant_id IN (SELECT unnest(?::VARCHAR[]))"
        twins = self._connection.execute(
            f"SELECT 1 FROM {table} {of_them} GROUP BY {key} HAVING count(*) > 1 LIMIT 1",  # noqa: S608 - names of schemas/
            [] if ids is None else [ids],
        ).fetchall()
        if twins:
            raise Terminal(f"table {table}: two rows have the same {key}; nothing was published")


def create(path: Path, settings: Settings) -> None:
    """Make a database at `path` with every table of the warehouse, empty, with comments."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("BEGIN")  # else each statement is synced by itself
        for statement in migrate.creation(DUCKDB, settings):
            connection.execute(statement)
        connection.execute("COMMIT")


def shape_of(connection: duckdb.DuckDBPyConnection, database: str) -> Shape:
    """Every column of an attached database as it is, its version aside."""
    return connection.execute(
        "SELECT c.table_name, c.column_name, c.data_type, c.is_nullable, coalesce(c.comment, ''), "
        "coalesce(t.comment, '') FROM duckdb_columns() c JOIN duckdb_tables() t "
        "ON c.table_oid = t.table_oid AND c.database_name = t.database_name "
        "WHERE c.database_name = ? AND NOT c.internal AND c.table_name <> ? ORDER BY 1, 2",
        [database, migrate.VERSION_TABLE],
    ).fetchall()


def _asking(connection: duckdb.DuckDBPyConnection) -> Ask:
    return lambda sql: connection.execute(sql).fetchall()


def _relations(connection: duckdb.DuckDBPyConnection) -> list[str]:
    sql = ("SELECT table_name FROM duckdb_tables() WHERE NOT internal UNION ALL "
           "SELECT view_name FROM duckdb_views() WHERE NOT internal")  # fmt: skip
    return [name for (name,) in connection.execute(sql).fetchall()]


def _first_shape() -> list[tuple[str, str, str, bool]]:
    """The shape of the first release, which did not say its revision."""
    with duckdb.connect() as connection:
        for statement in migrate.upgrade(DUCKDB, None, migrate.FIRST):
            connection.execute(statement)
        return without_comments(shape_of(connection, "memory"))


def _check_room(target: Path) -> None:
    needed = 2 * target.stat().st_size if target.exists() else 0
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        raise Transient(
            f"publishing needs {needed >> 20} MiB beside the warehouse and {free >> 20} MiB are free; "
            "make room and run again"
        )


def _as_closed_as(target: Path, new: Path) -> None:
    """The mode and the group of the file that `new` replaces; a first one is its owner's alone."""
    if not target.exists():
        new.chmod(0o600)
        return
    stands = target.stat()
    if stands.st_gid != new.stat().st_gid:
        os.chown(new, -1, stands.st_gid)
    new.chmod(stands.st_mode & 0o777)


def _put(target: Path) -> None:
    try:
        _as_closed_as(target, draft(target))
        with draft(target).open("rb+") as stream:
            os.fsync(stream.fileno())
        # A log that another program left beside the old file would be replayed into the new one.
        remove(wal(target))
        rename_durably(draft(target), target)
    except OSError as error:
        raise Transient(
            f"storage refused the new warehouse ({os.strerror(error.errno or 0)}); run again when it writes"
        ) from error

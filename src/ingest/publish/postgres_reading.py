"""Reading a PostgreSQL warehouse, in one read-only transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from ingest._core.errors import IngestError, Transient, WrongUse
from ingest.publish.migrate import VERSION_TABLE
from ingest.publish.postgres import ERRORS, Connection, clear_errors, connected, rows, run, told
from ingest.publish.reading import NO_WAREHOUSE, batches
from ingest.publish.shape import POSTGRESQL

_NAME = "the warehouse"
_READING = {"SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN"}
_COMMENTS = re.compile(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/|\()*", re.DOTALL)
_NOT_COPIED = {"adbc.postgresql.use_copy": "false"}


@contextmanager
def reader(url: str) -> Iterator[PostgresReader]:
    """The warehouse at `url`, as it is now."""
    with connected(url) as connection, clear_errors(_NAME):
        run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if not _is_warehouse(connection):
            raise WrongUse(NO_WAREHOUSE)
        yield PostgresReader(connection)


def has_warehouse(url: str) -> bool:
    """True if the database has a warehouse."""
    with connected(url) as connection, clear_errors(_NAME):
        return _is_warehouse(connection)


def _is_warehouse(connection: Connection) -> bool:
    sql = "SELECT to_regclass(quote_ident(current_schema()) || '.' || $1) IS NOT NULL"
    return bool(rows(connection, sql, VERSION_TABLE)[0][0])


class PostgresReader:
    """A schema of a PostgreSQL database."""

    engine = POSTGRESQL

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: list[Any] = []

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.table(sql, **values).to_pylist()]

    def table(self, sql: str, **values: Any) -> pa.Table:
        names = [name for name in values if re.search(rf"\${name}\b", sql)]
        for number, name in enumerate(names, start=1):
            sql = re.sub(rf"\${name}\b", f"${number}", sql)
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters=[values[name] for name in names] or None)
            return plain_table(cursor.fetch_arrow_table())

    def stream(self, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        first = _first_word(sql)
        try:
            # Only what gives rows can be copied out.
            cursor = self._connection.cursor(adbc_stmt_kwargs=_NOT_COPIED if first == "EXPLAIN" else None)
            cursor.execute(sql.rstrip().rstrip(";"))
            found = cursor.fetch_record_batch()
        except ERRORS as error:
            raise _failure(error) from None
        self._open.append(cursor)  # which closes its stream where it is forgotten
        return found.schema, batches(found, _failure)


def plain_table(found: pa.Table) -> pa.Table:
    """A table without the driver's notes on its fields."""
    return found.cast(pa.schema([pa.field(field.name, field.type) for field in found.schema]))


def _first_word(sql: str) -> str:
    rest = sql[_COMMENTS.match(sql).end() :]  # type: ignore[union-attr]
    word = re.match(r"\w*", rest).group().upper()  # type: ignore[union-attr]
    if not rest.strip(";) \n\t"):
        raise WrongUse('no statement was given; try "SELECT * FROM night LIMIT 5"')
    if word not in _READING:
        raise WrongUse(f"`query` only reads, and this is {word or 'no statement'}; begin with SELECT")
    return word


def _failure(error: Any) -> IngestError:
    state = getattr(error, "sqlstate", None)
    said = str(error)
    if state is None and (found := re.search(r"SQLSTATE: (\w{5})", said)):
        state = found.group(1)
    if state == "25006":
        return WrongUse("`query` only reads, and this statement writes; begin with SELECT")
    if "multiple commands" in said:
        return WrongUse("one statement at a time, please")
    found = re.search(r"ERROR:\s+([^\n]*)", said)
    # What comes after the first rows says no SQLSTATE.
    if found and (state or "42")[:2] in ("22", "42", "0A", "21", "2F", "38", "39", "54", "P0"):
        return WrongUse(found.group(1).strip())
    if isinstance(error, ERRORS):
        return told(error, _NAME)
    return Transient("the session with PostgreSQL broke off; ask again")

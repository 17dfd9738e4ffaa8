"""The only door through which a warehouse is read: closed to writing, in UTC, one state for as long as it is open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from ingest._core.errors import IngestError, Terminal, Transient, WrongUse
from ingest._core.study import Study
from ingest.publish.shape import DUCKDB

BATCH_ROWS = 20_000
NO_WAREHOUSE = "this study has no warehouse yet; `ingest run` makes it"
_DAMAGED = "the warehouse is damaged; remove its file, `ingest run` makes it again"
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


class Reader(Protocol):
    """An open warehouse. In `sql` values stand as $name."""

    engine: str

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """Rows of one statement of ours."""

    def table(self, sql: str, **values: Any) -> pa.Table:
        """The same as Arrow."""

    def stream(self, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """What one statement of a user gives, as it comes.

        Raises WrongUse, at once or while rows are taken, for a statement that is wrong, writes, or reads outside the
        warehouse.
        """


@contextmanager
def opened(study: Study) -> Iterator[Reader]:
    """The study's warehouse for reading.

    Raises WrongUse where there is none, Transient where another program holds it for writing or the server does not
    answer, Terminal where it is damaged.
    """
    if study.warehouse_url is None:
        with _duckdb(study) as connection:
            yield DuckdbReader(connection)
    else:
        from ingest.publish.postgres_reading import reader

        with reader(study.warehouse_url) as found:
            yield found


def exists(study: Study) -> bool:
    """True if the study has a warehouse; raises Transient where the server does not answer."""
    if study.warehouse_url is None:
        return study.warehouse.is_file()
    from ingest.publish.postgres_reading import has_warehouse

    return has_warehouse(study.warehouse_url)


@contextmanager
def _duckdb(study: Study) -> Iterator[duckdb.DuckDBPyConnection]:
    if not study.warehouse.is_file():
        raise WrongUse(NO_WAREHOUSE)
    try:
        connection = duckdb.connect(str(study.warehouse), read_only=True)
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise Transient("another program has the warehouse open for writing; close it there") from None
        raise Terminal(_DAMAGED) from None
    try:
        # One process has one instance of a file, however often it is open: settings are the instance's, set once.
        if not connection.execute("SELECT current_setting('lock_configuration')").fetchall()[0][0]:
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


class DuckdbReader:
    """A DuckDB file."""

    engine = DUCKDB

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, named(sql, values)).fetchall()

    def table(self, sql: str, **values: Any) -> pa.Table:
        return self.connection.execute(sql, named(sql, values)).to_arrow_table()

    def stream(self, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        _check(self.connection, sql)
        try:
            reader = self.connection.execute(sql).to_arrow_reader(BATCH_ROWS)
        except duckdb.Error as error:
            raise _failure(error) from None
        return reader.schema, batches(reader, _failure)


def named(sql: str, values: dict[str, Any]) -> dict[str, Any]:
    """Those of `values` that `sql` names."""
    asked = set(re.findall(r"\$([a-z_]+)", sql))
    return {name: value for name, value in values.items() if name in asked}


def batches(reader: pa.RecordBatchReader, failure: Any) -> Iterator[pa.RecordBatch]:
    """The batches of `reader`; what an engine says after the first rows comes through Arrow, or as its own error."""
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            raise failure(error) from None
        yield batch


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _failure(error) from None
    if not statements:
        raise WrongUse('no statement was given; try "SELECT * FROM night LIMIT 5"')
    # A PIVOT becomes several statements, which have no text of their own.
    stated = [statement for statement in statements if statement.query.strip()]
    if len(stated) > 1:
        raise WrongUse("one statement at a time, please")
    for statement in stated:
        if statement.type not in _READING:
            raise WrongUse(f"`query` only reads, and this is {statement.type.name}; begin with SELECT")


def _failure(error: Exception) -> IngestError:
    message = str(error).split("\n\nLINE ")[0]
    words = " ".join(message.split())
    if isinstance(error, duckdb.FatalException | duckdb.InternalException) or words.startswith("IO Error"):
        return Terminal(_DAMAGED)
    if "disabled by configuration" in words:
        words += " (`query` reads nothing but the warehouse)"
    return WrongUse(words)

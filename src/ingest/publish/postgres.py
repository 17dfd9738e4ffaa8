"""Sessions of PostgreSQL, and what its errors mean. No error repeats a URL, a password or a row."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import adbc_driver_manager as adbc
import adbc_driver_postgresql.dbapi as driver
import sqlalchemy as sa
from adbc_driver_manager.dbapi import Connection
from psycopg.conninfo import make_conninfo

from ingest._core.errors import Again, IngestError, Terminal, Transient, WrongUse

__all__ = ["ERRORS", "Connection", "clear_errors", "connected", "rows", "run", "told"]
ERRORS = adbc.Error
# A server that vanished is noticed within a minute, where the kernel alone would wait for hours.
_DEFAULTS = {"application_name": "sleep-ingest", "client_encoding": "UTF8", "connect_timeout": "10",
             "keepalives_idle": "20", "keepalives_interval": "10", "keepalives_count": "4"}  # fmt: skip
_LATER = ("08", "40", "53", "57", "58")
"""SQLSTATE classes that pass: connection, rollback (deadlock), resources (disk full), intervention, system."""
_MEANINGS: dict[str, tuple[type[IngestError], str]] = {
    "53100": (Transient, "PostgreSQL has no room on its disk: make room and run again"),
    "55P03": (Transient, "another session holds a table locked: run again when it has ended"),
    "57014": (Transient, "PostgreSQL cancelled the statement (a timeout, or somebody did): run again"),
    "22021": (Terminal, "a text holds a NUL byte, which PostgreSQL cannot hold"),
    "25006": (Terminal, "this PostgreSQL is read-only (a standby?): name its primary"),
}
_REFUSED_AT_LOGIN = {
    r"password authentication failed|no password supplied|authentication failed": "refused the password of {role}; "
    "give it in the environment as PGPASSWORD, in ~/.pgpass, or in the URL of study.yaml",
    r"no pg_hba.conf entry": "does not let {role} in from here (pg_hba.conf); ask whoever runs the server",
    r'role ".*" does not exist': "does not know {role}; `CREATE ROLE` makes it, docs/warehouse.md says its rights",
    r'database ".*" does not exist': "has no database {database}; `CREATE DATABASE` makes one",
    r"permission denied for database": "does not let {role} connect to {database}; the role needs CONNECT on it",
}


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A session with the server of `url`, in UTC, in a transaction that is rolled back at the end if not committed.

    Raises WrongUse where the server knows no such role, password or database, Transient where it does not answer.
    """
    connection = _open(url)
    try:
        run(connection, "SET TIME ZONE 'UTC'")
        yield connection
    finally:
        connection.close()


def run(connection: Connection, sql: str, *parameters: Any) -> None:
    """Run one statement whose rows nobody needs."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters=list(parameters) or None)


def rows(connection: Connection, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement; parameters stand as $1, $2."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters=list(parameters) or None)
        return [tuple(row) for row in cursor.fetchall()]


def _open(url: str) -> Connection:
    words, role = _words(url)
    said = ""
    try:
        connection: Connection = driver.connect(make_conninfo("", **words))
        return connection
    except ERRORS as error:
        said = str(error)
    for pattern, meaning in _REFUSED_AT_LOGIN.items():
        if re.search(pattern, said):
            text = meaning.format(role=role, database=words.get("dbname", role))
            raise WrongUse(f"study.yaml, warehouse: PostgreSQL {text}")
    raise Transient(
        f"PostgreSQL does not answer at {words.get('host', 'the local socket')}, port {words.get('port', '5432')}; "
        "nothing was changed, run again when it is up"
    )


def _words(url: str) -> tuple[dict[str, str], str]:
    """libpq's parameters, and what to call the role."""
    try:
        parts = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        parts = None
    if parts is None:
        raise WrongUse("study.yaml, warehouse: expected a URL like postgresql+psycopg://role@host:5432/database")
    named = {"user": parts.username, "password": parts.password, "host": parts.host, "dbname": parts.database,
             "port": None if parts.port is None else str(parts.port)}  # fmt: skip
    asked = {name: value if isinstance(value, str) else value[-1] for name, value in parts.query.items()}
    defaults = _DEFAULTS if "PGCONNECT_TIMEOUT" not in os.environ else _DEFAULTS | {"connect_timeout": ""}
    words = {**{k: v for k, v in defaults.items() if v}, **asked, **{k: v for k, v in named.items() if v}}
    return words, f"role {parts.username}" if parts.username else "this role"


@contextmanager
def clear_errors(work: str) -> Iterator[None]:
    """PostgreSQL's errors as ours: Transient where it may pass, Terminal else; `work` stands unchanged then."""
    try:
        yield
    except ERRORS as error:
        raise told(error, work) from None


def told(error: adbc.Error, work: str) -> IngestError:
    """What an error of a running session means, without what it says of rows."""
    state = error.sqlstate or ""
    if state in ("40P01", "40001"):
        return Again(f"another session and this one waited for each other; {work} stands as it was, run again")
    if state == "42501":
        return Terminal(
            f"PostgreSQL: {_first_line(error)}; grant the role what it lacks (docs/warehouse.md names the rights); "
            f"{work} stands as it was"
        )
    for found, (kind, text) in _MEANINGS.items():
        if state == found:
            return kind(f"{text}; {work} stands as it was")
    if state.startswith(_LATER) or (not state and isinstance(error, adbc.OperationalError | adbc.InternalError)):
        return Transient(
            f"the session with PostgreSQL broke off ({state or 'connection lost'}); {work} is whole, as before or as "
            "after: run again"
        )
    return Terminal(f"PostgreSQL refused the statement (SQLSTATE {state or 'unknown'}); {work} stands as it was")


def _first_line(error: adbc.Error) -> str:
    found = re.search(r"ERROR:\s+(.*)", str(error))
    return found.group(1).strip() if found else "permission denied"

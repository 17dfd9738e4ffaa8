from __future__ import annotations

import signal

import psycopg
import pytest

from servers import Postgres, start_postgres


def test_every_test_has_a_database_of_its_own(postgres_server: Postgres) -> None:
    one, other = postgres_server.database(), postgres_server.database()
    with postgres_server.connect(one) as connection:
        connection.execute("CREATE TABLE t (a int)")
    with postgres_server.connect(other) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM t")


def test_the_loopback_asks_for_the_password(postgres_server: Postgres) -> None:
    url = postgres_server.tcp_url("postgres").replace("+psycopg", "")
    psycopg.connect(url).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url.replace("pw-of", "no-pw-of"))


def test_a_server_stopped_at_once_comes_back_with_what_was_committed() -> None:
    server = start_postgres()
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS a")
        server.stop(signal.SIGQUIT)
        with pytest.raises(psycopg.OperationalError):
            server.connect()
        server.start()
        with server.connect() as connection:
            assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]
    finally:
        server.close()
    assert not server.folder.exists()

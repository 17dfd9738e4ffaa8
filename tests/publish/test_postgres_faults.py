"""What goes wrong with a server: each time a clear error, the old warehouse whole, and the same run right again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from dataclasses import replace
from urllib.parse import quote

import pytest

from ingest._core.errors import Again, IngestError, Terminal, Transient, WrongUse
from ingest.publish import postgres_warehouse
from ingest.publish.warehouse import publish
from ingest.report.status import status
from publish.conftest import A, B
from publish.small_lake import NOW, Content, expected, people, put
from publish.test_postgres import all_rows, on
from servers import OWNER, PASSWORD, start_postgres

REVISED = replace(B, variant=1)


@pytest.fixture
def study(bare, postgres):
    """Published, and then a newer export of one participant."""
    study = on(bare, postgres)
    publish(study, people(A, B), NOW)
    put(study, REVISED)
    return study


def name_of(study):
    return study.settings.warehouse.split("/")[3].split("?")[0]


def then_it_works(study):
    assert all_rows(study) == expected([A, B])
    assert publish(study, people(A, REVISED), NOW).published == ["pb"]
    assert all_rows(study) == expected([A, REVISED])


def refused(study, kind, match):
    with pytest.raises(kind, match=match) as caught:
        publish(study, people(A, B), NOW)
    assert PASSWORD not in str(caught.value)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.fault(24)
def test_a_server_that_is_away(bare):
    refused(
        on(bare, "postgresql+psycopg://me:wr0ng@127.0.0.1:1/study"), Transient, "does not answer at 127.0.0.1, port 1"
    )
    assert "does not answer" in status(on(bare, "postgresql+psycopg://me:wr0ng@127.0.0.1:1/study")).warehouse


@pytest.mark.fault(68)
def test_a_wrong_password(bare, postgres_server):
    url = postgres_server.tcp_url("postgres", password=quote("wr0ng@/p", safe=""))
    refused(on(bare, url), WrongUse, "refused the password of role ingest; give it in the environment as PGPASSWORD")
    assert "wr0ng" not in status(on(bare, url)).warehouse
    assert "wr0ng" not in repr(on(bare, url))


def test_a_password_of_the_environment(bare, postgres_server, monkeypatch):
    url = postgres_server.tcp_url(postgres_server.database()).replace(f":{PASSWORD}", "")
    refused(on(bare, url), WrongUse, "refused the password")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert publish(on(bare, url), people(A, B), NOW).published == ["pa", "pb"]


def test_no_such_role_or_database(bare, postgres_server):
    refused(on(bare, postgres_server.url("nowhere")), WrongUse, "has no database nowhere")
    refused(on(bare, postgres_server.url("postgres", user="nobody_here")), WrongUse, "does not know role nobody_here")


def test_a_role_without_rights(study, postgres_server):
    database = name_of(study)
    role = f"reader_{database}"
    with postgres_server.connect(database) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    theirs = on(study, postgres_server.url(database, user=role))
    refused(theirs, Terminal, "permission denied for table .*; grant the role what it lacks")
    empty = on(study, postgres_server.url(postgres_server.database(), user=role))
    refused(empty, Terminal, "permission denied for schema public; grant the role")
    assert all_rows(study) == expected([A, B])
    then_it_works(study)


@pytest.mark.parametrize("moment", ["while loading", "at the commit"])
@pytest.mark.fault(25)
def test_a_connection_that_is_cut(study, postgres_server, monkeypatch, moment):
    def cut(*_):
        with postgres_server.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name_of(study)]
            )

    if moment == "while loading":
        with pytest.raises(Transient, match="run again"):
            publish(study, people(A, REVISED), NOW, cut)
    else:
        add_keys = postgres_warehouse.PostgresWarehouse._add_keys
        monkeypatch.setattr(postgres_warehouse.PostgresWarehouse, "_add_keys", lambda self: (add_keys(self), cut()))
        with pytest.raises(Transient, match="run again"):
            publish(study, people(A, REVISED), NOW)
        monkeypatch.undo()
    then_it_works(study)


@pytest.mark.fault(25)
def test_a_connection_that_is_lost_after_the_commit(study, monkeypatch):
    def lost(*_):
        raise Transient("the answer to COMMIT never came")

    put(study, *(Content(f"q{n:02}", nights=1) for n in range(20)))
    monkeypatch.setattr(postgres_warehouse.PostgresWarehouse, "_tidy", lost)
    everybody = people(A, REVISED, *(Content(f"q{n:02}", nights=1) for n in range(20)))
    with pytest.raises(Transient, match="never came"):
        publish(study, everybody, NOW)
    monkeypatch.undo()
    done = publish(study, everybody, NOW)
    assert (done.published, done.unchanged, done.rows) == ([], 22, {})


@pytest.mark.fault(22, 26)
def test_a_table_that_somebody_holds(study, postgres_server, monkeypatch):
    monkeypatch.setattr(postgres_warehouse, "LOCK_WAIT", "200ms")
    with postgres_server.connect(name_of(study)) as connection, connection.transaction():
        connection.execute("LOCK TABLE trend IN SHARE MODE")
        refused(study, Transient, "another session holds a table locked")
    then_it_works(study)


@pytest.mark.fault(26)
def test_a_statement_timeout(study, postgres_server):
    with postgres_server.connect(name_of(study)) as connection, connection.transaction():
        connection.execute("LOCK TABLE trend IN SHARE MODE")
        hurried = on(study, study.settings.warehouse + "&options=-cstatement_timeout%3D300")
        refused(hurried, Transient, "cancelled the statement")
    then_it_works(study)


@pytest.mark.fault(26)
def test_a_deadlock_is_tried_again(study, postgres_server):
    """The other session holds `trend` and then wants `coverage`, which the publication has changed before."""
    with postgres_server.connect(name_of(study)) as connection, connection.transaction():
        connection.execute("SET LOCAL deadlock_timeout = '10s'")
        connection.execute("LOCK TABLE trend IN SHARE MODE")
        done = []
        thread = threading.Thread(target=lambda: done.append(publish(study, people(A, REVISED), NOW)))
        thread.start()
        for _ in range(500):
            waits = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchall()
            if waits != [(0,)]:
                break
        # The publication notices the circle first, after its second, and gives way.
        connection.execute("LOCK TABLE coverage IN SHARE MODE")
    thread.join(timeout=60)
    assert [each.published for each in done] == [["pb"]]
    assert all_rows(study) == expected([A, REVISED])


@pytest.mark.fault(26)
def test_deadlocks_without_end_are_given_up(study, monkeypatch):
    tried = []

    def always(self, todo):
        tried.append(1)
        raise Again("deadlock")

    monkeypatch.setattr(postgres_warehouse.PostgresWarehouse, "_delete", always)
    refused(study, IngestError, "deadlock")
    assert len(tried) == 3
    monkeypatch.undo()
    then_it_works(study)


@pytest.mark.fault(23)
def test_a_server_stopped_at_once_while_loading(bare):
    server = start_postgres()
    try:
        study = on(bare, server.url(server.database()))
        publish(study, people(A, B), NOW)
        put(study, REVISED)
        with pytest.raises(Transient, match="run again"):
            publish(study, people(A, REVISED), NOW, lambda *_: server.stop(signal.SIGQUIT))
        refused(study, Transient, "does not answer")
        server.start()
        then_it_works(study)
    finally:
        server.close()


@pytest.fixture
def small_disk():
    """A server of its own with a tablespace on a small file system, its folder, and a function that sets its size."""
    server = start_postgres()
    folder = server.folder / "small"
    folder.mkdir()

    def mounted(size, *words):
        return subprocess.run(["mount", *words, f"size={size}", "tmpfs", folder], capture_output=True, check=False)

    try:
        if mounted("32m", "-t", "tmpfs", "-o").returncode:
            pytest.skip("mounting a small disk needs root, and a kernel that lets it")
        try:
            shutil.copystat(server.data, folder)
            os.chown(folder, server.data.stat().st_uid, server.data.stat().st_gid)
            with server.connect() as connection:
                connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
            yield server, folder, lambda size: mounted(size, "-o", "remount", "-o")
        finally:
            server.stop(signal.SIGQUIT)
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        server.close()


@pytest.mark.fault(27)
def test_a_disk_that_fills_while_loading(bare, small_disk):
    server, disk, resize = small_disk
    study = on(bare, server.url(server.database()) + "&options=-cdefault_tablespace%3Dsmall")
    publish(study, people(A, B), NOW)
    grown = replace(B, nights=60, variant=1)
    put(study, grown)
    held = shutil.disk_usage(disk).used
    assert held > 1 << 19  # the tables stand there
    resize(held + (1 << 16))
    refused(study, Transient, "PostgreSQL has no room on its disk: make room and run again")
    assert all_rows(study) == expected([A, B])
    resize("32m")
    assert publish(study, people(A, grown), NOW).published == ["pb"]
    assert all_rows(study) == expected([A, grown])


def test_a_url_that_is_none(bare):
    with pytest.raises(Exception, match="expected a path below the study, or a URL") as caught:
        type(bare.settings)(study="s", warehouse=f"mysql://{OWNER}:wr0ng@host/db")
    assert caught.value.errors()[0]["loc"] == ("warehouse",)

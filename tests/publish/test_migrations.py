"""Warehouses of the first release, of a newer one and of nobody; frozen migrations end where schemas/ are."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager

import duckdb
import pytest
from alembic.script import ScriptDirectory

from ingest._core.errors import Terminal
from ingest._core.settings import Settings
from ingest.publish import migrate
from ingest.publish.duckdb_warehouse import shape_of as duckdb_shape
from ingest.publish.postgres import connected, run
from ingest.publish.postgres_warehouse import key_statement
from ingest.publish.postgres_warehouse import shape_of as postgres_shape
from ingest.publish.shape import DUCKDB, POSTGRESQL, shape, without_comments
from ingest.publish.warehouse import publish
from publish.conftest import A, B
from publish.small_lake import NOW, expected, people, warehouse_rows
from publish.test_postgres import all_rows, on
from studies import PROJECT


def test_revisions_are_those_alembic_finds():
    scripts = ScriptDirectory(str(PROJECT / "src" / "ingest" / "publish" / "migrations"))
    assert migrate.revisions() == [each.revision for each in scripts.walk_revisions()][::-1]
    assert migrate.head() == scripts.get_current_head()


def test_nothing_is_imported_to_migrate_where_nothing_is_to_be(bare):
    publish(bare, people(A, B), NOW)
    code = (
        "import sys; from pathlib import Path; from publish.small_lake import NOW, study_at, people, put; "
        "from dataclasses import replace; from publish.conftest import A, B; from ingest.publish.warehouse import "
        "publish; study = study_at(Path(sys.argv[1])); put(study, replace(B, variant=1)); "
        "assert publish(study, people(A, B), NOW).published == ['pb']; "
        "print(sorted({'alembic', 'sqlalchemy'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bare.root], cwd=PROJECT / "tests", text=True, capture_output=True, check=False
    )
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr[-2000:]


def missing(found, engine):
    """What the migrations lack or have too much, in words that help to write it into the newest one."""
    wanted = without_comments(shape(Settings(study="s"), engine))
    return sorted(set(wanted) ^ set(without_comments(found)))


def test_migrations_end_where_the_schemas_are_on_duckdb():
    with duckdb.connect() as connection:
        for statement in migrate.upgrade(DUCKDB, None):
            connection.execute(statement)
        assert missing(duckdb_shape(connection, "memory"), DUCKDB) == []


def test_migrations_end_where_the_schemas_are_on_postgresql(postgres):
    with connected(postgres) as connection:
        for statement in migrate.upgrade(POSTGRESQL, None):
            run(connection, statement)
        assert missing(postgres_shape(connection), POSTGRESQL) == []


def first_release(version):
    """Statements of a warehouse as first released, with a participant whose rows are old."""
    made = migrate.upgrade(version, None, migrate.FIRST)
    old = "INSERT INTO participant (participant_id, time_zone, arm) VALUES ('pa', 'UTC', 'old'), ('gone', 'UTC', 'old')"
    mark = (
        f"INSERT INTO publication VALUES ('pa', '{A.mart_hash}', '1', 'settings', '2026-01-01 00:00:00+00'), "
        "('gone', 'h', '1', 'settings', '2026-01-01 00:00:00+00')"
    )
    return [*made, old, mark]


@contextmanager
def file_of(bare):
    with duckdb.connect(str(bare.warehouse)) as connection:
        yield connection


def test_a_duckdb_file_of_the_first_release_is_upgraded(bare):
    with file_of(bare) as connection:
        for statement in first_release(DUCKDB):
            connection.execute(statement)
        # The first release wrote no version.
        connection.execute(f"DROP TABLE {migrate.VERSION_TABLE}")
    done = publish(bare, people(A, B), NOW)
    assert (done.published, done.removed, done.rebuilt) == (["pa", "pb"], ["gone"], None)
    assert warehouse_rows(bare.warehouse) == expected([A, B])
    assert publish(bare, people(A, B), NOW).published == []


def test_rows_that_wait_for_their_marts_survive_the_upgrade(bare):
    with file_of(bare) as connection:
        for statement in first_release(DUCKDB):
            connection.execute(statement)
    (bare.lake / "_mart" / "pa.json").unlink()
    publish(bare, people(A, B), NOW)
    with duckdb.connect(str(bare.warehouse), read_only=True) as connection:
        found = connection.execute("SELECT participant_id, arm FROM participant ORDER BY 1").fetchall()
        assert found == [("pa", "old"), ("pb", "arm0")]
        assert missing(duckdb_shape(connection, bare.warehouse.stem), DUCKDB) == []


@pytest.mark.fault(22)
def test_a_postgresql_schema_of_the_first_release_is_upgraded_with_the_publication(bare, postgres):
    study = on(bare, postgres)
    with connected(postgres) as connection:
        for statement in first_release(POSTGRESQL):
            run(connection, statement)
        run(connection, key_statement("night"))
        connection.commit()
    with pytest.raises(RuntimeError):
        publish(study, people(A, B), NOW, stop)
    with connected(postgres) as connection:
        wanted = duckdb_first_columns()
        found = [(table, column) for table, column, *_ in postgres_shape(connection)]
        assert found == wanted
    assert publish(study, people(A, B), NOW).published == ["pa", "pb"]
    assert all_rows(study) == expected([A, B])
    with connected(postgres) as connection:
        assert postgres_shape(connection) == shape(study.settings, POSTGRESQL)


def stop(*_):
    raise RuntimeError


def duckdb_first_columns():
    with duckdb.connect() as connection:
        for statement in migrate.upgrade(DUCKDB, None, migrate.FIRST):
            connection.execute(statement)
        return [(table, column) for table, column, *_ in duckdb_shape(connection, "memory")]


def test_a_newer_duckdb_file_is_refused_and_not_touched(bare):
    publish(bare, people(A, B), NOW)
    with file_of(bare) as connection:
        connection.execute(f"UPDATE {migrate.VERSION_TABLE} SET version_num = 'ingest_9999'")
    before = bare.warehouse.read_bytes()
    with pytest.raises(Terminal, match="newer version of this program"):
        publish(bare, people(A, B), NOW)
    assert bare.warehouse.read_bytes() == before


def test_a_duckdb_file_of_somebody_else_is_not_touched(bare):
    with file_of(bare) as connection:
        connection.execute("CREATE TABLE theirs AS SELECT 7 AS a")
    before = bare.warehouse.read_bytes()
    with pytest.raises(Terminal, match="something else than a warehouse"):
        publish(bare, people(A, B), NOW)
    assert bare.warehouse.read_bytes() == before

"""The roles of a PostgreSQL warehouse, held to by real logins of a real server: table by verb, and whose rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from ingest._core.contract import PUBLISH, VIEW, fields, kind, published_tables, tables
from ingest.publish.migrations.private import ASSIGNMENT, AUDIT, CONSENT
from ingest.publish.warehouse import publish
from publish.conftest import A, B
from publish.small_lake import NOW, people, put, study_at
from publish.test_postgres import on
from servers import Postgres, start_postgres

ALL, SLEEP, USE, SCALES, NOBODY = "pall", "psleep", "puse", "pscales", "pnone"
GRANTED = {ALL: {"sleep", "substance_use", "scales", "release"}, SLEEP: {"sleep"}, USE: {"substance_use"},
           SCALES: {"scales"}, NOBODY: set()}  # fmt: skip
ANY = {ALL, SLEEP, USE, SCALES}
# Whose rows of a table an analyst sees, and what is seen of nobody in particular (`_study`, `_cohort`).
ROWS: dict[str, set[str]] = {
    "association": {ALL},
    "coverage": ANY,
    "data_quality": ANY,
    "dose_sleep": {ALL},
    "episode": {ALL, SLEEP},
    "flow": ANY,
    "insomnia_night": {ALL, SLEEP},
    "insomnia_week": {ALL, SLEEP},
    "night": {ALL, SLEEP},
    "night_diary": {ALL, SLEEP},
    "night_exposure": {ALL},
    "night_source": {ALL, SLEEP},
    "night_wide": {ALL, SLEEP},
    "participant": ANY,
    "phase": ANY,
    "publication": ANY,
    "quarantine": ANY,
    "safety_signal": {ALL, USE},
    "scale_response": {ALL, SCALES},
    "sleep_diary": {ALL, SLEEP},
    "sleep_session": {ALL, SLEEP},
    "sleep_stage": {ALL, SLEEP},
    "source_file": ANY,
    "substance_use": {ALL, USE},
    "trend": {ALL, SLEEP},
    CONSENT: ANY,
    ASSIGNMENT: set(),
}
WITHOUT_PEOPLE = {"ops_run", AUDIT, "ingest_version"}
ENTRY = f"INSERT INTO {AUDIT} (entry_id, action, state, who, via) VALUES"
READS, WRITES = {"SELECT", "COPY TO"}, {"INSERT", "UPDATE", "DELETE", "TRUNCATE", "COPY FROM"}
EVERYTHING = READS | WRITES
PARTLY = {"sleep_session": "source_record_id", "safety_signal": "acknowledged_by"}


def verbs(role: str, relation: str) -> set[str]:
    """What the role may do with a table or view; of a table with withheld columns: with the others."""
    view = relation in tables(VIEW)
    if relation == AUDIT:
        return READS if role == "auditor" else set()  # INSERT: of some columns, which has its own test
    if role == "loader":
        return READS if view else EVERYTHING
    if role == "auditor":
        return READS if relation == "ops_run" else set()
    if relation == "ingest_version" or (role, relation) in {("clinician", "ops_run"), ("analyst", ASSIGNMENT)}:
        return set()
    return READS


@dataclass(frozen=True)
class Server:
    """A published study of people made up, and logins of each role: ana, clio, aud, load."""

    postgres: Postgres
    database: str

    def login(self, user: str) -> psycopg.Connection[Any]:
        return self.postgres.connect(self.database, user)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    """A server of its own: roles are a server's."""
    server = start_postgres()
    with server.connect() as connection:
        for statement in (
            "CREATE ROLE owner LOGIN CREATEROLE",
            "CREATE ROLE plain LOGIN",
            "CREATE DATABASE study OWNER owner",
            "CREATE DATABASE other OWNER owner",
            "CREATE DATABASE poor OWNER plain",
        ):
            connection.execute(statement)
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(cluster: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Server:
    study = on(study_at(tmp_path_factory.mktemp("roles") / "study"), cluster.url("study", "owner"))
    publish(study, {}, NOW)
    with cluster.connect("study") as connection:
        for name, role in (("ana", "analyst"), ("clio", "clinician"), ("aud", "auditor"), ("load", "loader")):
            connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE ingest_{role}")
        connection.execute("CREATE ROLE stranger LOGIN")
        fill(connection)
    return Server(cluster, "study")


VALUES = {"string": "x", "number": 1.0, "integer": 1, "boolean": True, "date": "2026-03-01",
          "instant": "2026-03-01 22:00:00+00", "clock": "2026-03-01 22:00:00"}  # fmt: skip


def made_up(table: str, participant: str, also: dict[str, Any]) -> dict[str, Any]:
    """A row with something in each column, keys of its own for each participant."""
    row = {field["name"]: VALUES[kind(field)] for field in fields(table, PUBLISH)}
    row |= {name: f"{participant}-{name}" for name in row if name.endswith("_id")}
    return row | {"participant_id": participant} | also


def fill(connection: psycopg.Connection[Any]) -> None:
    """A row of everybody in every table, as the rows of views need them."""
    fitting: dict[str, dict[str, Any]] = {
        "insomnia_week": {"state": "episode", "week_class": "positive"},
        "safety_signal": {"rule": "extreme_dose"},
    }
    for table in published_tables():
        if table in WITHOUT_PEOPLE:
            insert(connection, table, made_up_run())
            continue
        for participant in (*GRANTED, "_study", "_cohort"):
            insert(connection, table, made_up(table, participant, fitting.get(table, {})))
    for pid, scopes in GRANTED.items():
        for scope in scopes:
            insert(connection, CONSENT, {"participant_id": pid, "scope": scope})
    for pid in (ALL, USE, NOBODY):
        insert(connection, ASSIGNMENT, {"clinician": "clio", "participant_id": pid})
    insert(connection, ASSIGNMENT, {"clinician": "somebody else", "participant_id": SLEEP})
    connection.execute(f"{ENTRY} ('1', 'run', 'done', 'w', 'v')")


def made_up_run() -> dict[str, Any]:
    return {field["name"]: VALUES[kind(field)] for field in fields("ops_run", PUBLISH)}


def insert(connection: psycopg.Connection[Any], table: str, row: dict[str, Any]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        ),
        list(row.values()),
    )  # fmt: skip


def seen(connection: psycopg.Connection[Any], relation: str) -> set[str]:
    rows = connection.execute(f"SELECT DISTINCT participant_id FROM {relation}").fetchall()
    return {pid for (pid,) in rows} - {"_study", "_cohort"}


def try_out(connection: psycopg.Connection[Any], verb: str, relation: str, columns: str) -> None:
    first = columns.split(", ", maxsplit=1)[0]
    with connection.transaction(force_rollback=True):
        if verb == "COPY TO":
            with connection.cursor().copy(f"COPY (SELECT {columns} FROM {relation}) TO STDOUT") as copy:
                list(copy)
        elif verb == "COPY FROM":
            with connection.cursor().copy(f"COPY {relation} FROM STDIN"):
                pass
        else:
            connection.execute({
                "SELECT": f"SELECT {columns} FROM {relation}",
                "INSERT": f"INSERT INTO {relation} ({first}) SELECT NULL WHERE false",
                "UPDATE": f"UPDATE {relation} SET {first} = {first} WHERE false",
                "DELETE": f"DELETE FROM {relation} WHERE false",
                "TRUNCATE": f"TRUNCATE {relation}",
            }[verb])  # fmt: skip


def relations() -> list[str]:
    return [*published_tables(), *tables(VIEW), CONSENT, ASSIGNMENT, AUDIT, "ingest_version"]


def test_every_table_and_view_has_its_row_here(server: Server) -> None:
    assert {*ROWS, *WITHOUT_PEOPLE} == set(relations())
    with server.login("owner") as connection:
        found = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
                                   "AND relkind IN ('r', 'v', 'm', 'p', 'f')").fetchall()  # fmt: skip
    assert {name for (name,) in found} == set(relations())


@pytest.mark.parametrize(("user", "role"), [("ana", "analyst"), ("clio", "clinician"), ("aud", "auditor"),
                                            ("load", "loader"), ("stranger", "")])  # fmt: skip
def test_each_role_may_do_what_stands_here_and_nothing_else(server: Server, user: str, role: str) -> None:
    wrong = []
    with server.login(user) as connection:
        for relation in relations():
            columns = "participant_id"
            columns = {"ops_run": "run_id", AUDIT: "login", "ingest_version": "version_num"}.get(relation, columns)
            may = verbs(role, relation) if role else set()
            for verb in sorted(EVERYTHING if relation not in tables(VIEW) else READS):
                denied = False
                try:
                    try_out(connection, verb, relation, columns)
                except InsufficientPrivilege:
                    denied = True
                if denied == (verb in may):
                    wrong.append(f"{relation}: {verb} {'denied' if denied else 'allowed'}")
    assert wrong == []


@pytest.mark.parametrize("how", ["login", "set role"])
def test_an_analyst_sees_who_granted_the_tables_scope(server: Server, how: str) -> None:
    with server.login("ana" if how == "login" else "ingest") as connection:
        if how == "set role":
            connection.execute("SET ROLE ingest_analyst")
        found = {relation: seen(connection, relation) for relation in ROWS if relation != ASSIGNMENT}
        assert found == {relation: rows for relation, rows in ROWS.items() if relation != ASSIGNMENT}
        common = connection.execute("SELECT DISTINCT participant_id FROM association ORDER BY 1").fetchall()
        assert common == [("_cohort",), ("_study",), (ALL,)]


def test_a_clinician_sees_the_participants_assigned_and_no_others(server: Server) -> None:
    with server.login("clio") as connection:
        for relation, rows in ROWS.items():
            found = {pid for (pid,) in connection.execute(f"SELECT DISTINCT participant_id FROM {relation}").fetchall()}
            mine = {ALL, USE, NOBODY} if relation == ASSIGNMENT else rows & {ALL, USE}
            assert found == mine, relation
    with server.login("ingest") as connection:  # who is no clinician by their own name sees nobody
        connection.execute("SET ROLE ingest_clinician")
        assert {relation for relation in ROWS if seen(connection, relation)} == set()


@pytest.mark.parametrize("relation", PARTLY)
def test_columns_that_no_analyst_has(server: Server, relation: str) -> None:
    with server.login("ana") as connection:
        for words in (PARTLY[relation], "*"):
            with pytest.raises(InsufficientPrivilege):
                connection.execute(f"SELECT {words} FROM {relation}")
        rest = [field["name"] for field in fields(relation, PUBLISH) if field["name"] != PARTLY[relation]]
        assert connection.execute(f"SELECT {', '.join(rest)} FROM {relation}").fetchall()


def test_signals_of_answers_need_the_scope_of_answers(server: Server) -> None:
    with server.login("ingest") as connection, connection.transaction(force_rollback=True):
        connection.execute("UPDATE safety_signal SET rule = 'safety_item'")
        connection.execute("SET LOCAL ROLE ingest_analyst")
        assert seen(connection, "safety_signal") == {ALL, SCALES}


def test_no_way_round(server: Server) -> None:
    """Functions that tell what they are given, views of one's own, switched-off security, other people's roles."""
    with server.login("ana") as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda said: notices.append(str(said.message_primary)))
        connection.execute("CREATE FUNCTION pg_temp.tells(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS "
                           "$$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$")  # fmt: skip
        for relation in ("night", "night_wide", "episode", "data_quality"):
            connection.execute(f"SELECT count(*) FROM {relation} WHERE pg_temp.tells(participant_id)")
        assert set(notices) <= {*ANY, "_study", "_cohort"}
        assert NOBODY not in notices
        assert ALL in notices
        connection.execute("CREATE TEMP VIEW mine AS SELECT * FROM night")
        assert seen(connection, "mine") == ROWS["night"]
        connection.execute("SET row_security = off")
        for denied in ("SELECT * FROM night", "SET ROLE ingest_loader", "SET ROLE ingest_auditor", "SET ROLE clio",
                       "CREATE VIEW leak AS SELECT * FROM night", "ALTER TABLE night DISABLE ROW LEVEL SECURITY",
                       "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                       f"SELECT {AUDIT}_stamp()", "GRANT ingest_auditor TO ana"):  # fmt: skip
            with pytest.raises((InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                connection.execute(denied)  # type: ignore[call-overload]


def test_no_function_of_the_warehouse_runs_as_its_owner(server: Server) -> None:
    with server.login("owner") as connection:
        found = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
                                   "AND prosecdef").fetchall()  # fmt: skip
    assert found == []


@pytest.mark.fault(74)
@pytest.mark.parametrize("user", ["ana", "clio", "aud", "load"])
def test_entries_of_the_audit_are_only_ever_added(server: Server, user: str) -> None:
    with server.login(user) as connection, connection.transaction(force_rollback=True):
        connection.execute(f"{ENTRY} ('9', 'q', 's', 'me', 'v')")
        for statement in (
            f"UPDATE {AUDIT} SET who = 'nobody'", f"DELETE FROM {AUDIT}", f"TRUNCATE {AUDIT}", f"DROP TABLE {AUDIT}",
            f"ALTER TABLE {AUDIT} DISABLE TRIGGER ALL", f"DROP TRIGGER {AUDIT}_keep ON {AUDIT}",
            f"INSERT INTO {AUDIT} (entry_id, action, state, who, via, login) VALUES ('9', 'q', 's', 'm', 'v', 'else')",
            f"INSERT INTO {AUDIT} (entry_id, action, state, who, via, at) VALUES ('9', 'q', 's', 'm', 'v', 'epoch')",
            f"CREATE OR REPLACE FUNCTION {AUDIT}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN END $$",
        ):  # fmt: skip
            with pytest.raises(InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
    with server.login(user) as connection:
        connection.execute(f"{ENTRY} (%s, 'q', 's', 'x', 'v')", [user])
    with server.login("aud") as connection:
        assert connection.execute(f"SELECT login, at > now() - interval '1 hour' FROM {AUDIT} WHERE entry_id = %s",
                                  [user]).fetchall() == [(user, True)]  # fmt: skip


@pytest.mark.fault(74)
@pytest.mark.parametrize("verb", ["UPDATE {} SET who = 'nobody'", "DELETE FROM {}", "TRUNCATE {}"])
def test_not_even_the_owner_or_a_superuser_changes_them_unawares(server: Server, verb: str) -> None:
    for user in ("owner", "ingest"):
        with server.login(user) as connection, pytest.raises(InsufficientPrivilege, match="only ever added"):
            connection.execute(verb.format(AUDIT))  # type: ignore[call-overload]


def held(cluster: Postgres, database: str) -> list[tuple[Any, ...]]:
    """Owners, rights and policies as the catalog has them."""
    with cluster.connect(database) as connection:
        return connection.execute(
            "SELECT relname, relowner::regrole::text, relrowsecurity, relacl::text, reloptions::text, "
            "(SELECT array_agg(polname || pg_get_expr(polqual, polrelid) ORDER BY polname) FROM pg_policy "
            "WHERE polrelid = c.oid)::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace "
            "AND relkind IN ('r', 'v') ORDER BY 1"
        ).fetchall()


def test_rights_outlive_publications_and_come_back_where_they_were_taken(cluster: Postgres, tmp_path: Path) -> None:
    study = on(study_at(tmp_path / "study"), cluster.url("other", "owner"))
    put(study, A, B)
    publish(study, people(A, B), NOW)
    before = held(cluster, "other")
    put(study, replace(B, nights=5, variant=1))
    done = publish(study, people(A, replace(B, nights=5, variant=1)), NOW)
    assert done.published == ["pb"]
    assert held(cluster, "other") == before
    with cluster.connect("other") as connection:
        for statement in (
            "REVOKE ALL ON night FROM ingest_analyst", "DROP POLICY ingest_clinician_rows ON night",
            "GRANT SELECT ON ingest_audit TO ingest_analyst", "ALTER TABLE trend DISABLE ROW LEVEL SECURITY",
            "ALTER VIEW episode RESET (security_invoker)", "DROP VIEW night_wide",
            "CREATE POLICY open ON night FOR SELECT TO PUBLIC USING (true)", "ALTER TABLE phase OWNER TO owner",
        ):  # fmt: skip
            connection.execute(statement)
    publish(study, people(A, replace(B, nights=5, variant=1)), NOW)
    again = [(name, owner, *rest) for name, owner, *rest in held(cluster, "other")]
    assert [sorted(str(cell)) for row in again for cell in row] == [sorted(str(cell)) for row in before for cell in row]
    with cluster.connect("other", "load") as connection:
        assert connection.execute("SELECT count(*) FROM night").fetchall() == [(8,)]


def test_a_login_of_the_loaders_publishes_all_of_it(cluster: Postgres, server: Server, tmp_path: Path) -> None:
    study = on(study_at(tmp_path / "study"), cluster.url("other", "owner"))
    put(study, A)
    publish(study, people(A), NOW)
    study = on(study, cluster.url("other", "load"))
    with cluster.connect("other") as connection:
        connection.execute("DROP VIEW night_wide")
    put(study, B)
    assert publish(study, people(A, B), NOW).published == ["pb"]
    with cluster.connect("other", "ana") as connection:
        assert seen(connection, "night") == {"pa", "pb"}
    owners = {owner for name, owner, *_ in held(cluster, "other") if name != AUDIT}
    assert owners == {"ingest_loader"}


def test_without_the_right_to_make_roles_it_goes_on_and_says_what_to_do(
    cluster: Postgres, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    study = on(study_at(tmp_path / "study"), cluster.url("poor", "plain"))
    own = study.settings.model_copy(update={"access": study.settings.access.model_copy(update={"roles": "poor"})})
    study = replace(study, settings=own)
    put(study, A)
    assert publish(study, people(A), NOW).published == ["pa"]
    said = [each.getMessage() for each in caplog.records if "roles are not complete" in each.getMessage()]
    assert len(said) == 1
    lines = said[0].partition("`")[2].partition("`")[0]
    assert [line.strip() for line in lines.split(";") if line.strip()] == [
        f"CREATE ROLE poor_{kind} NOLOGIN" for kind in ("loader", "analyst", "clinician", "auditor")
    ]
    with cluster.connect("poor", "stranger") as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT * FROM night")
    with cluster.connect("poor") as connection:
        connection.execute(lines)
        connection.execute("CREATE ROLE poor_ana LOGIN IN ROLE poor_analyst")
    caplog.clear()
    publish(study, people(A), NOW)
    assert "GRANT poor_loader TO plain" in caplog.text
    with cluster.connect("poor", "poor_ana") as connection:
        assert seen(connection, "night") == {"pa"}
    # An analyst of one study is nobody in another's, where the roles have names of their own.
    with cluster.connect("poor", "ana") as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT * FROM night")
    with cluster.connect("poor") as connection:
        connection.execute("GRANT poor_loader TO plain")
    caplog.clear()
    publish(study, people(A), NOW)
    publish(study, people(A), NOW)
    assert caplog.text == ""


def test_no_roles_are_looked_to_where_the_study_wants_none(cluster: Postgres, tmp_path: Path) -> None:
    with cluster.connect() as connection:
        connection.execute("CREATE DATABASE bare")
    study = on(study_at(tmp_path / "study"), cluster.url("bare"))
    own = study.settings.model_copy(update={"access": study.settings.access.model_copy(update={"roles": None})})
    put(study, A)
    publish(replace(study, settings=own), people(A), NOW)
    assert {acl for _, _, secured, acl, *_ in held(cluster, "bare") if secured} == set()

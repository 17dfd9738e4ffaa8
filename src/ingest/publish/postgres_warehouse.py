"""The PostgreSQL warehouse: one transaction under an advisory lock, rows by binary COPY."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

import duckdb
import pyarrow as pa

from ingest._core import contract
from ingest._core.contract import COHORT, OPS
from ingest._core.errors import Terminal, Transient
from ingest._core.study import Study
from ingest.publish import migrate, postgres_access
from ingest.publish.duckdb_files import clear_errors as clear_duckdb_errors
from ingest.publish.duckdb_files import session, sweep
from ingest.publish.gate import Gate
from ingest.publish.lake_files import Parameters
from ingest.publish.migrations.private import ASSIGNMENT, CONSENT
from ingest.publish.postgres import ERRORS, Connection, clear_errors, connected, rows, run, told
from ingest.publish.shape import POSTGRESQL, STAGES, Shape, clustered_key, quoted, shape, without_comments
from ingest.publish.stale import Held, Plan
from ingest.publish.views import Ask, Run, drop_views, make_views, views_stand

NAME = "the warehouse"
LOCK_WAIT = "30s"
_LOCK_CLASS = 0x51EE9
_BATCH_ROWS = 50_000
_MANY = 20
_SESSIONS = 2
_SORT_MEMORY = "256MB"
_STATISTICS = "pg_statistic"
"""Holds values of columns; who owns the database may vacuum it, and the server only warns whoever does not."""
log = logging.getLogger(__name__)


class PostgresWarehouse:
    """A study's schema in PostgreSQL while one publication has it."""

    def __init__(self, study: Study, url: str) -> None:
        self._study = study
        self._url = url
        self._connection: Connection
        self._touched = False
        self._sources: deque[duckdb.DuckDBPyConnection]
        self._copier: ThreadPoolExecutor
        self._copying: Future[int]
        self._there: dict[str, str] = {}
        self._gate = Gate()

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Begin the transaction, lock, bring the tables to this version's, and say what they hold."""
        with connected(self._url) as self._connection, clear_errors(NAME), clear_duckdb_errors():
            run(self._connection, f"SET lock_timeout = '{LOCK_WAIT}'")
            self._lock()
            self._there = self._roles()
            found = self._relations()
            if not found:
                self._run_all(migrate.creation(POSTGRESQL, self._study.settings))
                yield Held(unusable="", gate=Gate())
                return
            self._upgrade(found)
            self._gate = self._stands()
            held = dict(rows(self._connection, "SELECT participant_id, mart_hash FROM publication"))
            if self._comment():
                held = dict.fromkeys(held, "")
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT * FROM participant")
                people = cursor.fetch_arrow_table().to_pylist()
            stand = views_stand(self._study.settings, *self._views())
            stand = stand and not postgres_access.differences(self._ask(), self._there)
            yield Held(held, {row["participant_id"]: row for row in people}, upgraded=self._touched or not stand,
                       gate=self._gate)  # fmt: skip

    def _ask(self) -> postgres_access.Ask:
        return partial(rows, self._connection)

    def _roles(self) -> dict[str, str]:
        """The server's roles, made where there are none and this login may make them; by themselves, so that others
        who look for them do not wait for this publication.
        """
        names = self._study.settings.access.names()
        there = postgres_access.roles_there(self._ask(), names)
        sql = "SELECT rolcreaterole OR rolsuper FROM pg_roles WHERE rolname = current_user"
        if len(there) < len(names) and rows(self._connection, sql)[0][0]:
            with connected(self._url) as connection:
                missing = [name for kind, name in names.items() if kind not in there]
                for statement in postgres_access.role_statements(missing, names["loader"]):
                    run(connection, statement)
                connection.commit()
            there = postgres_access.roles_there(self._ask(), names)
        return there

    def _stands(self) -> Gate:
        granted = rows(self._connection, f"SELECT participant_id, scope FROM {CONSENT}")  # noqa: S608 - a constant
        assigned = rows(self._connection, f"SELECT clinician, participant_id FROM {ASSIGNMENT}")  # noqa: S608 - a constant
        return Gate(frozenset((pid, scope) for pid, scope in granted), frozenset((who, pid) for who, pid in assigned))

    def _lock(self) -> None:
        schema = rows(self._connection, "SELECT current_schema()")[0][0]
        if schema is None:
            raise Terminal("PostgreSQL: the role has no schema to write in; grant it USAGE and CREATE on one")
        got = rows(self._connection, f"SELECT pg_try_advisory_xact_lock({_LOCK_CLASS}, hashtext(current_schema()))")
        if not got[0][0]:
            raise Transient("another publication has the warehouse; run again when it has ended")

    def _relations(self) -> set[str]:
        sql = ("SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
               "AND relkind IN ('r', 'v', 'm', 'p', 'f', 'S')")  # fmt: skip
        return {name for (name,) in rows(self._connection, sql)}

    def _upgrade(self, relations: set[str]) -> None:
        where = "this database (its schema, where the URL names one)"
        if migrate.VERSION_TABLE not in relations:
            raise migrate.not_ours(where)
        found = rows(self._connection, f"SELECT version_num::text FROM {migrate.VERSION_TABLE}")  # noqa: S608 - a constant
        since = migrate.check_revision([name for (name,) in found], where)
        if since != migrate.head():
            drop_views(partial(run, self._connection))
            self._run_all(migrate.upgrade(POSTGRESQL, since))
        now, wanted = shape_of(self._connection), shape(self._study.settings, POSTGRESQL)
        if without_comments(now) != without_comments(wanted):
            odd = sorted({column[:2] for column in set(without_comments(now)) ^ set(without_comments(wanted))})
            raise Terminal(
                f"tables of the warehouse were changed by hand, first {'.'.join(odd[0])}; undo that, or drop the "
                "warehouse's tables and run again"
            )

    def _comment(self) -> bool:
        """Bring the comments up to date; True where they say that stages were left out and now are not, or the
        other way round.
        """
        now, wanted = shape_of(self._connection), shape(self._study.settings, POSTGRESQL)
        self._run_all(migrate.comment_changes(now, wanted))
        had, has = ({column[5] for column in each if column[0] == STAGES} for each in (now, wanted))
        return had != has

    @contextmanager
    def changed(self, has: Held, todo: Plan) -> Iterator[None]:
        """The warehouse without the rows `todo` replaces, to be filled; committed at the end."""
        if has.unusable is None:
            self._delete(todo)
        with self._selecting():
            yield
            self._copying.result()
        self._add_keys()
        make_views(self._study.settings, *self._views())
        for statement in postgres_access.differences(self._ask(), self._there):
            run(self._connection, statement)
        self._tell_what_is_left()
        self._connection.commit()
        if todo.scrub:
            with clear_errors(NAME):
                tables = [*contract.published_tables(), *postgres_access.PRIVATE, _STATISTICS]
                self._each("VACUUM (FULL, ANALYZE)", tables)
        elif has.unusable is not None:
            self._tidy("ANALYZE")  # nothing was deleted; VACUUM would read and write all of it once more
        elif has.upgraded or todo.removed or len(todo.people) >= _MANY:
            self._tidy("VACUUM (ANALYZE)")

    @contextmanager
    def _selecting(self) -> Iterator[None]:
        """Two sessions that rows are selected in by turns, and a thread that copies from the one while the other
        is at work: the server takes in a table while the next is read and sorted.
        """
        spills = [self._study.root / f"postgresql-{n}" for n in range(2)]
        try:
            with ExitStack() as until_done:
                self._sources = deque(until_done.enter_context(session(spill)) for spill in spills)
                self._copier = until_done.enter_context(ThreadPoolExecutor(1))
                self._copying = self._copier.submit(int)
                yield
        finally:
            for spill in spills:
                sweep(spill)

    def source(self) -> duckdb.DuckDBPyConnection:
        """The connection that the next rows are selected in."""
        return self._sources[0]

    def insert(self, table: str, sql: str, parameters: Parameters, _ids: list[str] | None) -> Callable[[], int]:
        """COPY what a SELECT in `source` gives, in batches; waits for the one before. What comes back waits for this
        one and says how many rows.

        Raises Terminal where two rows have one key, of this table or of the one before.
        """
        reader = self._sources[0].execute(sql, parameters).to_arrow_reader(_BATCH_ROWS)
        self._copying.result()
        self._copying = self._copier.submit(self._copy, table, reader)
        self._sources.rotate()
        return self._copying.result

    def admit(self, to: Gate) -> None:
        """Let row-level security rest on `to`."""
        self._copying.result()
        for table, had, has, names in (
            (CONSENT, self._gate.granted, to.granted, ("participant_id", "scope")),
            (ASSIGNMENT, self._gate.assigned, to.assigned, ("clinician", "participant_id")),
        ):
            if had != has:
                run(self._connection, f"DELETE FROM {table}")  # noqa: S608 - a constant
                columns = zip(*sorted(has), strict=True) if has else [(), ()]
                made = pa.table([pa.array(column, pa.string()) for column in columns], names=list(names))
                self._copy(table, made.to_reader())

    def _tell_what_is_left(self) -> None:
        left = postgres_access.not_possible(self._ask(), self._study.settings.access.names(), self._there)
        if left:
            log.warning(
                "roles are not complete, so not everybody is let in; whoever runs the server says `%s;`, and the next "
                "publication does the rest (docs/warehouse.md)",
                "; ".join(left),
            )

    def insert_arrow(self, table: str, added: pa.Table) -> None:
        """Add rows."""
        self._copying.result()
        self._copy(table, added.to_reader())

    def size_bytes(self) -> int:
        """Bytes of the schema's tables and indexes."""
        sql = ("SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
               "WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'")  # fmt: skip
        return int(rows(self._connection, sql)[0][0])

    def _copy(self, table: str, reader: pa.RecordBatchReader) -> int:
        try:
            with self._connection.cursor() as cursor:
                return int(cursor.adbc_ingest(table, reader, mode="append"))
        except ERRORS as error:
            raise _told_of(table, error) from None

    def _delete(self, todo: Plan) -> None:
        ids = ",".join(todo.replaced)
        for table in contract.published_tables():
            stage = contract.schemas()[table]["stage"]
            if stage not in (COHORT, OPS):
                sql = f"DELETE FROM {table} WHERE participant_id = ANY(string_to_array($1, ','))"  # noqa: S608 - names of schemas/
                run(self._connection, sql, ids)
            elif stage == OPS or todo.cohort_differs:
                run(self._connection, f"DELETE FROM {table}")  # noqa: S608 - names of schemas/

    def _add_keys(self) -> None:
        """The primary keys that are still missing: made after the first rows, they are sorted once."""
        sql = ("SELECT relname::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
               "AND relkind = 'r' AND NOT relhasindex")  # fmt: skip
        without = {name for (name,) in rows(self._connection, sql)}
        run(self._connection, f"SET LOCAL maintenance_work_mem = '{_SORT_MEMORY}'")
        for table in contract.published_tables():
            if table in without:
                try:
                    run(self._connection, key_statement(table))
                except ERRORS as error:
                    raise _told_of(table, error) from None

    def _views(self) -> tuple[Ask, Run, str]:
        return partial(rows, self._connection), partial(run, self._connection), POSTGRESQL

    def _tidy(self, how: str) -> None:
        """Give dead rows' room free and tell the planner what the key's columns hold, which the server looks at in
        other columns when it comes to it; the publication stands in any case.
        """
        tables = [f"{table} ({', '.join(map(quoted, clustered_key(table)))})" for table in contract.published_tables()]
        try:
            with ThreadPoolExecutor(_SESSIONS) as pool:
                for done in [pool.submit(self._each, how, tables[n::_SESSIONS]) for n in range(_SESSIONS)]:
                    done.result()
        except ERRORS as error:
            log.warning("published, but not vacuumed: %s", told(error, NAME))

    def _each(self, statement: str, tables: Sequence[str]) -> None:
        with connected(self._url) as connection:
            connection.adbc_connection.set_autocommit(True)
            for table in tables:
                run(connection, f"{statement} {table}")

    def _run_all(self, statements: list[str]) -> None:
        for statement in statements:
            run(self._connection, statement)
            self._touched = True


def key_statement(table: str) -> str:
    """The statement that gives a table its primary key, or an index where a column of it may be NULL."""
    may_be_null = {field["name"] for field in contract.fields(table, contract.PUBLISH) if not contract.required(field)}
    key = clustered_key(table)
    names = ", ".join(map(quoted, key))
    if may_be_null & set(key):
        return f"CREATE UNIQUE INDEX {table}_key ON {table} ({names}) NULLS NOT DISTINCT"
    return f"ALTER TABLE {table} ADD PRIMARY KEY ({names})"


def shape_of(connection: Connection) -> Shape:
    """Every column of the warehouse's tables in the session's schema as it is."""
    names = ",".join(contract.published_tables())
    sql = (
        "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, "
        "coalesce(col_description(c.oid, a.attnum), ''), coalesce(obj_description(c.oid, 'pg_class'), '') "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped "
        "AND c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace "
        "AND c.relname = ANY(string_to_array($1, ','))"
    )
    return sorted(rows(connection, sql, names))


def _told_of(table: str, error: Exception) -> Exception:
    state = getattr(error, "sqlstate", None)
    if state == "23505":
        key = ", ".join(map(quoted, contract.primary_key(table)))
        return Terminal(f"table {table}: two rows have the same {key}; nothing was published")
    if state == "22021":
        return Terminal(
            f"table {table}: a text holds a NUL byte, which PostgreSQL cannot hold; take it out of the export or "
            "publish to DuckDB; nothing was published"
        )
    return error

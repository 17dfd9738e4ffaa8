"""Takes participant_ids out of what Airflow itself stores.

    python -m ingest_airflow.forget [--rewrite] [--logs FOLDER] PARTICIPANT_ID ...

To be run where `airflow` can reach its metadata database, after `erase_participant`; `ingest erase --airflow` runs it.
Prints what was taken out and what remains. Ids stand in XComs, rendered fields, what forms were filled in with, the
audit log, callbacks of deadlines, and in task logs; what scheduler and API server print goes wherever they were told to
(`--logs`). With `--rewrite` PostgreSQL writes the tables anew that held them, each closed to Airflow for that while.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine, Table

DELETED = ("xcom", "rendered_task_instance_fields")
EMPTIED: dict[str, tuple[str, Any]] = {"dag_run": ("conf", {}), "log": ("extra", None)}
CALLBACKS = ("callback",)
REWRITE = "--rewrite"
PLACEHOLDER = "p" + "0" * 20


def main(arguments: list[str]) -> int:
    """0 if nothing remains that can be reached, 1 if something does, 2 for wrong use."""
    asked = argparse.ArgumentParser(prog="python -m ingest_airflow.forget")
    asked.add_argument(REWRITE, action="store_true")
    asked.add_argument("--logs", type=Path, action="append", default=[])
    asked.add_argument("ids", nargs="+")
    said = asked.parse_args(arguments)
    ids = said.ids
    if not all(re.fullmatch("p[0-9a-f]{20}", each) for each in ids):
        sys.stderr.write("expected participant_ids: `p` and 20 hexadecimal digits\n")
        return 2
    from airflow.configuration import conf

    from airflow import settings

    if settings.engine is None:
        settings.initialize()  # type: ignore[no-untyped-call]
    logs = [Path(conf.get("logging", "base_log_folder")), *said.logs]
    held = {table for each in ids for table, _, _ in rows_with(settings.engine, each)}
    lines = [line for each in ids for line in forget_rows(settings.engine, each)]
    lines += [line for each in ids for folder in logs for line in forget_logs(folder, each)]
    # Also those of an earlier call that could not write them anew.
    lines += settle(settings.engine, said.rewrite, {*DELETED, *EMPTIED, *CALLBACKS, *held})
    remaining = [found for each in ids for found in rows_with(settings.engine, each)]
    lines += [f"remains: {table}.{column} in {count} rows" for table, column, count in remaining]
    if conf.getboolean("logging", "remote_logging"):
        lines.append(f"remains: what is in {conf.get('logging', 'remote_base_log_folder')}, which is not looked at")
    lines.append("remains: backups of Airflow's database and logs; they end with their retention")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if remaining else 0


def forget_rows(engine: Engine, participant_id: str) -> Iterator[str]:
    """Delete or empty the rows that hold the id; yields a line for each table where there were some."""
    from sqlalchemy import delete, null, update

    with engine.begin() as connection:
        for table, column, _ in [*_found(connection, participant_id)]:
            holds = _holds(column, participant_id)
            if table.name in DELETED:
                count = connection.execute(delete(table).where(holds)).rowcount
                yield f"deleted: {count} rows of {table.name}"
            elif EMPTIED.get(table.name, ("", None))[0] == column.name:
                value = EMPTIED[table.name][1]
                new = {column.name: null() if value is None else value}
                count = connection.execute(update(table).where(holds).values(new)).rowcount
                yield f"emptied: {count} rows of {table.name}.{column.name}"
            elif not column.primary_key and not column.foreign_keys:
                # A callback that waits for a deadline holds the form, and another version of Airflow other things.
                new = {column.name: _without(column, participant_id, engine.dialect.name)}
                count = connection.execute(update(table).where(holds).values(new)).rowcount
                yield f"overwritten: the id in {count} rows of {table.name}.{column.name}"


def _without(column: Column[Any], participant_id: str, dialect: str) -> Any:
    """The column's text with zeros in the id's place."""
    from sqlalchemy import Text, cast, func, type_coerce

    changed = func.replace(cast(column, Text), participant_id, PLACEHOLDER)
    # SQLite holds JSON as text, and would make a number of it.
    return type_coerce(changed, column.type) if dialect == "sqlite" else cast(changed, column.type)


def settle(engine: Engine, rewrite: bool, tables: Collection[str]) -> Iterator[str]:
    """Take what was in `tables` out of the database's files, too, on PostgreSQL where `rewrite` says so; yields what
    stays.
    """
    from sqlalchemy import inspect

    statements = []
    there = {*tables} & {*inspect(engine).get_table_names()}
    if engine.dialect.name == "sqlite":
        statements = ["VACUUM"]
    elif engine.dialect.name == "postgresql" and rewrite:
        statements = [f"VACUUM (FULL, ANALYZE) {table}" for table in (*sorted(there), "pg_statistic")]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    if not statements:
        yield f"remains: deleted rows in the database's files, until they are written anew (PostgreSQL: {REWRITE})"
    if engine.dialect.name != "sqlite":
        yield "remains: the database's write-ahead log, until it is used again"


def rows_with(engine: Engine, participant_id: str) -> Iterator[tuple[str, str, int]]:
    """Table, column and count of rows, wherever in the database the id stands."""
    with engine.connect() as connection:
        yield from [(t.name, c.name, count) for t, c, count in _found(connection, participant_id)]


def _found(connection: Connection, participant_id: str) -> Iterator[tuple[Table, Column[Any], int]]:
    from sqlalchemy import JSON, MetaData, String, func, select

    tables = MetaData()
    tables.reflect(connection)
    for table in tables.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, String | JSON):
                count = connection.scalar(select(func.count()).select_from(table).where(_holds(column, participant_id)))
                if count:
                    yield table, column, count


def _holds(column: Column[Any], participant_id: str) -> Any:
    from sqlalchemy import Text, cast

    return cast(column, Text).contains(participant_id)


def forget_logs(folder: Path, participant_id: str) -> Iterator[str]:
    """Put zeros in the id's place in every log file below `folder`, in the file itself: it may be being written to."""
    old, new, count = participant_id.encode(), PLACEHOLDER.encode(), 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()):
        data = path.read_bytes()
        found = [match.start() for match in re.finditer(re.escape(old), data)]
        if found:
            with path.open("r+b") as stream:
                for place in found:
                    stream.seek(place)
                    stream.write(new)
            count += 1
    if count:
        yield f"overwritten: the id in {count} log files"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Takes participant_ids out of what Airflow itself stores.

    python -m ingest_airflow.forget [--rewrite] PARTICIPANT_ID ...

To be run where `airflow` can reach its metadata database, after `erase_participant`; `ingest erase --airflow` runs it.
Prints what was taken out and what remains. Ids stand in XComs, rendered fields, what forms were filled in with, the
audit log, and in task logs. With `--rewrite` PostgreSQL writes the tables anew that held them, each closed to Airflow
for that while.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine, Table

DELETED = ("xcom", "rendered_task_instance_fields")
EMPTIED: dict[str, tuple[str, Any]] = {"dag_run": ("conf", {}), "log": ("extra", None)}
REWRITE = "--rewrite"
PLACEHOLDER = "p" + "0" * 20


def main(arguments: list[str]) -> int:
    """0 if nothing remains that can be reached, 1 if something does, 2 for wrong use."""
    rewrite, ids = REWRITE in arguments, [each for each in arguments if each != REWRITE]
    if not ids or not all(re.fullmatch("p[0-9a-f]{20}", each) for each in ids):
        sys.stderr.write(f"usage: python -m ingest_airflow.forget [{REWRITE}] PARTICIPANT_ID ... (`p` and 20 "
                         "hexadecimal digits)\n")  # fmt: skip
        return 2
    from airflow.configuration import conf

    from airflow import settings

    if settings.engine is None:
        settings.initialize()  # type: ignore[no-untyped-call]
    logs = Path(conf.get("logging", "base_log_folder"))
    lines = [line for each in ids for line in (*forget_rows(settings.engine, each), *forget_logs(logs, each))]
    lines += settle(settings.engine, rewrite)
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


def settle(engine: Engine, rewrite: bool) -> Iterator[str]:
    """Take what was deleted out of the database's files, too, on PostgreSQL where `rewrite` says so; yields what
    stays.
    """
    statements = []
    if engine.dialect.name == "sqlite":
        statements = ["VACUUM"]
    elif engine.dialect.name == "postgresql" and rewrite:
        statements = [f"VACUUM (FULL, ANALYZE) {table}" for table in (*DELETED, *EMPTIED, "pg_statistic")]
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
    """Put zeros in the id's place in every log file below `folder`, each replaced at once."""
    old, new, count = participant_id.encode(), PLACEHOLDER.encode(), 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()):
        data = path.read_bytes()
        if old in data:
            changed = path.with_name(f"{path.name}.forgetting")
            changed.write_bytes(data.replace(old, new))
            changed.chmod(path.stat().st_mode & 0o777)
            changed.replace(path)
            count += 1
    if count:
        yield f"overwritten: the id in {count} log files"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""From nothing, or from an older warehouse, to the tables of this version, as SQL of either engine.

The statements are made by Alembic and SQLAlchemy without a connection, so that they run inside the transaction
that publishes: readers see the old warehouse or the new one, never one between.
"""

from __future__ import annotations

import io
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ingest._core import contract
from ingest._core.errors import Terminal
from ingest._core.settings import Settings
from ingest.publish.migrations.private import STATEMENTS
from ingest.publish.shape import POSTGRESQL, Shape, quoted, shape

VERSION_TABLE = "ingest_version"
FIRST = "ingest_0001"
_PREFIX = "ingest_"
_URLS = {"duckdb": "duckdb://", POSTGRESQL: "postgresql+psycopg://"}


@cache
def revisions() -> list[str]:
    """The revisions this version knows, oldest first: each file below migrations/versions is named by its own.

    Alembic and SQLAlchemy take most of a second to import, so they are only where tables are made or upgraded.
    """
    folder = resources.files("ingest.publish") / "migrations" / "versions"
    return sorted(each.name.removesuffix(".py") for each in folder.iterdir() if each.name.startswith(_PREFIX))


def head() -> str:
    """The revision of this version's warehouse."""
    return revisions()[-1]


def check_revision(found: list[str], where: str) -> str:
    """The revision a warehouse says it has; raises Terminal where it is newer than this program or not ours."""
    if len(found) == 1 and found[0] in revisions():
        return found[0]
    if len(found) == 1 and found[0].startswith(_PREFIX):
        raise Terminal(
            f"{where} was made by a newer version of this program ({found[0]}, this one knows up to {head()}); "
            "use that version, or name another warehouse in study.yaml; nothing was changed"
        )
    raise not_ours(where)


def not_ours(where: str) -> Terminal:
    """The refusal of a database that holds other things."""
    return Terminal(
        f"{where} holds something else than a warehouse of this program; name an empty one in study.yaml "
        "(`warehouse`); nothing was changed"
    )


def creation(engine: str, settings: Settings) -> list[str]:
    """Statements that make every table of this version, empty, with comments and without indexes."""
    import sqlalchemy as sa
    from sqlalchemy.schema import CreateTable

    metadata = contract.sqlalchemy_metadata()
    dialect = sa.make_url(_URLS[engine]).get_dialect()()
    statements = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    wanted = shape(settings, engine)
    bare: Shape = [(*column[:4], "", "") for column in wanted]
    private = STATEMENTS if engine == POSTGRESQL else ()
    return [*statements, *comment_changes(bare, wanted), *private, *stamp(head())]


def upgrade(engine: str, since: str | None, until: str = "head") -> list[str]:
    """Statements that bring a warehouse of revision `since` (None: an empty one) to the tables of `until`."""
    import sqlalchemy as sa
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    statements: list[str] = []

    class Collected(io.StringIO):
        def write(self, text: str) -> int:
            if text.strip():
                statements.append(text.strip().removesuffix(";"))
            return len(text)

    scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))

    def steps(revision: Any, _context: Any) -> Any:
        return scripts._upgrade_revs(until, revision)  # noqa: SLF001 - Alembic's documented way without its command

    context = MigrationContext.configure(
        dialect=sa.make_url(_URLS[engine]).get_dialect()(),
        opts={"as_sql": True, "starting_rev": since, "version_table": VERSION_TABLE, "fn": steps,
              "output_buffer": Collected()},
    )  # fmt: skip
    with Operations.context(context):
        context.run_migrations()
    return [each for each in statements if not each.startswith("--")]


def stamp(revision: str) -> list[str]:
    """Statements that say which revision a warehouse has that does not say it."""
    return [
        f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        f"INSERT INTO {VERSION_TABLE} VALUES ('{revision}')",  # noqa: S608 - a known revision
        f"COMMENT ON TABLE {VERSION_TABLE} IS 'The migration this warehouse stands at.'",
    ]


def comment_changes(found: Shape, wanted: Shape) -> list[str]:
    """COMMENT statements that give `found` the texts of `wanted`, which has the same tables and columns."""
    changes: dict[str, None] = {}
    for (table, column, *_, had, table_had), (*_, text, table_text) in zip(found, wanted, strict=True):
        if table_had != table_text:
            changes[f"COMMENT ON TABLE {table} IS {literal(table_text)}"] = None
        if had != text:
            changes[f"COMMENT ON COLUMN {table}.{quoted(column)} IS {literal(text)}"] = None
    return list(changes)


def literal(text: str) -> str:
    """Text for SQL, where no parameter can stand."""
    return "'" + text.replace("'", "''") + "'"

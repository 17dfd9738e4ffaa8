"""The shape of a warehouse: its tables, columns, types and comments as `schemas/` say, for both engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ingest._core import contract
from ingest._core.contract import PUBLISH
from ingest._core.settings import Settings

DUCKDB, POSTGRESQL = "duckdb", "postgresql"
STAGES = "sleep_stage"
Shape = list[tuple[str, str, str, bool, str, str]]
"""Every column, sorted: table, column, type, may be NULL, its comment, its table's comment."""

_TYPES = {
    DUCKDB: {
        "string": "VARCHAR",
        "number": "DOUBLE",
        "integer": "BIGINT",
        "boolean": "BOOLEAN",
        "date": "DATE",
        "instant": "TIMESTAMP WITH TIME ZONE",
        "clock": "TIMESTAMP",
    },
    POSTGRESQL: {
        "string": "text",
        "number": "double precision",
        "integer": "bigint",
        "boolean": "boolean",
        "date": "date",
        "instant": "timestamp with time zone",
        "clock": "timestamp without time zone",
    },
}


def comments(settings: Settings) -> dict[str, str]:
    """What the warehouse says of each of its tables."""
    texts = {name: str(contract.schemas()[name]["description"]) for name in contract.published_tables()}
    if not settings.publish.stages:
        texts[STAGES] += " Empty here: study.yaml says `publish: {stages: false}`."
    return texts


def shape(settings: Settings, engine: str) -> Shape:
    """Every column as it should be."""
    return sorted(
        (
            table,
            field["name"],
            _TYPES[engine][contract.kind(field)],
            not contract.required(field),
            field["description"],
            text,
        )
        for table, text in comments(settings).items()
        for field in contract.fields(table, PUBLISH)
    )


def without_comments(columns: Iterable[tuple[str, str, str, bool, str, str]]) -> list[tuple[str, str, str, bool]]:
    """The part of a shape that rows depend on."""
    return [column[:4] for column in columns]


def columns(table: str) -> str:
    """The table's columns for SQL, quoted."""
    return ", ".join(quoted(field["name"]) for field in contract.fields(table, PUBLISH))


def cells(table: str, prefix: Mapping[str, str] | None = None) -> str:
    """The table's columns as they are selected, each after its prefix if it has one.

    A DuckDB file does not keep the sign of zero, and may give it to other zeros of the column: here zero has none.
    """
    found = []
    for field in contract.fields(table, PUBLISH):
        name = (prefix or {}).get(field["name"], "") + quoted(field["name"])
        found.append(f"{name} + 0::DOUBLE AS {quoted(field['name'])}" if field["type"] == "number" else name)
    return ", ".join(found)


def quoted(name: str) -> str:
    """A name of schemas/ for SQL."""
    return f'"{name}"'


def clustered_key(table: str) -> list[str]:
    """The table's primary key, the participant first where one is in it or in the table."""
    names = {field["name"] for field in contract.fields(table, PUBLISH)}
    first = ["participant_id"] if "participant_id" in names else []
    return [*first, *(name for name in contract.primary_key(table) if name not in first)]

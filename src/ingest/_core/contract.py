"""The contract: `schemas/*.json` (Frictionless Table Schema) as Arrow schemas, SQLAlchemy tables, dictionary.

Beyond the standard, a field may say `basis` (utc or local clock), `unit`, `source` (of its definition),
`addedBy: mart` (absent from the lake's files), `published: false` (absent from the warehouse) and, in a view, `each`
(`exposure` or `scale`): such a column stands once for each of them, its name in place of the word in braces.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest._core.errors import Terminal

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import MetaData

LAKE, MART, COHORT, PUBLISH, OPS, VIEW = "lake", "mart", "cohort", "publish", "ops", "view"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """All table schemas by table name, sorted by name."""
    packaged = Path(str(resources.files("ingest"))) / "schemas"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[3] / "schemas"
    loaded = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return {schema["name"]: schema for schema in loaded}


def tables(stage: str) -> list[str]:
    """Names of the tables that `stage` writes: lake, mart, cohort (all participants at once), publish, ops (of the
    program's runs) or view.
    """
    return [name for name, schema in schemas().items() if schema["stage"] == stage]


def published_tables() -> list[str]:
    """Names of the warehouse's tables; its views are `tables(VIEW)`."""
    return [name for name, schema in schemas().items() if schema.get("published", True) and schema["stage"] != VIEW]


def primary_key(table: str) -> list[str]:
    """Columns that together tell the rows of `table` apart."""
    key: list[str] = schemas()[table]["primaryKey"]
    return key


def fields(table: str, where: str) -> list[dict[str, Any]]:
    """Fields of `table` as it stands in the lake's files (`lake`) or in the warehouse (`publish`)."""
    every: list[dict[str, Any]] = schemas()[table]["fields"]
    if where == PUBLISH:
        return [field for field in every if field.get("published", True)]
    return [field for field in every if "addedBy" not in field]


def kind(field: dict[str, Any]) -> str:
    """The field's type, where `datetime` says which: `instant` (UTC) or `clock` (local, without zone)."""
    if field["type"] != "datetime":
        return str(field["type"])
    return {"utc": "instant", "local": "clock"}[field["basis"]]


def required(field: dict[str, Any]) -> bool:
    """True if the field may not be NULL."""
    return bool(field.get("constraints", {}).get("required", False))


@cache
def arrow_schema(table: str, where: str = LAKE) -> pa.Schema:
    """Arrow schema of `table`; instants are microseconds in UTC, local clocks microseconds without zone."""
    return arrow_schema_of(fields(table, where))


def arrow_schema_of(chosen: Sequence[dict[str, Any]]) -> pa.Schema:
    """The same of some fields."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "instant": pa.timestamp("us", tz="UTC"),
        "clock": pa.timestamp("us"),
    }
    return pa.schema([pa.field(field["name"], types[kind(field)], nullable=not required(field)) for field in chosen])


def sqlalchemy_metadata() -> MetaData:
    """The warehouse's tables as SQLAlchemy metadata, with the schemas' texts as comments."""
    import sqlalchemy as sa

    types: dict[str, Any] = {
        # Byte order in any database, so that ORDER BY gives the same rows first on every engine.
        "string": sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
        "number": sa.Double(),
        "integer": sa.BigInteger(),
        "boolean": sa.Boolean(),
        "date": sa.Date(),
        "instant": sa.DateTime(timezone=True),
        "clock": sa.DateTime(timezone=False),
    }
    metadata = sa.MetaData()
    for name in published_tables():
        columns = [
            sa.Column(
                field["name"],
                types[kind(field)],
                nullable=not required(field),
                comment=field["description"],
            )
            for field in fields(name, PUBLISH)
        ]
        sa.Table(name, metadata, *columns, comment=schemas()[name]["description"])
    return metadata


def to_contract(table: str, data: pa.Table, where: str = LAKE) -> pa.Table:
    """`data` with the contract's columns, order and types.

    Columns that are absent become NULL; text that comes as a dictionary stays one. Raises Terminal, naming table
    and column, where a column is not in the contract, does not fit its type without loss, or holds a NULL where
    none may be.
    """
    import pyarrow as pa

    schema = arrow_schema(table, where)
    unknown = set(data.column_names) - set(schema.names)
    if unknown:
        raise Terminal(f"table {table}: columns {sorted(unknown)} are not in its schema")
    columns = [_column(table, data, field) for field in schema]
    typed = [field.with_type(column.type) for field, column in zip(schema, columns, strict=True)]
    return pa.table(columns, schema=pa.schema(typed))


def _column(table: str, data: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    import pyarrow as pa

    if field.name not in data.column_names:
        column = pa.nulls(len(data), field.type)
    else:
        column = data[field.name]
        # combine_chunks copies, also where there is but one chunk.
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if column.type not in (field.type, pa.dictionary(pa.int32(), field.type)):
        try:
            column = column.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            # Arrow's own message quotes the value, and values may be personal.
            raise Terminal(f"table {table}: column {field.name} is {column.type}, expected {field.type}") from None
    if not field.nullable and column.null_count:
        raise Terminal(f"table {table}: {column.null_count} NULLs in {field.name}, which may not be NULL")
    return column

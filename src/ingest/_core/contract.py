"""The contract: `schemas/*.json` (Frictionless Table Schema) as Arrow schemas, SQLAlchemy tables, dictionary.

Beyond the standard, a field may say `basis` (utc or local clock), `unit`, `source` (of its definition),
`addedBy: mart` (absent from the lake's files) and `published: false` (absent from the warehouse).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import MetaData

LAKE, MART, PUBLISH = "lake", "mart", "publish"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """All table schemas by table name, sorted by name."""
    packaged = Path(str(resources.files("ingest"))) / "schemas"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[3] / "schemas"
    loaded = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {schema["name"]: schema for schema in loaded}


def tables(stage: str) -> list[str]:
    """Names of the tables that `stage` writes: lake, mart or publish."""
    return [name for name, schema in schemas().items() if schema["stage"] == stage]


def published_tables() -> list[str]:
    """Names of the warehouse's tables."""
    return [name for name, schema in schemas().items() if schema.get("published", True)]


def fields(table: str, where: str) -> list[dict[str, Any]]:
    """Fields of `table` as it stands in the lake's files (`lake`) or in the warehouse (`publish`)."""
    every: list[dict[str, Any]] = schemas()[table]["fields"]
    if where == PUBLISH:
        return [field for field in every if field.get("published", True)]
    return [field for field in every if "addedBy" not in field]


@cache
def arrow_schema(table: str, where: str = LAKE) -> pa.Schema:
    """Arrow schema of `table`; instants are microseconds in UTC, local clocks microseconds without zone."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "number": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
    }
    columns = []
    for field in fields(table, where):
        kind = kinds.get(field["type"]) or pa.timestamp("us", tz="UTC" if field["basis"] == "utc" else None)
        columns.append(pa.field(field["name"], kind, nullable=not required(field)))
    return pa.schema(columns)


def required(field: dict[str, Any]) -> bool:
    """True if the field may not be NULL."""
    return bool(field.get("constraints", {}).get("required", False))


def sqlalchemy_metadata() -> MetaData:
    """The warehouse's tables as SQLAlchemy metadata, with the schemas' texts as comments."""
    import sqlalchemy as sa

    kinds: dict[str, Any] = {
        "string": sa.Text(),
        "number": sa.Double(),
        "integer": sa.BigInteger(),
        "boolean": sa.Boolean(),
        "date": sa.Date(),
    }
    metadata = sa.MetaData()
    for name in published_tables():
        schema = schemas()[name]
        columns = []
        for field in fields(name, PUBLISH):
            kind = kinds.get(field["type"]) or sa.DateTime(timezone=field["basis"] == "utc")
            columns.append(
                sa.Column(field["name"], kind, nullable=not required(field), comment=field["description"])
            )
        sa.Table(name, metadata, *columns, comment=schema["description"])
    return metadata


def to_contract(table: str, data: pa.Table, where: str = LAKE) -> pa.Table:
    """`data` with the contract's columns, order and types; raises Terminal where a NULL may not be.

    Columns that are absent become NULL; columns the contract does not know are an error of ours.
    """
    import pyarrow as pa

    from ingest._core.errors import Terminal

    schema = arrow_schema(table, where)
    unknown = set(data.column_names) - set(schema.names)
    if unknown:
        raise Terminal(f"table {table}: columns {sorted(unknown)} are not in its schema")
    columns = []
    for field in schema:
        if field.name in data.column_names:
            column = data[field.name].combine_chunks()
            column = column if column.type == field.type else column.cast(field.type)
        else:
            column = pa.nulls(len(data), field.type)
        if not field.nullable and column.null_count:
            raise Terminal(f"table {table}: {column.null_count} NULLs in {field.name}, which may not be NULL")
        columns.append(column)
    return pa.table(columns, schema=schema)

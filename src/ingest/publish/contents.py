"""Whole tables and views of an open warehouse, in one order and with the types that `schemas/` say."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from ingest._core import contract
from ingest._core.contract import PUBLISH, VIEW
from ingest._core.errors import WrongUse
from ingest._core.settings import Settings
from ingest.publish import views
from ingest.publish.reading import Reader
from ingest.publish.shape import clustered_key, quoted

Field = dict[str, Any]


def relations() -> list[str]:
    """Names of the warehouse's tables and views, sorted."""
    return sorted([*contract.published_tables(), *contract.tables(VIEW)])


def fields(reader: Reader, settings: Settings, table: str) -> list[Field]:
    """The fields of a table or view as it stands in this warehouse, in the form of `contract.fields`.

    Raises WrongUse where a view is not yet as study.yaml has it.
    """
    if table not in contract.tables(VIEW):
        return contract.fields(table, PUBLISH)
    expected = views.fields(table, views.columns_of(settings, reader.rows))
    found = reader.table(f"SELECT * FROM {quoted(table)} LIMIT 0").column_names  # noqa: S608 - names of schemas/
    if found != [field["name"] for field in expected]:
        raise WrongUse(f"view {table} is not yet as study.yaml has it; `ingest run` brings it up to date")
    return expected


def rows(
    reader: Reader,
    chosen: Sequence[Field],
    table: str,
    people: Sequence[str] | None = None,
    where: str | None = None,
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Columns `chosen` of a table or view in the order of its key, as they come.

    With `people`, only their rows, in the order in which they are named. `where` is a condition of the user's, in
    SQL. Raises WrongUse where it is none, where rows are nobody's, and as `Reader.stream` does.
    """
    if people is not None and "participant_id" not in {each["name"] for each in contract.fields(table, PUBLISH)}:
        raise WrongUse(f"{table} says nothing of participants; leave `participants` out")
    key = [_ordering(table, name) for name in clustered_key(table)]
    listed = ", ".join(f"of_table.{quoted(field['name'])}" for field in chosen)
    sql = f"SELECT {listed} FROM {quoted(table)} AS of_table"  # noqa: S608 - names of schemas/
    if people is not None:
        sql += f" JOIN ({_numbered(people)}) AS asked(_who, _place) ON of_table.participant_id = asked._who"
        key[0] = "asked._place"
    if where is not None:
        # On lines of its own, so that a comment at its end takes nothing else with it.
        sql += f" WHERE (\n{where}\n)"
    schema = contract.arrow_schema_of(chosen)
    _, batches = reader.stream(f"{sql} ORDER BY {', '.join(key)}")
    return schema, (pa.record_batch([column.cast(kind) for column, kind in zip(batch.columns, schema.types,
                                     strict=True)], schema=schema) for batch in batches)  # fmt: skip


def pick(known: Sequence[Field], names: Sequence[str], table: str) -> list[Field]:
    """The fields of these names, in their order; raises WrongUse for one that the table has not."""
    by_name = {field["name"]: field for field in known}
    for name in names:
        if name not in by_name:
            raise WrongUse(f"{table} has no column {name!r}{nearest(name, by_name)}")
    return [by_name[name] for name in names]


def nearest(word: str, known: Iterator[str] | Sequence[str] | dict[str, Any]) -> str:
    """`; did you mean ...?`, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _ordering(table: str, name: str) -> str:
    (field,) = [each for each in contract.fields(table, PUBLISH) if each["name"] == name]
    # Byte order on every engine and in every database.
    return f"of_table.{quoted(name)}" + (' COLLATE "C"' if field["type"] == "string" else "")


def _numbered(people: Sequence[str]) -> str:
    if not people:
        return "SELECT '', 0 WHERE false"
    listed = ", ".join("('" + each.replace("'", "''") + f"', {place})" for place, each in enumerate(people))
    return f"VALUES {listed}"

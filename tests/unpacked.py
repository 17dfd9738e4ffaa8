"""What stands in a store, unpacked: cells of Parquet and of databases, members of archives, texts of JSON."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ingest._core.study import Study
from ingest.publish.reading import opened


def contents(path: Path) -> Iterator[str]:
    """The file as it is, then what is packed in it."""
    data = path.read_bytes()
    yield data.decode("utf-8", "replace")
    if path.suffix == ".parquet":
        yield from _parquet(data)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name
                yield archive.read(name).decode("utf-8", "replace")
    elif path.suffix == ".json":
        yield from _texts(json.loads(data))
    elif path.suffix == ".duckdb":
        yield from _duckdb(path)


def _parquet(data: bytes) -> Iterator[str]:
    file = pq.ParquetFile(pa.BufferReader(data))
    yield str(file.schema_arrow) + str(file.schema_arrow.metadata)
    yield from _cells(file.read())


def _cells(table: pa.Table) -> Iterator[str]:
    for column in table.columns:
        yield "\n".join(str(each) for each in column.to_pylist() if each is not None)


def _duckdb(path: Path) -> Iterator[str]:
    with duckdb.connect(str(path), read_only=True, config={"threads": 1}) as connection:
        for schema, name in connection.execute("select schema_name, table_name from duckdb_tables()").fetchall():
            yield from _cells(connection.execute(f'select * from "{schema}"."{name}"').to_arrow_table())


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def of_database(study: Study) -> str:
    """Every cell of every table, view and catalogue of names of a study's PostgreSQL database."""
    with opened(study) as reader:
        tables = reader.rows("select table_schema, table_name from information_schema.tables "
                             "where table_schema not in ('pg_catalog', 'information_schema')")  # fmt: skip
        return repr([tables, *(reader.rows(f'select * from "{schema}"."{name}"') for schema, name in tables)])


def naming(root: Path, words: set[str], without: tuple[str, ...] = ()) -> dict[str, str]:
    """Files below a folder whose name or content, unpacked, holds one of the words in any case; and which one."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith(without):
            said = "\n".join([name, *contents(path)]).lower()
            found.update((name, word) for word in words if word.lower() in said)
    return found

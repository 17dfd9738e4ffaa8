"""Marts that are natural in SQL: one file per mart beside this module, run by DuckDB inside this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ingest._core.contract import to_contract
from ingest._core.errors import Terminal

_FOLDER = Path(__file__).parent


def statements() -> dict[str, str]:
    """The text of each mart's file by its name, sorted."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.sql"))}


def run_sql(name: str, tables: Mapping[str, pa.Table], parameters: Mapping[str, Any], table: str = "") -> pa.Table:
    """What `mart/<name>.sql` selects from `tables`, as rows of schema `table` (of the same name where none is given).

    Every `$parameter` of the file is bound to its value in `parameters`, none to another; text is never pasted. One
    thread, TimeZone UTC, no file and no network. Raises Terminal where the file and what it is given do not fit.
    """
    cursor = _database(os.getpid()).cursor()
    try:
        for each, rows in tables.items():
            cursor.register(each, rows)
        found = cursor.execute(_text(name), dict(parameters)).to_arrow_table()
    except duckdb.Error as error:
        # DuckDB's own message may quote a value, and values may be personal.
        raise Terminal(f"mart/{name}.sql: {type(error).__name__} in DuckDB; tables and parameters do not fit") from None
    finally:
        cursor.close()
    return to_contract(table or name, found)


@cache
def _text(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


@cache
def _database(_process: int) -> duckdb.DuckDBPyConnection:
    """One empty database per process, kept because opening one costs ten times a small mart; never across a fork."""
    options: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "temp_directory": "",
        "python_enable_replacements": "false",
    }
    connection = duckdb.connect(":memory:", config=options)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection

"""Other programs read the lake: the warehouse's rows in one schema, before and after a compaction, and no others."""

from __future__ import annotations

import csv
import io
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import sqlglot
from sqlglot import exp

from ingest._core.contract import LAKE, MART, PUBLISH, arrow_schema, fields, published_tables, tables
from ingest._core.errors import WrongUse
from ingest._core.study import open_study
from ingest.lake.pack import compact
from ingest.report.catalog import committed_files, ddl, rendered
from studies import COMMAND, PROJECT, command, rows

KNOWN = sorted((*tables(LAKE), *tables(MART)))
VERSIONS = {"sleep_session": ("session_version", "session_id", ""), "substance_use": ("use_version", "use_id", ""),
            "sleep_diary": ("diary_version", "diary_id", ""), "scale_response": ("response_version", "response_id", ""),
            "sleep_stage": ("session_version", "session_id", " AND v.is_current")}  # fmt: skip
Reader = Callable[[Path, str], pa.Table]


@pytest.fixture(scope="module")
def compacted(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo study after a compaction."""
    root = tmp_path_factory.mktemp("compacted") / "study"
    shutil.copytree(demo_done, root)
    assert len(compact(open_study(root)).changed) >= 3
    return root


def in_order(table: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


def of_contract(table: str, found: pa.Table) -> pa.Table:
    """What came, if it has the contract's columns in their order and types."""
    wanted = arrow_schema(table)
    assert found.column_names == wanted.names, table
    return found.cast(pa.schema([pa.field(each.name, each.type) for each in wanted]))


def is_the_warehouse(root: Path, read: Reader) -> None:
    """What a reader sees, records by way of their versions as the warehouse takes them, is what the warehouse holds."""
    seen = {table: of_contract(table, read(root, table)) for table in KNOWN}
    compared = 0
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table, found in seen.items():
            connection.register(f"lake_{table}", found)
        for table in sorted({*KNOWN} & {*published_tables()}):
            names = ", ".join(f't."{each["name"]}"' for each in fields(table, PUBLISH) if "addedBy" not in each)
            join = ""
            if table in VERSIONS:
                version, key, current = VERSIONS[table]
                join = f" JOIN lake_{version} v ON t.{key} = v.{key} AND t.source_file_id = v.source_file_id{current}"
            outside = connection.execute(f"SELECT {names} FROM lake_{table} t{join}").fetchall()
            inside = rows(root, f"SELECT {names} FROM {table} t")
            assert sorted(outside, key=repr) == sorted(inside, key=repr), table
            compared += bool(inside)
    assert compared > 15


def listed(root: Path) -> pl.DataFrame:
    return pl.DataFrame([*csv.DictReader(io.StringIO(committed_files(open_study(root))))])


def by_polars(root: Path, table: str) -> pa.Table:
    """A table as Polars reads it, what is not committed left out as docs/lake.md says."""
    at = root / "lake"
    frame = pl.read_parquet(at / table / "**/*.parquet", hive_partitioning=True, include_file_paths="file")
    frame = frame.with_columns(pl.col("file").str.strip_prefix(f"{at}/"))
    of_marts = table in tables(MART)
    on = ["file"] if of_marts else ["file", "source_file_id"]
    return frame.join(listed(root).filter(table=table), on=on, how="semi").drop("file").to_arrow()


def by_duckdb(root: Path, table: str) -> pa.Table:
    """The same in DuckDB."""
    at = root / "lake"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("committed", listed(root).to_arrow())
        on = "" if table in tables(MART) else " AND c.source_file_id = t.source_file_id"
        return connection.execute(
            f"SELECT t.* EXCLUDE (filename) FROM read_parquet('{at}/{table}/*/*.parquet', hive_partitioning = true,"
            f" filename = true) t SEMI JOIN committed c ON c.file = replace(t.filename, '{at}/', ''){on}"
        ).to_arrow_table()


def by_arrow(root: Path, table: str) -> pa.Table:
    """As the datasets of Arrow, R's too, read it, with no look at what is committed."""
    return ds.dataset(root / "lake" / table, partitioning="hive").to_table(columns=arrow_schema(table).names)


@pytest.mark.parametrize("read", [by_polars, by_duckdb, by_arrow], ids=["polars", "duckdb", "arrow"])
@pytest.mark.parametrize("when", ["demo_done", "compacted"])
def test_rows_of_the_warehouse(read: Reader, when: str, request: pytest.FixtureRequest) -> None:
    is_the_warehouse(request.getfixturevalue(when), read)


@pytest.mark.parametrize("when", ["demo_done", "compacted"])
def test_all_files_of_a_table_have_its_schema(when: str, request: pytest.FixtureRequest) -> None:
    root: Path = request.getfixturevalue(when)
    for table in KNOWN:
        found = list((root / "lake" / table).glob("participant_id=*/*.parquet"))
        assert found or table not in published_tables(), table
        wanted = [(each.name, each.type) for each in arrow_schema(table)]
        for path in found:
            assert [(each.name, each.type) for each in pq.read_schema(path)] == wanted, path


@pytest.mark.parametrize("engine", ["spark", "trino", "athena"])
def test_the_ddl_says_what_the_schemas_say(engine: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "sqlglot")
    made: dict[str, exp.Create] = {}
    for statement in ddl(engine, "s3://bucket/a lake/it's", "from"):
        (parsed,) = sqlglot.parse(statement, read=engine, error_level=sqlglot.ErrorLevel.RAISE)
        if isinstance(parsed, exp.Create):
            made[parsed.this.find(exp.Table).name] = parsed
        else:
            assert statement.startswith(("MSCK REPAIR TABLE", "CALL system.sync_partition_metadata"))
    words = {"string": "TEXT", "number": "DOUBLE", "integer": "BIGINT", "boolean": "BOOLEAN", "date": "DATE"}
    for table in KNOWN:
        of = {each["name"]: each for each in fields(table, LAKE)}
        columns = {each.name: each for each in made[table].find_all(exp.ColumnDef)}
        assert [*columns] == [*(name for name in of if name != "participant_id"), "participant_id"], table
        for name, each in columns.items():
            kind = each.args["kind"].this
            text = next(c.kind.this.name for c in each.constraints if isinstance(c.kind, exp.CommentColumnConstraint))
            assert text.startswith(of[name]["description"]), name
            if of[name]["type"] == "datetime":
                assert kind.name.startswith("TIMESTAMP"), name
            else:
                assert kind.name.replace("VARCHAR", "TEXT") == words[of[name]["type"]], name
        view = made[f"{table}_committed"].expression
        assert [each.name for each in view.expressions] == [*of]
    assert "it's" in made["night"].sql() or "it''s" in made["night"].sql()
    assert rendered(engine, "s3://b/lake", "sleep").count(";\n") == len(ddl(engine, "s3://b/lake", "sleep"))


def test_the_command_prints_it(demo_done: Path) -> None:
    said = command("--study", demo_done, "catalog", "--for", "trino", "--location", "s3://bucket/lake")
    assert "external_location = 's3://bucket/lake/night'" in said.stdout
    listed = command("--study", demo_done, "catalog", "--files").stdout.splitlines()
    there = {path.relative_to(demo_done / "lake").as_posix() for table in KNOWN
             for path in (demo_done / "lake" / table).rglob("*.parquet")}  # fmt: skip
    assert listed[0] == "table,participant_id,source_file_id,file"
    assert {line.rpartition(",")[2] for line in listed[1:]} <= there
    assert len([line for line in listed if line.startswith("night,")]) > 3
    assert command("--study", demo_done, "catalog").returncode == 2
    with pytest.raises(WrongUse, match="spark, trino, athena"):
        ddl("hive", "s3://bucket/lake", "sleep")


def test_the_page_can_be_typed_in(demo_done: Path, tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "lake.md").read_text(encoding="utf-8")  # docs/lake.md
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shutil.copytree(demo_done, tmp_path / "my-study")
    given = {"cwd": tmp_path, "text": True, "capture_output": True,
             "env": os.environ | {"PATH": f"{COMMAND.parent}:/usr/bin:/bin"}}  # fmt: skip
    for language, body in blocks:
        words = ["/bin/bash", "-eu"] if language == "sh" else [sys.executable, "-"]
        shown = "assert sessions.height > 100 and sessions.height == sessions.unique().height\n"
        done = subprocess.run(words, check=False, input=body + (shown if language == "python" else ""), **given)
        assert done.returncode == 0, done.stderr
    assert "CREATE TABLE" in (tmp_path / "lake-spark.sql").read_text()
    assert "s3://bucket/lake/night" in (tmp_path / "lake-athena.sql").read_text()

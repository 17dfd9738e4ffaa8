"""What holds for the code as a whole: who imports whom, who asks the clock, tables, schemas and fixtures."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest._core.contract import COHORT, LAKE, MART, PUBLISH, fields, published_tables, schemas, tables
from ingest.decode.registry import decoders
from studies import PROJECT, rows

SOURCE = PROJECT / "src" / "ingest"
STAGES = ("arrive", "decode", "harmonise", "lake", "mart", "publish", "report", "serve")
WHOLE_WAY = {"pipeline", "cli", "backfill", "convert", "withdraw", "erase", "rekey", "encryption"}
MODULES = sorted(SOURCE.rglob("*.py"))


def _part(path: Path) -> str:
    """The stage, `_core`, `demo`, or the name of a module that stands above the stages."""
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _allowed(part: str) -> set[str]:
    if part in STAGES:
        return {"_core", *STAGES[: STAGES.index(part) + 1]}
    if part == "demo":
        return {"_core", "demo"}
    return {"_core"} if part == "_core" else {"_core", *STAGES, *WHOLE_WAY, "demo"}


def test_every_part_is_known() -> None:
    assert {_part(path) for path in MODULES} == {"__init__", "_core", "demo", *STAGES, *WHOLE_WAY}
    assert list(STAGES) == sorted(STAGES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    used = {name.split(".")[1] for name in _imports(path) if name.startswith("ingest.")}
    assert used - _allowed(_part(path)) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_airflow_is_never_imported(path: Path) -> None:
    assert [name for name in _imports(path) if name.split(".")[0] == "airflow"] == []


def _clocks(path: Path) -> list[str]:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = [ast.unparse(call) for call in calls]
    asking = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns",
              "datetime.datetime.now", "datetime.date.today", "pd.Timestamp.now", "Timestamp.now"}  # fmt: skip
    return [name for name in names if name in asking]


def test_only_one_function_asks_for_the_time() -> None:
    found = {str(path.relative_to(SOURCE)): _clocks(path) for path in MODULES if _clocks(path)}
    assert found == {"_core/clock.py": ["datetime.now"]}


def test_warehouse_and_schemas_agree(demo_done: Path) -> None:
    found = {name for (name,) in rows(demo_done, "select table_name from duckdb_tables() where not internal")}
    assert found == {*published_tables(), "ingest_version"}
    for table in published_tables():
        columns = [name for (name,) in rows(demo_done, "select column_name from duckdb_columns() "
                   f"where table_name = '{table}' order by column_index")]  # fmt: skip
        assert columns == [field["name"] for field in fields(table, PUBLISH)], table


def test_lake_folders_and_schemas_agree(demo_done: Path) -> None:
    found = {path.name for path in (demo_done / "lake").iterdir() if not path.name.startswith("_")}
    assert found == {*tables(LAKE), *tables(MART)}
    assert found <= set(schemas())


def test_the_demo_fills_every_table(demo_done: Path) -> None:
    made = [table for table in published_tables() if table not in tables(COHORT)]
    empty = [table for table in made if rows(demo_done, f"select count(*) from {table}") == [(0,)]]
    assert empty == []


@pytest.mark.parametrize("source", [each.source for each in decoders()])
def test_every_decoder_has_fixtures(source: str) -> None:
    folder = PROJECT / "tests" / "fixtures" / source
    assert [path for path in folder.iterdir() if path.is_dir() and any(path.iterdir())]


def test_a_decoder_reads_files_and_says_formats() -> None:
    for each in decoders():
        assert each.kind in ("sleep", "log")
        assert each.version
        assert each.formats

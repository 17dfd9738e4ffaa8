"""`ingest.open_study`: each table as a notebook has it is the warehouse's, on either engine."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

import ingest
from ingest._core.contract import COHORT, VIEW, kind, primary_key, published_tables, tables
from ingest._core.contract import fields as fields_of
from ingest._core.errors import WrongUse
from ingest._core.study import open_study
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish_study
from ingest.report.tables import StudyTables
from studies import change_settings

COHORT_TABLES = tables(COHORT)
RELATIONS = [*published_tables(), *tables(VIEW)]


@pytest.fixture(scope="module", params=["duckdb", "postgresql"])
def root(request: pytest.FixtureRequest, demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "duckdb":
        return demo_done
    root = tmp_path_factory.mktemp(request.param) / "study"
    shutil.copytree(demo_done, root)
    server = request.getfixturevalue("postgres_server")
    change_settings(root, warehouse=server.url(server.database()))
    publish_study(open_study(root))
    return root


@pytest.fixture
def study(root: Path) -> StudyTables:
    return ingest.open_study(root)


def test_every_table_is_the_warehouses(root: Path, study: StudyTables) -> None:
    with opened(open_study(root)) as reader:
        for table in RELATIONS:
            found = getattr(study, table)(as_arrow=True)
            held = reader.table(f"SELECT * FROM {table}")
            assert found.column_names == held.column_names, table
            order = [(name, "ascending") for name in ordering(table)]
            # Text sorts by its bytes in Arrow, whatever the database's collation; equal, then, is in this order.
            assert found.equals(held.cast(found.schema).sort_by(order)), table
            assert found.num_rows > 0 or table in COHORT_TABLES, table


def ordering(table: str) -> list[str]:
    """The key, the participant first."""
    named = {field["name"] for field in fields_of(table, "publish")}
    return [*({"participant_id"} & named), *(name for name in primary_key(table) if name != "participant_id")]


TYPES = {"string": "str", "number": "float64", "integer": "Int64", "boolean": "boolean", "date": "datetime64[ms]",
         "instant": "datetime64[us, UTC]", "clock": "datetime64[us]"}  # fmt: skip


def test_types_are_the_contracts(study: StudyTables) -> None:
    for table in RELATIONS:
        found = getattr(study, table)()
        assert isinstance(found, pd.DataFrame)
        types = {name: str(kind) for name, kind in found.dtypes.items()}
        expected = {field["name"]: TYPES[kind(field)] for field in fields_of(table, "publish") if "each" not in field}
        assert types | expected == types, table


def test_values_survive_pandas(root: Path, study: StudyTables) -> None:
    night = study.night(["participant_id", "night_date", "onset_utc", "tst_min", "nawk", "onset_local"])
    with opened(open_study(root)) as reader:
        rows = reader.rows('SELECT participant_id, night_date, onset_utc, tst_min, nawk, onset_local FROM night '
                           'ORDER BY participant_id COLLATE "C", night_date')  # fmt: skip
    assert len(night) == len(rows) > 100
    for found, row in zip(night.itertuples(index=False), rows, strict=True):
        assert [None if pd.isna(cell) else cell for cell in found] == [
            pd.Timestamp(cell) if isinstance(cell, date) else cell for cell in row
        ]


def test_columns_participants_and_conditions(study: StudyTables) -> None:
    everything = study.night()
    one = sorted(everything["participant_id"])[0]
    chosen = study.night(columns=["tst_min", "night_date"], participants=[one], where="tst_min > 400 -- long")
    expected = everything[(everything["participant_id"] == one) & (everything["tst_min"] > 400)]
    assert list(chosen.columns) == ["tst_min", "night_date"]
    assert 0 < len(chosen) < len(everything)
    assert chosen["tst_min"].tolist() == expected["tst_min"].tolist()
    assert len(study.night(participants=[])) == 0
    assert study.night_wide(participants=["x' OR '1'='1"]).empty
    for wrong, said in (({"columns": ["tst_mn"]}, "did you mean tst_min"), ({"where": "tst_min >"}, "syntax"),
                        ({"where": "no_such > 1"}, "no_such"), ({"columns": "tst_min"}, "lists of names"),
                        ({"where": "true); DROP TABLE night; SELECT (1"}, "statement|syntax")):  # fmt: skip
        with pytest.raises(WrongUse, match=said):
            study.night(**wrong)
    assert len(study.night()) == len(everything)
    with pytest.raises(WrongUse, match="nothing of participants"):
        study.ops_run(participants=[one])


def test_sql(study: StudyTables) -> None:
    found = study.query("SELECT participant_id, count(*) AS nights, max(night_date) AS last FROM night GROUP BY 1")
    assert found["nights"].sum() == len(study.night())
    assert str(found["nights"].dtype) == "Int64"
    assert study.query("SELECT avg(nawk) AS a FROM night", as_arrow=True)["a"].type == "double"
    for wrong in ("DELETE FROM night", "SELECT 1 AS a, 2 AS a", "SELECT * FROM nights"):
        with pytest.raises(WrongUse):
            study.query(wrong)


def test_what_it_offers_is_the_contract(study: StudyTables) -> None:
    assert set(study.tables()) == set(RELATIONS)
    for table in RELATIONS:
        method = getattr(StudyTables, table)
        assert list(inspect.signature(method).parameters) == ["self", "columns", "participants", "where", "as_arrow"]
        assert "One row per" in inspect.getdoc(method)
        assert all(field["name"] in method.__doc__ for field in fields_of(table, "publish"))
    assert not set(RELATIONS) & {"query", "tables"}


def test_what_is_no_study_and_has_no_warehouse(tmp_path: Path, demo_landed: Path) -> None:
    with pytest.raises(WrongUse, match="is no folder"):
        ingest.open_study(tmp_path / "nowhere")
    with pytest.raises(WrongUse, match="ingest run"):
        ingest.open_study(demo_landed).night()


def test_the_package_is_cheap_to_import() -> None:
    code = "import sys, ingest; print(sorted({'duckdb', 'pyarrow', 'pandas', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

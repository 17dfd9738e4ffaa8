"""Spark reads the lake through the tables and views of `ingest catalog`: the warehouse's rows, and no others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from pyspark.sql import SparkSession

from ingest._core.contract import LAKE, arrow_schema, fields
from ingest._core.study import open_study
from ingest.lake.store import manifest_path, manifests, participants, read_all
from ingest.report.catalog import ddl, location_of
from report.test_outside import by_arrow, by_duckdb, by_polars, compacted, in_order, is_the_warehouse, of_contract
from spark.test_spark import java

__all__ = ["compacted", "java"]  # fixtures


@pytest.fixture(scope="module")
def spark(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A real local Spark, in UTC."""
    folder = tmp_path_factory.mktemp("spark")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.sql.warehouse.dir", str(folder))
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


def test_spark_reads_what_the_warehouse_holds(spark: SparkSession, demo_done: Path, compacted: Path) -> None:
    def plain(root: Path, table: str) -> pa.Table:
        names = arrow_schema(table).names
        return spark.read.parquet(str(root / "lake" / table)).select(*names).toArrow()

    for table in ("night", "quarantine"):
        assert in_order(plain(demo_done, table)) == in_order(plain(compacted, table)) != []
    for statement in ddl("spark", location_of(open_study(compacted)), "our_sleep"):
        spark.sql(statement)

    def by_view(root: Path, table: str) -> pa.Table:
        return spark.sql(f"SELECT * FROM our_sleep.{table}_committed").toArrow()

    is_the_warehouse(compacted, by_view)
    told = {row["col_name"]: row for row in spark.sql("DESCRIBE our_sleep.night").collect()}
    assert told["tst_min"]["data_type"] == "double"
    text = next(each["description"] for each in fields("night", LAKE) if each["name"] == "tst_min")
    assert told["tst_min"]["comment"].startswith(text)


def test_what_is_not_committed_is_left_out(spark: SparkSession, compacted: Path, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(compacted, root)
    study = open_study(root)
    of_all = [each for person in participants(study.lake) for each in manifests(study.lake, person)]
    out = next(each for each in of_all if each.packed and "substance_use" in each.packed)
    one = out.participant_id
    # A file of a killed run, an export that was taken out of a packed file, and marts of somebody without a state.
    left = next((root / "lake" / "substance_use" / f"participant_id={one}").iterdir())
    shutil.copy(left, left.with_name(f"{'0' * 64}.{'0' * 16}.parquet"))
    path = manifest_path(study.lake, one, out.source_file_id)
    assert isinstance(path, Path)
    path.unlink()
    (root / "lake" / "_mart" / f"{one}.json").unlink()
    wanted = read_all(study.lake, [each for each in of_all if each != out])
    for statement in ddl("spark", location_of(study), "crashed"):
        spark.sql(statement)
    for table in ("substance_use", "quarantine"):
        whole = by_arrow(root, table)
        seen = [
            spark.sql(f"SELECT * FROM crashed.{table}_committed").toArrow(),
            by_polars(root, table),
            by_duckdb(root, table),
        ]
        for each in seen:
            assert in_order(of_contract(table, each)) == in_order(wanted[table])
        assert len(whole) > len(wanted[table]) or table == "quarantine"
    nights = [
        by_polars(root, "night"),
        by_duckdb(root, "night"),
        spark.sql("SELECT * FROM crashed.night_committed").toArrow(),
    ]
    for each in nights:
        assert one not in each["participant_id"].to_pylist()
        assert len(each) == len(by_arrow(root, "night").filter(ds.field("participant_id") != one)) > 0

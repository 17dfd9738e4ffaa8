from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from ingest._core.contract import COHORT, arrow_schema, tables
from ingest.lake.cohort_store import (
    CohortState,
    cohort_path,
    drop_cohort,
    drop_cohort_without,
    read_cohort_state,
    write_cohort,
)

STATE = CohortState("h1", "4", "s1", ["pa", "pb"])


def test_the_state_commits_the_tables(tmp_path: Path) -> None:
    assert read_cohort_state(tmp_path) is None
    write_cohort(tmp_path, {}, STATE)
    assert read_cohort_state(tmp_path) == STATE
    for table in tables(COHORT):
        assert pq.read_schema(cohort_path(tmp_path, table)).equals(arrow_schema(table))


def test_they_go_with_anyone_whose_rows_went_in(tmp_path: Path) -> None:
    write_cohort(tmp_path, {}, STATE)
    assert not drop_cohort_without(tmp_path, ["pa", "pb", "pc"])
    assert read_cohort_state(tmp_path) == STATE
    assert drop_cohort_without(tmp_path, ["pa", "pc"])
    assert list((tmp_path / "_cohort").iterdir()) == []
    assert not drop_cohort_without(tmp_path, [])
    drop_cohort(tmp_path)

"""How work is shared out in tasks, and what study.yaml may say of Spark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest._core.settings import Settings
from ingest._core.settings_engine import as_conf
from ingest.engine.shares import TASKS_PER_CORE, groups

ROWS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 10**6), min_size=1, max_size=60)


@given(ROWS, st.integers(1, 4), st.integers(1, 20))
def test_everybody_is_in_one_group_and_the_biggest_is_first(rows: dict[str, int], cores: int, most: int) -> None:
    found = groups(rows, cores, most)
    assert sorted(pid for group in found for pid in group) == sorted(rows)
    assert all(1 <= len(group) <= most for group in found)
    sums = [sum(rows[pid] for pid in group) for group in found]
    assert sums == sorted(sums, reverse=True)


@given(ROWS, st.integers(1, 4))
def test_groups_are_as_even_as_graham_proved(rows: dict[str, int], cores: int) -> None:
    count = min(len(rows), cores * TASKS_PER_CORE)
    biggest = max(sum(rows[pid] for pid in group) for group in groups(rows, cores, len(rows)))
    best = max(*rows.values(), -(-sum(rows.values()) // count))  # no sharing out has a smaller biggest group
    assert biggest <= sum(rows.values()) / count + max(rows.values())
    assert biggest >= best


def test_ten_years_of_minutes_stand_alone_and_begin_first() -> None:
    rows = {"long": 5_000_000} | {f"p{n:03}": 20_000 for n in range(200)}
    found = groups(rows, cores=2, most=200)
    assert found[0] == ["long"]
    assert len(found) == 2 * TASKS_PER_CORE


@pytest.mark.parametrize("key", ["spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.access.key",
                                 "spark.ssl.keyPassword", "spark.kubernetes.authenticate.oauthToken"])  # fmt: skip
def test_a_credential_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="would hold a credential"):
        Settings(study="s", spark={key: "x"})


@pytest.mark.parametrize("wrong", [{"engine": "flink"}, {"spark": {"master": "local"}}, {"spark": {"spark.x": None}}])
def test_what_is_no_setting_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"study": "s", **wrong})


def test_values_are_written_as_spark_reads_them() -> None:
    said = Settings.model_validate({"study": "s", "spark": {"spark.a": True, "spark.b": 4, "spark.c": "1g"}}).spark
    assert as_conf(said) == {"spark.a": "true", "spark.b": "4", "spark.c": "1g"}

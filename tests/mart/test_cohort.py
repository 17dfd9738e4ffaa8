"""The step over all participants, on the demo study: from the marts in the lake to its tables there."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ingest import pipeline
from ingest._core.clock import day_number
from ingest._core.contract import COHORT, arrow_schema, tables
from ingest._core.study import open_study
from ingest.demo import model
from ingest.harmonise.identity import entries_by_id
from ingest.lake.cohort_store import cohort_path, read_cohort_state
from ingest.mart.cohort import associate, cohort_hash
from ingest.mart.rebuild import mart_states, person_settings
from ingest.mart.series import EXPOSURES, Series, series
from studies import change_settings, files, rows

SETTINGS: dict[str, Any] = {"primary": {"substance": "kratom", "exposure": "late_dose", "outcome": "waso"}}


@pytest.fixture(scope="module")
def study(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("associated") / "study"
    shutil.copytree(demo_done, root)
    change_settings(root, association=SETTINGS)
    associate(open_study(root))
    return root


def _table(root: Path, name: str) -> Any:
    return pq.ParquetFile(cohort_path(root / "lake", name)).read()


def _written(root: Path) -> dict[str, bytes]:
    return files(root / "lake" / "_cohort")


def test_every_table_has_rows_of_its_schema(study: Path) -> None:
    for name in tables(COHORT):
        found = _table(study, name)
        assert len(found) > 5
        assert found.schema.equals(arrow_schema(name))


def test_late_doses_go_with_the_wake_that_was_put_there(study: Path) -> None:
    """The estimates of all people, weighed by their errors, hold the true effect within four of the whole's."""
    found = [row for row in _table(study, "association").to_pylist()
             if row["level"] == "participant" and row["is_primary"] and row["estimable"]]  # fmt: skip
    assert found
    weight = np.array([1 / row["std_error"] ** 2 for row in found])
    mean = (weight * [row["estimate"] for row in found]).sum() / weight.sum()
    assert abs(mean - model.LATE_WAKE_MIN) < 4 / np.sqrt(weight.sum())


def test_the_flow_begins_with_the_roster_and_ends_with_the_estimates(study: Path) -> None:
    steps = _table(study, "flow").to_pylist()
    assert (steps[0]["step"], steps[0]["n_participants"]) == ("enrolled", 5)
    used = [row for row in _table(study, "association").to_pylist()
            if row["level"] == "participant" and row["is_primary"] and row["estimable"]]  # fmt: skip
    assert (steps[-1]["step"], steps[-1]["n_participants"]) == ("analysed", len(used))
    assert steps[-1]["n_nights"] == sum(row["n_nights"] for row in used)


def test_the_same_again_writes_the_same_bytes(study: Path, tmp_path: Path) -> None:
    before = _written(study)
    assert len(before) == 4
    again = tmp_path / "again"
    shutil.copytree(study, again)
    shutil.rmtree(again / "lake" / "_cohort")
    header, *people = (again / "roster.csv").read_text().splitlines()
    (again / "roster.csv").write_text("\n".join([header, *reversed(people)]) + "\n")
    associate(open_study(again))
    assert _written(again) == before


def test_the_state_names_what_it_was_computed_from(study: Path, tmp_path: Path) -> None:
    opened = open_study(study)
    states = mart_states(opened.lake)
    used = [states[pid] for pid in sorted(entries_by_id(opened))]
    state = read_cohort_state(opened.lake)
    assert state is not None
    assert state.participants == [each.participant_id for each in used]
    assert state.state_hash == cohort_hash(opened, used)
    other = tmp_path / "other"
    shutil.copytree(study, other)
    change_settings(other, association=SETTINGS | {"min_pairs": 30})
    assert cohort_hash(open_study(other), used) != state.state_hash
    assert cohort_hash(opened, used[1:]) != state.state_hash


@pytest.fixture(scope="module")
def one(study: Path) -> tuple[str, Series]:
    """The participant with most nights, and the series."""
    opened = open_study(study)
    entries = entries_by_id(opened)
    parts = {pid: {name: pq.ParquetFile(opened.lake / name / f"participant_id={pid}" / "part.parquet").read()
                   for name in ("night", "night_diary", "night_exposure", "phase")} for pid in entries}  # fmt: skip
    pid = max(sorted(parts), key=lambda pid: len(parts[pid]["night"]))
    found = series(parts[pid], person_settings(opened, pid, entries[pid]), opened.settings, {})
    assert found is not None
    return pid, found


def test_clocks_are_minutes_after_the_local_midnight_of_the_night_date(study: Path, one: tuple[str, Series]) -> None:
    pid, of = one
    nights = rows(study, "select night_date, onset_local, onset_utc, midsleep_utc, tst_min from night "
                  f"where study_day >= 0 and participant_id = '{pid}'")  # fmt: skip
    assert len(nights) > 20
    minute = timedelta(minutes=1)
    for night_date, onset_local, onset_utc, midsleep_utc, tst in nights:
        at = day_number(night_date) - of.first
        after = (onset_local - datetime.combine(night_date, time())) / minute
        assert of.values["onset", "wearable"][at] == after
        assert of.values["midsleep", "wearable"][at] == pytest.approx(after + (midsleep_utc - onset_utc) / minute)
        assert of.values["tst", "wearable"][at] == tst
        assert of.night[at]


def test_late_doses_are_those_of_the_log(study: Path, one: tuple[str, Series]) -> None:
    pid, of = one
    mine = f"substance = 'kratom' and participant_id = '{pid}'"
    uses = (
        f"select taken_utc from substance_use where not no_use and is_current and time_precision = 'exact' and {mine}"
    )
    taken = [at for (at,) in rows(study, uses)]
    nights = rows(study, "select night_date, anchor_utc, unit from night_exposure "
                  f"where anchor = 'usual' and anchor_utc is not null and {mine}")  # fmt: skip
    late = of.doses["kratom", nights[0][2]].exposures["usual"][:, EXPOSURES.index("late_dose")]
    compared = 0
    for night_date, anchor, _ in nights:
        said = late[day_number(night_date) - of.first]
        if np.isfinite(said):
            assert said == any(timedelta(0) <= anchor - at < timedelta(hours=3) for at in taken), night_date
            compared += 1
    assert compared > 15
    assert {0.0, 1.0} <= set(late[np.isfinite(late)].tolist())


def test_nobody_has_no_rows_but_a_flow(study: Path, tmp_path: Path) -> None:
    root = tmp_path / "nobody"
    shutil.copytree(study, root, ignore=shutil.ignore_patterns("lake", "warehouse.duckdb"))
    done = associate(open_study(root))
    assert (done.participants, done.rows["association"], done.rows["dose_sleep"], done.estimable) == (0, 0, 0, 0)
    flow = _table(root, "flow").to_pylist()
    assert [(row["step"], row["n_participants"]) for row in (flow[0], flow[-1])] == [("enrolled", 5), ("analysed", 0)]


def test_associate_publishes_them(study: Path, tmp_path: Path) -> None:
    root = tmp_path / "published"
    shutil.copytree(study, root)
    done, _ = pipeline.associate(open_study(root), lambda *_: nullcontext(lambda: None))
    for name in tables(COHORT):
        assert rows(root, f"select count(*) from {name}") == [(len(_table(root, name)),)]
    assert rows(root, "select count(*) from association where estimable") == [(done.estimable,)]
    state = read_cohort_state(root / "lake")
    assert state is not None
    assert rows(root, "select mart_hash from publication where participant_id = '_cohort'") == [(state.state_hash,)]

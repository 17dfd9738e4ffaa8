"""Real exports of six people: counts, agreement with the vendor, repeats, and a log by a mapping alone."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from ingest._core.contract import COHORT, tables
from ingest._core.study import open_study
from ingest.lake.cohort_store import cohort_path
from ingest.mart.cohort import associate
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish_study
from publish.test_both_engines import content
from studies import (
    COUNTS,
    SAMPLES,
    check_counts,
    command,
    files,
    lake_table,
    make_study,
    pid,
    rows,
    run,
    told,
    warehouse,
)

PMDATA = SAMPLES / "pmdata"
REFS = ("p01", "p02", "p03", "p04", "p05", "p06")
SESSIONS = dict(zip(REFS, (150, 153, 81, 182, 128, 160), strict=True))
MAINS = dict(zip(REFS, (150, 142, 78, 144, 118, 150), strict=True))
MEAN_TST = dict(zip(REFS, (355.07, 368.19, 364.55, 422.74, 365.69, 371.51), strict=True))
MAPPING: dict[str, Any] = {
    "name": "reporting",
    "layout": "daily",
    "files": "*reporting*.csv",
    "date": {"column": "date", "format": "%d/%m/%Y"},
    "date_means": "use_day",
    "answers": {"yes": ["Yes"], "no": ["No"], "none": ["", "Maybe"]},
    "items": [{"substance": "alcohol", "answer": "alcohol_consumed"}],
}
pytestmark = pytest.mark.skipif(not PMDATA.is_dir(), reason="the samples lie beside the project, and are not there")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_study(tmp_path_factory.mktemp("pmdata") / "study", "Europe/Oslo", [MAPPING], REFS)
    for ref in REFS:
        shutil.copytree(PMDATA / ref, root / "landing" / ref)
    done = run(root)
    assert done.loaded.counts()["read"] == sum(done.loaded.counts()[name] for name in (
        "kept", "duplicate", "ignored_records", "quarantined"))  # fmt: skip
    return root


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    shutil.copytree(study, tmp_path / "study")
    return tmp_path / "study"


def _logs(ref: str) -> dict[str, dict[str, Any]]:
    """The vendor's logs by logId; of copies the one with most segments, then the last."""
    best: dict[str, dict[str, Any]] = {}
    for log in json.loads((PMDATA / ref / "fitbit" / "sleep.json").read_text()):
        other, key = best.get(str(log["logId"])), str(log["logId"])
        if other is None or _size(log) >= _size(other):
            best[key] = log
    return best


def _size(log: dict[str, Any]) -> int:
    return len(log["levels"].get("data", [])) + len(log["levels"].get("shortData", []))


@pytest.mark.parametrize("ref", REFS)
def test_current_sessions_and_the_vendors_mains(study: Path, ref: str) -> None:
    ((current, mains, mean),) = rows(
        study,
        f"""
        select count(*), count(*) filter (is_main_reported), avg(vendor_tst_min) filter (is_main_reported)
        from sleep_session where is_current and participant_id = '{pid(study, ref)}'""",
    )
    assert (current, mains) == (SESSIONS[ref], MAINS[ref])
    assert mean == pytest.approx(MEAN_TST[ref], abs=0.005)


def test_every_record_of_the_files_is_accounted_for(study: Path) -> None:
    check_counts(study)
    records = {ref: json.loads((PMDATA / ref / "fitbit" / "sleep.json").read_text()) for ref in REFS}
    for ref in REFS:
        found = dict(
            zip(
                COUNTS,
                rows(
                    study,
                    f"""
            select records_read, kept, duplicate, ignored, quarantined from source_file
            where source = 'fitbit' and participant_id = '{pid(study, ref)}'""",
                )[0],
                strict=True,
            )
        )
        assert found["read"] == len(records[ref])
        assert found["duplicate"] == len(records[ref]) - len({log["logId"] for log in records[ref]})
        assert found["kept"] == SESSIONS[ref]


def test_stage_minutes_agree_with_the_vendors_summary(study: Path) -> None:
    """On mains with stages: wake, light, deep and REM within a minute, on at least 95 % of nights each."""
    minutes: dict[str, Counter[str]] = defaultdict(Counter)
    for stage in lake_table(study, "sleep_stage").to_pylist():
        minutes[stage["session_id"]][stage["stage"]] += (stage["end_utc"] - stage["start_utc"]).total_seconds() / 60
    people = {pid(study, ref): _logs(ref) for ref in REFS}
    close: Counter[str] = Counter()
    nights = 0
    for row in lake_table(study, "sleep_session").to_pylist():
        log = people[row["participant_id"]][row["source_record_id"]]
        if not log["mainSleep"] or log["type"] != "stages":
            continue
        nights += 1
        for vendor, ours in (("wake", "awake"), ("light", "light"), ("deep", "deep"), ("rem", "rem")):
            stated = log["levels"]["summary"][vendor]["minutes"]
            close[ours] += abs(minutes[row["session_id"]][ours] - stated) <= 1
    assert nights > 600
    assert {stage: count / nights >= 0.95 for stage, count in close.items()} == dict.fromkeys(
        ("awake", "light", "deep", "rem"), True
    )


def test_again_changes_nothing(copy: Path) -> None:
    lake, when = files(copy / "lake"), (copy / "warehouse.duckdb").stat().st_mtime_ns
    data = (copy / "warehouse.duckdb").read_bytes()
    again = run(copy)
    assert again.loaded.counts()["exports"] == 0
    assert again.rebuilt.participants == []
    assert again.published.published == []
    assert files(copy / "lake") == lake
    assert (copy / "warehouse.duckdb").stat().st_mtime_ns == when
    assert (copy / "warehouse.duckdb").read_bytes() == data


def test_from_nothing_the_same_bytes(copy: Path) -> None:
    lake, tables = files(copy / "lake"), warehouse(copy)
    shutil.rmtree(copy / "lake")
    (copy / "warehouse.duckdb").unlink()
    run(copy)
    assert files(copy / "lake") == lake
    assert warehouse(copy) == tables


def _answers(ref: str) -> dict[date, set[str]]:
    found: dict[date, set[str]] = defaultdict(set)
    with (PMDATA / ref / "googledocs" / "reporting.csv").open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream):
            found[datetime.strptime(row["date"], "%d/%m/%Y").date()].add(row["alcohol_consumed"])
    return found


@pytest.mark.parametrize("ref", REFS)
def test_a_row_for_every_yes_and_no(study: Path, ref: str) -> None:
    with (PMDATA / ref / "googledocs" / "reporting.csv").open(encoding="utf-8-sig", newline="") as stream:
        said = Counter(row["alcohol_consumed"] for row in csv.DictReader(stream))
    found = rows(
        study,
        f"""select no_use, count(*), bool_and(time_precision = 'day'), count(taken_utc)
        from substance_use where participant_id = '{pid(study, ref)}' and substance = 'alcohol'
        group by 1 order by 1""",
    )
    assert found == [(answer == "No", said[answer], True, 0) for answer in ("Yes", "No") if said[answer]]


@pytest.mark.parametrize("ref", REFS)
def test_log_status_of_each_night(study: Path, ref: str) -> None:
    """The answer of the day that is the night's date, silence where there is none; no time, so no window."""
    answers = {day: said & {"Yes", "No"} for day, said in _answers(ref).items()}
    words = {frozenset(): "not_logged", frozenset({"Yes"}): "logged", frozenset({"No"}): "none_reported",
             frozenset({"Yes", "No"}): "conflict"}  # fmt: skip
    found = rows(
        study,
        f"""select night_date, log_status from night_exposure
        where participant_id = '{pid(study, ref)}' and substance = 'alcohol' and anchor = 'onset' order by 1""",
    )
    nights = rows(study, f"select night_date from night where participant_id = '{pid(study, ref)}' order by 1")
    assert [day for day, _ in found] == [day for (day,) in nights]
    assert Counter(status for _, status in found)["not_logged"] < len(found)
    for day, status in found:
        assert status == words[frozenset(answers.get(day, set()))], day


def test_time_windows_are_unknown_for_answers_by_day(study: Path) -> None:
    columns = ["dose_count_24h", "dose_count_6h", "amount_3h", "amount_6h", "amount_12h", "amount_24h",
               "amount_since_wake", "hours_since_last_dose", "last_dose_amount"]  # fmt: skip
    known = rows(study, f"select {', '.join(f'count({name})' for name in columns)} from night_exposure "
                 "where log_status in ('logged', 'conflict')")  # fmt: skip
    assert known == [(0,) * len(columns)]


def test_one_record_changed_rebuilds_one_participant(copy: Path) -> None:
    before = files(copy / "lake")
    path = copy / "landing" / "p03" / "fitbit" / "sleep.json"
    logs = json.loads(path.read_text())
    logs[10]["minutesAsleep"] += 1
    path.write_text(json.dumps(logs))
    own = pid(copy, "p03")
    done = command("--study", copy, "run")
    assert done.returncode == 0
    rebuilt = next(line for line in done.stdout.splitlines() if line.startswith("rebuilt"))
    assert "1 participants" in rebuilt
    assert own in rebuilt
    assert [pid(copy, ref) for ref in REFS if pid(copy, ref) in done.stdout] == [own]
    changed = {name for name, data in files(copy / "lake").items() if before.get(name) != data}
    assert changed
    assert all(own in name for name in changed)
    assert len(rows(copy, f"select 1 from sleep_session where is_current and participant_id = '{own}'")) == 81


def test_no_ref_and_no_path_goes_on(study: Path) -> None:
    text = told(study).split("\n")
    assert [cell for cell in text if cell in REFS or "sleep.json" in cell or "reporting.csv" in cell] == []


def test_nights_lie_within_their_dates(study: Path) -> None:
    """Local onset less twelve hours is the night date, for every night of the zone's participants."""
    found = rows(study, "select night_date, onset_local from night")
    assert len(found) > 700
    assert all((onset - timedelta(hours=12)).date() == day for day, onset in found)


@pytest.fixture(scope="module")
def associated(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study with its associations; not to be changed but for its warehouse."""
    root = tmp_path_factory.mktemp("associated") / "study"
    shutil.copytree(study, root)
    associate(open_study(root))
    return root


def _alcohol(ref: str) -> dict[date, float]:
    """Days with one answer, 1 for a drink; days with two different ones are left out."""
    said: dict[date, set[str]] = defaultdict(set)
    for path in (PMDATA / ref).rglob("*reporting*.csv"):
        for row in csv.DictReader(path.open(encoding="utf-8")):
            if row["alcohol_consumed"] in ("Yes", "No"):
                said[datetime.strptime(row["date"], "%d/%m/%Y").date()].add(row["alcohol_consumed"])
    return {day: float(answers == {"Yes"}) for day, answers in said.items() if len(answers) == 1}


def _slope_by_dates(x: dict[date, float], y: dict[date, float]) -> tuple[float, float, int]:
    """Slope of y on x beside a line over time, its Newey-West error from pairs of dates, and how many nights."""
    days = sorted(x.keys() & y.keys())
    t = np.array([day.toordinal() for day in days], dtype=float)
    design = np.column_stack([[x[day] for day in days], np.ones(len(days)), t - t.mean()])
    inverse = np.linalg.inv(design.T @ design)
    outcome = np.array([y[day] for day in days])
    slope = inverse @ design.T @ outcome
    lags = int(4 * ((t[-1] - t[0] + 1) / 100) ** (2 / 9))
    weight = np.clip(1 - np.abs(t[:, None] - t[None, :]) / (lags + 1), 0, None)
    leverage = ((design @ inverse) * design).sum(axis=1)
    score = design * ((outcome - design @ slope) / (1 - leverage))[:, None]
    covariance = inverse @ (score.T @ weight @ score) @ inverse
    return float(slope[0]), float(np.sqrt(covariance[0, 0])), len(days)


def test_alcohol_beside_score_and_onset_of_those_who_drink(associated: Path) -> None:
    """At lag 0, anchor `usual`: an estimate for all but p01, who reports no drink; that of each is recomputed."""
    found = {
        (row["participant_id"], row["outcome"]): row
        for row in pq.ParquetFile(cohort_path(associated / "lake", "association")).read().to_pylist()
        if (row["substance"], row["exposure"], row["anchor"], row["lag"]) == ("alcohol", "any_use", "usual", 0)
    }
    for ref in REFS:
        own, alcohol = pid(associated, ref), _alcohol(ref)
        night = rows(
            associated,
            "select night_date, vendor_score, date_diff('second', night_date::timestamp, onset_local) / 60.0 "
            f"from night where participant_id = '{own}'",
        )
        for at, outcome in ((1, "vendor_score"), (2, "onset")):
            row = found[own, outcome]
            assert row["estimable"] == (ref != "p01"), (ref, row["reason"])
            if row["estimable"]:
                measured = {each[0]: float(each[at]) for each in night if each[at] is not None}
                slope, error, n = _slope_by_dates(alcohol, measured)
                assert row["n_nights"] == n
                assert (row["estimate"], row["std_error"]) == pytest.approx((slope, error), rel=1e-6)
            else:
                assert row["reason"] == "dose_does_not_vary"
                assert sum(alcohol.values()) == 0


def test_associations_are_the_same_on_both_engines(associated: Path, postgres: str) -> None:
    """To the last bit; those of alcohol, lag 0, with score and onset are estimable for all but p01 on either."""
    here = open_study(associated)
    there = replace(here, settings=here.settings.model_copy(update={"warehouse": postgres}))
    names = ("night", *tables(COHORT))
    held = []
    for each in (here, there):
        publish_study(each)
        held.append(content(each, names))
        with opened(each) as reader:
            found = reader.rows(
                "SELECT outcome, participant_id FROM association WHERE substance = 'alcohol' AND exposure = 'any_use' "
                "AND anchor = 'usual' AND lag = 0 AND level = 'participant' AND estimable "
                "AND outcome IN ('vendor_score', 'onset')"
            )
        drinkers = [pid(associated, ref) for ref in REFS if ref != "p01"]
        assert sorted(found) == sorted((outcome, who) for outcome in ("vendor_score", "onset") for who in drinkers)
    assert all(held[0][name] for name in names)
    assert held[1] == held[0]

"""The DAGs by `dag.test()`: what they do to a study, how they end, what they leave in Airflow's database."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingest._core.audit_chain import path_of
from ingest._core.study import Study, open_study
from ingest.demo.facts import CANARY
from ingest.harmonise.identity import people
from ingest.lake.load import load_batch, plan_batches
from ingest.mart.cohort import associate
from ingest.mart.rebuild import rebuild, stale_groups
from ingest.publish.warehouse import publish_study

pytestmark = pytest.mark.xdist_group("airflow")
REFS = ("K01", "K02")
WITHDREW = "2026-01-12"
LOAD, PLAN = "ingest.lake.load:load_batch", "ingest.lake.load:plan_batches"
STALE, REBUILD = "ingest.mart.rebuild:stale_groups", "ingest.mart.rebuild:rebuild"
PUBLISH = "ingest.publish.warehouse:publish_study"
TIMES = {"arrived_at", "first_seen_at", "published_at"}
SECRETS = ("Canary-Alma", "Canary-Bo", "Canary-handful", CANARY, "X99", "takeout-", "kratom-log")
ONE = {"exports": 1, "loaded": 1}


def run(name: str, dag: str, study: Path, **stand_ins: Any) -> dict[str, Any]:
    given = {"name": name, "dag": dag, "study": str(study), "stand_ins": stand_ins.get("stand_ins", {})}
    return given | ({"conf": stand_ins["conf"]} if "conf" in stand_ins else {})


@dataclass
class Ran:
    """What the child said of each run, all it printed, its Airflow's folder, both studies, one that people left."""

    runs: dict[str, Any]
    printed: str
    home: Path
    by_airflow: Path
    in_process: Path
    left: Path
    ids: list[str]
    told: list[dict[str, str]]
    forgotten: dict[str, Any]


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
    child_environment: Callable[[Path, Path], dict[str, str]],
    make_study: Callable[[Path], Path],
    python: str,
) -> Ran:
    root = tmp_path_factory.mktemp("runs")
    in_process = make_study(root / "in-process")
    by_airflow = root / "by-airflow"
    _work_in_process(in_process, only_plan=True)
    shutil.copytree(in_process, by_airflow)
    _work_in_process(in_process)
    plain = {STALE: [["p1"]]}
    left = root / "left"
    shutil.copytree(in_process, left)
    ids = [each.participant_id for _, each in sorted(people(open_study(left)).items())]
    wanted = [
        run("load", "ingest_exports", by_airflow),
        run("publish", "publish_warehouse", by_airflow),
        run("load again", "ingest_exports", by_airflow),
        run("publish again", "publish_warehouse", by_airflow),
        run("associate", "associate_cohort", by_airflow),
        run("monitor", "monitor_insomnia", by_airflow),
        run("many batches", "ingest_exports", by_airflow, stand_ins={
            PLAN: [[f"t{n}"] for n in range(5)], **plain,
            LOAD: {"calls": {"t0": ["go"], "t2": ["go"], "t4": ["go"]}, "returned": ONE},
        }),
        run("batches fail", "ingest_exports", by_airflow, stand_ins={
            PLAN: [["a"], ["b"], ["c"]], **plain,
            LOAD: {"calls": {"a": ["Terminal"], "b": ["Transient", "Transient", "go"], "c": ["go"]},
                   "returned": ONE},
        }),
        run("wrong use", "ingest_exports", root / "no-study"),
        run("erase unticked", "erase_participant", left, conf={"participant_id": ids[0]}),
        run("erase", "erase_participant", left, conf={"participant_id": ids[0], "for_good": True}),
        run("withdraw", "withdraw_participant", left, conf={"participant_id": ids[1], "on": WITHDREW}),
        run("groups fail", "publish_warehouse", by_airflow, stand_ins={
            STALE: [["a"], ["b"]],
            REBUILD: {"calls": {"a": ["WrongUse"], "b": ["PermissionError", "go"]}, "returned": {"n": 3}},
        }),
    ]  # fmt: skip
    (root / "wanted.json").write_text(json.dumps(wanted))
    notifier = {"notifier": "file_notifier.FileNotifier", "kwargs": {"path": str(root / "told.jsonl")}}
    env = child_environment(root / "home", by_airflow) | {
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "3",
        "AIRFLOW_VAR_INGEST_NOTIFIER": json.dumps(notifier),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    output = root / "output.txt"
    for command in (
        ["airflow", "db", "migrate"],
        [python, str(Path(__file__).with_name("run_probe.py")), str(root / "wanted.json")],
    ):
        with output.open("w") as file:
            done = subprocess.run(command, check=False, env=env, stdout=file, stderr=file, timeout=600)
        assert done.returncode == 0, output.read_text()[-6000:]
    printed = output.read_text()
    said = json.loads([line for line in printed.splitlines() if line.startswith('{"load":')][-1])
    forgotten = said.pop("forgotten")
    told = [json.loads(line) for line in (root / "told.jsonl").read_text().splitlines()]
    return Ran(said, printed, root / "home", by_airflow, in_process, left, ids, told, forgotten)


def _work_in_process(root: Path, only_plan: bool = False) -> None:
    study: Study = open_study(root)
    batches = plan_batches(study)
    if only_plan:
        return
    for batch in batches:
        load_batch(study, batch)
    for group in stale_groups(study):
        rebuild(study, group)
    associate(study)
    publish_study(study)


@pytest.mark.fault(79)
def test_all_that_can_be_loaded_is_and_the_refused_export_marks_the_run(ran: Ran) -> None:
    load = ran.runs["load"]
    assert load["tasks"] == {
        "plan -1": ["success", 1],
        "decode 0": ["success", 1],
        "announce -1": ["success", 1],
        "report_refusals -1": ["failed", 1],
    }
    assert load["state"] == "failed"
    assert load["labels"] == ["batch 1: 8 exports"]
    assert "of 8 new exports 1 refused, 1 partial; the rest is loaded" in ran.printed


def test_the_asset_event_carries_the_counts(ran: Ran) -> None:
    [[name, extra]] = ran.runs["load"]["events"]
    assert name == "lake"
    assert {status: extra[status] for status in ("exports", "loaded", "partial", "ignored", "refused")} == {
        "exports": 8, "loaded": 6, "partial": 1, "ignored": 0, "refused": 1,
    }  # fmt: skip
    assert [event[0] for event in ran.runs["publish"]["events"]] == ["warehouse"]


def test_a_load_is_recorded_as_one_run(ran: Ran) -> None:
    with duckdb.connect(str(ran.by_airflow / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.execute(
            "select exports_loaded, exports_partial, exports_refused from ops_run where kind = 'load'"
        ).fetchall()
    assert found == [(6, 1, 1)]


def test_a_run_is_labelled_with_the_hour_before_it(ran: Ran) -> None:
    start, end = ran.runs["load"]["interval"]
    assert start[14:19] == end[14:19] == "00:00"
    assert start != end


def test_publication_follows(ran: Ran) -> None:
    publish = ran.runs["publish"]
    assert publish["state"] == "success"
    assert publish["tasks"] == {
        "stale -1": ["success", 1],
        "mart 0": ["success", 1],
        "publish -1": ["success", 1],
        "report_failures -1": ["success", 1],
    }


def test_the_tables_over_all_participants_are_computed_then_published(ran: Ran) -> None:
    done = ran.runs["associate"]
    assert done["state"] == "success"
    assert done["tasks"] == {"associate -1": ["success", 1], "publish -1": ["success", 1]}
    assert [event[0] for event in done["events"]] == ["warehouse"]
    assert len(list(ran.by_airflow.glob("lake/_cohort/*.parquet"))) == 3


def test_row_77_what_the_study_does_not_expect_is_shown_and_told_once(ran: Ran) -> None:
    done = ran.runs["monitor"]
    assert done["tasks"] == {
        "summary -1": ["success", 1], "pages -1": ["success", 1], "check_expectations -1": ["failed", 1],
    }  # fmt: skip
    assert done["state"] == "failed"
    [summary] = [json.loads(text) for task, _, _, text in done["xcoms"] if task == "summary"]
    nights = _warehouse(ran.by_airflow)["night"]
    assert (summary["participants"], summary["nights"], summary["refused"]) == (len(REFS), len(nights), 1)
    [pages] = [json.loads(text) for task, _, _, text in done["xcoms"] if task == "pages"]
    assert pages["participants"] == len(REFS)
    told = [each["message"] for each in ran.told if each["message"].startswith("monitor_insomnia: ")]
    assert len(told) == 1
    assert f"silent_participants: {len(REFS)} participants without night" in told[0]


def test_refusals_are_told_with_counts(ran: Ran) -> None:
    [told] = [each for each in ran.told if "report_refusals: " in each["message"]]
    assert told["event"] == "data_quality"
    assert "of 8 new exports 1 refused, 1 partial; the rest is loaded" in told["message"]


def test_erasure_needs_its_tick(ran: Ran) -> None:
    assert ran.runs["erase unticked"]["tasks"] == {"erase -1": ["failed", 1]}
    assert "nothing was done: tick `erase for good`" in ran.printed
    assert [each["event"] for each in ran.told if each["message"].startswith("erase_participant: ")] == ["run_failed"]


def test_whoever_is_erased_is_gone_and_the_event_has_the_counts(ran: Ran) -> None:
    done = ran.runs["erase"]
    assert done["tasks"] == {"erase -1": ["success", 1]}
    [[name, extra]] = done["events"]
    assert name == "warehouse"
    assert extra["lake_files"] > 0
    kept = _warehouse(ran.left)
    assert {pid for (pid, *_) in kept["participant"]} == {ran.ids[1]}
    assert list(ran.left.glob(f"lake/*/participant_id={ran.ids[0]}")) == []
    assert "remains: landing: " in ran.printed


def test_the_audit_says_which_run_of_which_dag_it_was(ran: Ran) -> None:
    done = [json.loads(line) for line in path_of(ran.left).read_text().splitlines()]
    erased = [each for each in done if each["action"] == "erase"]
    assert [each["state"] for each in erased] == ["begun", "ended"]
    assert {each["via"] for each in erased} == {"airflow"}
    assert {each["run"].split(" ")[0] for each in erased} == {"erase_participant"}
    assert all(each["run"].split(" ")[1] for each in erased)
    assert {each["action"] for each in done} == {"publish", "erase", "withdraw"}
    loads = [line for line in path_of(ran.by_airflow).read_text().splitlines() if json.loads(line)["action"] == "load"]
    assert {json.loads(line)["run"].split(" ")[0] for line in loads} == {"ingest_exports"}


def test_whoever_withdrew_has_no_night_from_that_day_on(ran: Ran) -> None:
    done = ran.runs["withdraw"]
    assert done["tasks"] == {"withdraw -1": ["success", 1]}
    with duckdb.connect(str(ran.left / "warehouse.duckdb"), read_only=True) as connection:
        [(nights, last)] = connection.execute("select count(*), max(night_date)::varchar from night").fetchall()
    assert nights > 0
    assert last < WITHDREW
    [line] = [line for line in (ran.left / "roster.csv").read_text().splitlines() if line.startswith("Canary-Bo,")]
    assert WITHDREW in line.split(",")


def test_a_participant_id_can_be_taken_out_of_airflow(ran: Ran) -> None:
    assert ran.forgotten["id"] == ran.ids[0]
    assert ["xcom", "value"] in ran.forgotten["before"]
    assert ["dag_run", "conf"] in ran.forgotten["before"]
    assert ["rendered_task_instance_fields", "rendered_fields"] in ran.forgotten["before"]
    assert (ran.forgotten["after"], ran.forgotten["code"]) == ([], 0)
    kept = b"".join(path.read_bytes() for path in ran.home.rglob("*") if path.is_file())
    assert ran.forgotten["id"].encode() not in kept
    assert ran.ids[1].encode() in kept


def test_the_warehouse_equals_that_of_the_same_functions_in_this_process(ran: Ran) -> None:
    ours, theirs = _warehouse(ran.in_process), _warehouse(ran.by_airflow)
    assert len(theirs["night"]) > 10
    assert theirs.keys() == ours.keys()
    for table in ours:
        assert theirs[table] == ours[table], table


def test_the_lake_equals_that_of_the_same_functions_in_this_process(ran: Ran) -> None:
    ours, theirs = (
        {path.relative_to(root): path.read_bytes() for path in root.glob("lake/**/*.parquet")}
        for root in (ran.in_process, ran.by_airflow)
    )
    assert len(theirs) > 10
    assert theirs.keys() == ours.keys()
    assert [name for name in ours if theirs[name] != ours[name]] == []


def test_a_second_run_finds_nothing_and_ends_well(ran: Ran) -> None:
    load, publish = ran.runs["load again"], ran.runs["publish again"]
    assert {name: state for name, (state, _) in load["tasks"].items()} == {
        "plan -1": "success",
        "decode -1": "skipped",
        "announce -1": "skipped",
        "report_refusals -1": "success",
    }
    assert (load["state"], load["events"]) == ("success", [])
    assert publish["tasks"]["mart -1"][0] == "skipped"
    assert publish["state"] == "success"


def test_batches_are_joined_where_airflow_maps_no_more(ran: Ran) -> None:
    many = ran.runs["many batches"]
    assert many["state"] == "success"
    assert many["labels"] == ["batch 1: 2 exports", "batch 2: 2 exports", "batch 3: 1 exports"]
    assert many["events"] == [["lake", {"exports": 3, "loaded": 3}]]


@pytest.mark.fault(77)
def test_terminal_fails_at_once_transient_is_retried_and_the_other_batches_go_on(ran: Ran) -> None:
    failing = ran.runs["batches fail"]
    assert failing["tasks"] == {
        "plan -1": ["success", 1],
        "decode 0": ["failed", 1],
        "decode 1": ["success", 3],
        "decode 2": ["success", 1],
        "announce -1": ["success", 1],
        "report_refusals -1": ["upstream_failed", 0],
    }
    assert failing["state"] == "failed"
    assert failing["events"] == [["lake", {"exports": 2, "loaded": 2}]]


def test_a_study_that_cannot_be_opened_fails_at_once(ran: Ran) -> None:
    wrong = ran.runs["wrong use"]
    assert wrong["tasks"]["plan -1"] == ["failed", 1]
    assert wrong["tasks"]["announce -1"] == ["failed", 1]
    assert wrong["state"] == "failed"


def test_a_group_that_fails_marks_the_run_and_the_rest_is_published(ran: Ran) -> None:
    failing = ran.runs["groups fail"]
    assert failing["tasks"] == {
        "stale -1": ["success", 1],
        "mart 0": ["failed", 1],
        "mart 1": ["success", 2],
        "publish -1": ["success", 1],
        "report_failures -1": ["upstream_failed", 0],
    }
    assert failing["state"] == "failed"


@pytest.mark.fault(78)
def test_xcoms_are_ids_and_counts_and_small(ran: Ran) -> None:
    pushed = [xcom for each in ran.runs.values() for xcom in each["xcoms"]]
    assert {key for _, _, key, _ in pushed} == {"return_value"}
    assert {task for task, *_ in pushed} == {
        "plan", "decode", "stale", "mart", "publish", "associate", "summary", "pages", "erase", "withdraw",
    }  # fmt: skip
    for task, _, _, text in pushed:
        assert len(text) < 1000
        value = json.loads(text)
        if task == "plan":
            assert [number for number, _ in value] == [*range(1, len(value) + 1)]
            assert all(isinstance(exports, int) for _, exports in value)
        elif task == "stale":
            assert all(re.fullmatch("[0-9a-z]+|_study", each) for group in value for each in group)
        else:
            assert all(isinstance(number, int) for number in value.values())


@pytest.mark.fault(67)
def test_airflow_knows_no_ref_name_or_file(ran: Ran) -> None:
    [zipped] = ran.by_airflow.glob("landing/Canary-Alma/*.zip")
    with zipfile.ZipFile(zipped) as archive:
        assert CANARY in "".join(archive.read(name).decode() for name in archive.namelist())
    assert "PermissionError; its text is left out" in ran.printed
    kept = [path for path in ran.home.rglob("*") if path.is_file()]
    assert "airflow.db" in {path.name for path in kept}
    everything = b"".join(path.read_bytes() for path in kept) + ran.printed.encode()
    assert [word for word in SECRETS if word.encode() in everything] == []


def _warehouse(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, without the columns that hold when something was seen or done."""
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as connection:
        tables = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        found = {}
        for table in sorted({*tables} - {"ops_run"}):  # which tells of the runs, not of the study
            columns = [row[0] for row in connection.execute(f"describe {table}").fetchall()]
            kept = ", ".join(f'"{column}"' for column in columns if column not in TIMES)
            found[table] = connection.execute(f"select {kept} from {table} order by all").fetchall()
    return found

"""The DAG files parse fast, without network or database, and are wired as docs/airflow.md says."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DAGS = PROJECT / "dags"
FILES = sorted(DAGS.glob("*.py"))
pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture(scope="module")
def parsed(
    tmp_path_factory: pytest.TempPathFactory,
    child_environment: Callable[[Path, Path], dict[str, str]],
    python: str,
) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("home")
    env = child_environment(home, home) | {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:////nonexistent/folder/airflow.db",
    }
    del env["INGEST_STUDY"]
    command = [python, str(Path(__file__).with_name("import_probe.py")), str(DAGS)]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_all_dags_parse_without_errors(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert sorted(parsed["dags"]) == ["associate_cohort", "ingest_exports", "publish_warehouse"]


def test_parsing_takes_less_than_a_second_and_connects_to_nothing(parsed: dict[str, Any]) -> None:
    assert parsed["seconds"] < 1
    assert parsed["tried"] == []


def test_parsing_imports_no_stage_of_ingest(parsed: dict[str, Any]) -> None:
    ours = {name for name in parsed["imported"] if name.split(".")[0] == "ingest"}
    assert ours <= {"ingest", "ingest._core", "ingest._core.errors"}


def test_ingest_exports_runs_hourly_with_an_interval(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["ingest_exports"]
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert dag["cron"] == ["0 * * * *", "UTC"]
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


def test_publish_warehouse_runs_on_the_lake(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["publish_warehouse"]
    assert dag["assets"] == ["lake"]
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


def test_associate_cohort_runs_daily(parsed: dict[str, Any]) -> None:
    dag = parsed["dags"]["associate_cohort"]
    assert dag["timetable"] == "CronDataIntervalTimetable"
    assert dag["cron"] == ["0 4 * * *", "UTC"]
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)


@pytest.mark.parametrize(
    ("dag_id", "task_id", "after", "mapped", "outlets", "trigger_rule"),
    [
        ("associate_cohort", "associate", [], False, [], "all_success"),
        ("associate_cohort", "publish", ["associate"], False, ["warehouse"], "all_success"),
        ("ingest_exports", "plan", [], False, [], "all_success"),
        ("ingest_exports", "decode", ["plan"], True, [], "all_success"),
        ("ingest_exports", "announce", ["decode"], False, ["lake"], "all_done"),
        ("ingest_exports", "report_refusals", ["announce", "decode"], False, [], "none_failed"),
        ("publish_warehouse", "stale", [], False, [], "all_success"),
        ("publish_warehouse", "mart", ["stale"], True, [], "all_success"),
        ("publish_warehouse", "publish", ["mart"], False, ["warehouse"], "all_done"),
        ("publish_warehouse", "report_failures", ["mart", "publish"], False, [], "none_failed"),
    ],
)
def test_wiring(
    parsed: dict[str, Any],
    dag_id: str,
    task_id: str,
    after: list[str],
    mapped: bool,
    outlets: list[str],
    trigger_rule: str,
) -> None:
    task = parsed["dags"][dag_id]["tasks"][task_id]
    assert task["after"] == after
    assert task["mapped"] is mapped
    assert task["outlets"] == [[name, f"x-ingest://{name}"] for name in outlets]
    assert task["trigger_rule"] == trigger_rule


def test_no_other_tasks(parsed: dict[str, Any]) -> None:
    assert {dag_id: len(dag["tasks"]) for dag_id, dag in parsed["dags"].items()} == {
        "associate_cohort": 2,
        "ingest_exports": 4,
        "publish_warehouse": 4,
    }


def test_every_task_gives_up_on_what_will_fail_again_and_retries_the_rest(parsed: dict[str, Any]) -> None:
    for dag in parsed["dags"].values():
        for task in dag["tasks"].values():
            assert task["gives_up_on"] == ["WrongUse", "Terminal"]
            assert task["retries"] == 4
            assert task["backoff"] > 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_top_level_imports_are_the_standard_library_and_airflow_sdk(file: Path) -> None:
    imported: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    ours = {name for name in imported if name.split(".")[0] not in sys.stdlib_module_names}
    assert ours <= {"airflow.sdk", "airflow.sdk.exceptions"}


def test_what_several_files_say_they_say_alike() -> None:
    """A DAG file cannot import its neighbour wherever it may be parsed, so what several need stands in each."""
    said = [_definitions(file) for file in FILES]
    assert len(said) == 3
    for name in ("LAKE", "WAREHOUSE", "WILL_FAIL_AGAIN", "RETRIES", "_study", "_at_most"):
        where = [each[name] for each in said if name in each]
        assert len(where) >= (3 if name in ("WILL_FAIL_AGAIN", "RETRIES", "_study") else 2), name
        assert len(set(where)) == 1, name


def _definitions(file: Path) -> dict[str, str]:
    found = {}
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.dump(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            found[node.target.id] = ast.dump(node.value)
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = ast.dump(node)
    return found

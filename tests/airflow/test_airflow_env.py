"""scripts/airflow_env.py: the settings, and what run_dags makes of what Airflow says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Says = Callable[..., None]
PROJECT = Path(__file__).resolve().parents[2]
STAND_IN = """\
#!/bin/sh
test "$2" = migrate && exec sqlite3_stand_in "$AIRFLOW_HOME/airflow.db" %(states)s
echo "[DAG TEST] end task task_id=plan map_index=-1 [x]"
echo "[DAG TEST] end task task_id=decode map_index=1 [x]"
echo "airflow.sdk.exceptions.AirflowFailException: of 2 new exports 1 refused; the rest is loaded"
echo "the last words of $3"
test "$3" = %(fails)s && exit 1
exit 0
"""
DATABASE = """\
#!/usr/bin/env python3
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("create table dag_run(id integer, dag_id text, run_id text)")
db.execute("create table task_instance(dag_id text, run_id text, task_id text, map_index int, state text)")
for dag_id in ("ingest_exports", "publish_warehouse"):
    for run_id in ("old", "new"):
        db.execute("insert into dag_run values ((select count(*) from dag_run), ?, ?)", (dag_id, run_id))
    for each in ["plan:-1:success", "decode:1:success", *sys.argv[2:]]:
        task, index, state = each.split(":")
        db.execute("insert into task_instance values (?, 'new', ?, ?, ?)", (dag_id, task, int(index), state))
db.commit()
"""


@pytest.fixture
def airflow_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_env: ModuleType) -> Says:
    """Puts a stand-in for `airflow` first on the path: which DAG fails, and states of further tasks."""

    def put(fails: str, *states: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "airflow").write_text(STAND_IN % {"states": " ".join(states), "fails": fails})
        (folder / "sqlite3_stand_in").write_text(DATABASE)
        for each in folder.iterdir():
            each.chmod(0o755)
        real = airflow_env.environment
        monkeypatch.setattr(
            airflow_env,
            "environment",
            lambda home, study: real(home, study) | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        )

    return put


def test_tasks_are_echoed_with_their_state(airflow_says: Says, airflow_env: ModuleType, tmp_path: Path) -> None:
    airflow_says("neither")
    lines: list[str] = []
    airflow_env.run_dags(tmp_path, tmp_path / "home", lines.append)
    tasks = ["  plan                 success", "  decode 2             success"]
    assert lines == [
        "airflow db migrate",
        "airflow dags test ingest_exports", *tasks,
        "airflow dags test publish_warehouse", *tasks,
    ]  # fmt: skip
    assert "the last words of publish_warehouse" in (tmp_path / "home" / "dags-test.log").read_text()


def test_the_page_shows_what_is_typed(airflow_says: Says, airflow_env: ModuleType, tmp_path: Path) -> None:
    airflow_says("neither")
    lines: list[str] = []
    airflow_env.run_dags(tmp_path, tmp_path / "home", lines.append)
    page = (PROJECT / "docs" / "airflow.md").read_text()
    [block] = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    first, *typed = block.splitlines()
    assert "scripts/airflow_env.py" in first
    assert typed == [line for line in lines if line.startswith("airflow ")]


def test_a_run_that_only_reports_refusals_goes_on(airflow_says: Says, airflow_env: ModuleType, tmp_path: Path) -> None:
    airflow_says("ingest_exports", "report_refusals:-1:failed")
    lines: list[str] = []
    airflow_env.run_dags(tmp_path, tmp_path / "home", lines.append)
    assert "  marked failed so that it is seen: of 2 new exports 1 refused; the rest is loaded" in lines
    assert "airflow dags test publish_warehouse" in lines


@pytest.mark.parametrize(
    ("dag_id", "states"),
    [
        ("ingest_exports", ["decode:0:failed", "report_refusals:-1:upstream_failed"]),
        ("ingest_exports", []),
        ("publish_warehouse", ["publish:-1:failed"]),
    ],
)
def test_any_other_failure_shows_the_end_of_the_output_and_raises(
    airflow_says: Says, airflow_env: ModuleType, tmp_path: Path, dag_id: str, states: list[str]
) -> None:
    airflow_says(dag_id, *states)
    lines: list[str] = []
    with pytest.raises(RuntimeError, match=f"airflow dags test {dag_id}.*dags-test.log"):
        airflow_env.run_dags(tmp_path, tmp_path / "home", lines.append)
    assert f"the last words of {dag_id}" in lines[-1]


def test_another_airflow_of_this_machine_is_left_alone(
    airflow_env: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "theirs")
    env = airflow_env.environment(tmp_path / "home", tmp_path / "study")
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/home/airflow.db"
    assert "AIRFLOW__CORE__FERNET_KEY" not in env


def test_everything_is_on_loopback(airflow_env: ModuleType, tmp_path: Path) -> None:
    settings = airflow_env.settings(tmp_path, tmp_path, port=12345)
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    addresses = [value for value in settings.values() if value.startswith("http")]
    assert addresses
    assert all(address.startswith("http://127.0.0.1:12345") for address in addresses)


def test_the_printed_lines_give_a_shell_the_settings(airflow_env: ModuleType, python: str, tmp_path: Path) -> None:
    study = tmp_path / "my study's folder"
    printed = subprocess.run(
        [python, str(PROJECT / "scripts" / "airflow_env.py"), str(tmp_path), str(study), "--port", "81"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    show = f"{shlex.quote(python)} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    shell = subprocess.run(["sh", "-c", f"{printed}\n{show}"], check=True, capture_output=True, text=True)
    environment = json.loads(shell.stdout)
    wanted = airflow_env.settings(tmp_path, study, port=81)
    assert {name: environment[name] for name in wanted} == wanted
    assert environment["INGEST_STUDY"] == str(study)
    assert Path(environment["PATH"].split(os.pathsep)[0]) == Path(python).parent

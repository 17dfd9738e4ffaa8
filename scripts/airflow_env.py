"""Airflow for one study on this machine: its environment, and both DAGs run once without a scheduler.

    eval "$(.venv/bin/python scripts/airflow_env.py HOME STUDY)"

prints the variables that make `airflow` use the folder HOME (SQLite, logs, settings) with this project's DAGs
on STUDY. Everything listens on 127.0.0.1 only, and whoever reaches it there is admin: a set-up for one
person's machine, not for a server.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DAG_IDS = ("ingest_exports", "publish_warehouse")
DEGRADED = "report_refusals"
_TASK_ENDED = re.compile(r"\[DAG TEST\] end task task_id=(\w+) map_index=(-?\d+)")
_REFUSALS = re.compile(r"AirflowFailException: (.*)")
_TAIL_LINES = 40


def settings(home: Path, study: Path, port: int = 8080) -> dict[str, str]:
    """The environment variables, absolute paths, that tie Airflow to `home`, `study` and a loopback port."""
    home = home.resolve()
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(max(2, os.cpu_count() or 2)),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        # The API server's first answers take seconds on a busy machine.
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "INGEST_STUDY": str(study.resolve()),
    }


def environment(home: Path, study: Path, port: int = 8080) -> dict[str, str]:
    """This process's environment with `settings` in it and any other Airflow's settings out of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)])
    return kept | {"PATH": path} | settings(home, study, port)


def run_dags(study: Path, home: Path, echo: Callable[[str], None]) -> None:
    """Make the metadata database in `home`, then run both DAGs once with `airflow dags test`.

    Echoes each command and one line per task; the full output goes to `home`/dags-test.log. A run of
    ingest_exports that only reports refused exports goes on to publish. Where anything else fails, echoes the
    output's tail and raises RuntimeError.
    """
    home.mkdir(parents=True, exist_ok=True)
    env = environment(home, study) | {"PYTHONUNBUFFERED": "1"}
    log = home / "dags-test.log"
    log.unlink(missing_ok=True)
    _run(["airflow", "db", "migrate"], env, log, echo)
    for dag_id in DAG_IDS:
        _run(["airflow", "dags", "test", dag_id], env, log, echo, dag_id)


def _run(command: list[str], env: dict[str, str], log: Path, echo: Callable[[str], None], dag_id: str = "") -> None:
    echo(shlex.join(command))
    lines = []
    with (
        log.open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            lines.append(line.rstrip())
            if ended := _TASK_ENDED.search(line):
                echo(_task_line(env, dag_id, ended[1], int(ended[2])))
    if process.returncode == 0:
        return
    states = _tasks(env, dag_id) if dag_id else []
    if {task for task, _, state in states if state in ("failed", "upstream_failed")} == {DEGRADED}:
        said = [match[1] for match in map(_REFUSALS.search, lines) if match]
        echo(f"  marked failed so that it is seen: {said[-1] if said else 'exports were refused'}")
        return
    echo("\n".join(lines[-_TAIL_LINES:]))
    raise RuntimeError(f"`{shlex.join(command)}` failed; its whole output is in {log}")


def _task_line(env: dict[str, str], dag_id: str, task: str, index: int) -> str:
    name = f"{task} {index + 1}" if index >= 0 else task
    states = [state for found, at, state in _tasks(env, dag_id) if (found, at) == (task, index)]
    return f"  {name:<20} {states[0] if states else 'unknown'}"


def _tasks(env: dict[str, str], dag_id: str) -> list[tuple[str, int, str]]:
    """Task, map index and state of the DAG's newest run."""
    database = f"file:{env['AIRFLOW_HOME']}/airflow.db?mode=ro"
    with closing(sqlite3.connect(database, uri=True, timeout=30)) as metadata:
        return metadata.execute(
            "SELECT task_id, map_index, state FROM task_instance WHERE run_id ="
            " (SELECT run_id FROM dag_run WHERE dag_id = ?1 ORDER BY id DESC LIMIT 1) AND dag_id = ?1",
            (dag_id,),
        ).fetchall()


def main() -> None:
    """Print the settings as shell commands."""
    parser = argparse.ArgumentParser(description="Variables that tie `airflow` to a folder and a study.")
    parser.add_argument("home", type=Path, help="folder for Airflow's database, logs and settings")
    parser.add_argument("study", type=Path, help="the study's folder")
    parser.add_argument("--port", type=int, default=8080, help="loopback port of the API server (8080)")
    given = parser.parse_args()
    for name, value in settings(given.home, given.study, given.port).items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")


if __name__ == "__main__":
    main()

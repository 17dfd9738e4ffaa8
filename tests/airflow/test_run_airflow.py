"""`make airflow` started for real: pages, components, a run by the REST API, what listens where, and nothing left."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from ingest.demo.facts import CANARY
from studies import rows

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_S = 900
pytestmark = [pytest.mark.xdist_group("airflow"), pytest.mark.timeout(2 * PATIENCE_S)]


@pytest.fixture
def study(tmp_path: Path, make_study: Callable[[Path], Path]) -> Path:
    return make_study(tmp_path / "study")


@pytest.fixture
def started(study: Path, faster: dict[str, str], python: str, free_port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The script, until the test ends it; ended by force where the test did not."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | faster
    with (study.parent / "output.txt").open("wb") as file:
        process = subprocess.Popen(
            [python, str(PROJECT / "scripts" / "run_airflow.py"), str(study), "--port", str(free_port)],
            env=env, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_it_starts_works_and_leaves_nothing(
    study: Path, started: subprocess.Popen[bytes], run_airflow: ModuleType, free_port: int
) -> None:
    output = study.parent / "output.txt"
    _until(lambda: b"Ctrl-C ends all of it." in output.read_bytes(), started, output)
    api = run_airflow.Api(free_port)
    health = _get(f"{api.url}/api/v2/monitor/health")
    assert {name: each["status"] for name, each in health.items()} == dict.fromkeys(
        ("metadatabase", "scheduler", "triggerer", "dag_processor"), "healthy"
    )
    assert b"<html" in urllib.request.urlopen(api.url, timeout=180).read()
    assert f"at {api.url}" in output.read_text()
    assert "login: none" in output.read_text()

    run = api("POST", "/dags/ingest_exports/dagRuns", logical_date=None)
    _until(lambda: _state(api, "ingest_exports", run["dag_run_id"]) in ("success", "failed"), started, output)
    _until(lambda: _state(api, "publish_warehouse") == "success", started, output)
    assert rows(study, "select count(distinct participant_id) from night") == [(2,)]
    decoded = api("GET", "/dags/ingest_exports/dagRuns/~/taskInstances?task_id=decode")["task_instances"]
    assert {each["pool"] for each in decoded} == {"ingest_decode"}
    described = api("GET", "/dags/erase_participant/details")
    assert described["is_paused"] is False
    assert described["params"]["participant_id"]["schema"]["pattern"] == "^p[0-9a-f]{20}$"

    everything = _family(started)
    assert len(everything) > 5
    assert {address for each in everything for address in _listens(each)} == {"127.0.0.1"}
    started.send_signal(signal.SIGINT)
    assert started.wait(180) == 0, output.read_text()[-3000:]
    assert [each for each in everything if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", free_port)) != 0
    logs = [path for path in (study / ".airflow").rglob("*.log") if path.is_file()]
    assert any("task_id=decode" in str(path) for path in logs)
    said = "".join(path.read_text(errors="replace") for path in [*logs, output])
    assert [word for word in ("Canary-", CANARY, "takeout-", "kratom-log") if word in said] == []


def _until(holds: Callable[[], bool], started: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert started.poll() is None, output.read_text()[-6000:]
        assert time.monotonic() < deadline, output.read_text()[-6000:]
        time.sleep(0.5)


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=180) as answer:
        return json.load(answer)


def _state(api: Any, dag_id: str, run_id: str = "") -> str:
    """Of one run, or of the DAG's first; of none while the API does not answer, as it may under load."""
    try:
        runs = api("GET", f"/dags/{dag_id}/dagRuns?order_by=id")["dag_runs"]
    except OSError:
        return ""
    found = [each["state"] for each in runs if run_id in ("", each["dag_run_id"])]
    return found[0] if found else ""


def _family(started: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(started.pid).children(recursive=True)


def _listens(process: psutil.Process) -> set[str]:
    return {each.laddr.ip for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}

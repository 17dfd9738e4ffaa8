"""docs/airflow.md, typed in as it stands: by hand, and on a real scheduler with its asset-triggered run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from ingest.demo.facts import CANARY

PROJECT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (PROJECT / "docs" / "airflow.md").read_text(), re.MULTILINE | re.DOTALL)
PATIENCE_S = 300
pytestmark = pytest.mark.xdist_group("airflow")


@pytest.fixture
def checkout(tmp_path: Path, make_study: Callable[[Path], Path]) -> Path:
    """A folder that looks like a checkout, with a study called demo-study without a bad export."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in ("dags", "scripts"):
        (tmp_path / name).symlink_to(PROJECT / name)
    study = make_study(tmp_path / "demo-study")
    shutil.rmtree(study / "landing" / "X99")
    log = study / "landing" / "Canary-Bo" / "logs" / "kratom-log.csv"
    good = [line for line in log.read_text().splitlines() if "handful" not in line and "-32T" not in line]
    log.write_text("\n".join(good) + "\n")
    return tmp_path


@pytest.fixture
def type_in(checkout: Path, faster: dict[str, str]) -> Callable[[str], subprocess.Popen[bytes]]:
    """Starts a shell, leading a process group of its own, that stops at the first error."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")} | faster

    def start(lines: str) -> subprocess.Popen[bytes]:
        with (checkout / "output.txt").open("ab") as file:
            return subprocess.Popen(
                ["bash", "-ec", lines],
                cwd=checkout,
                env=env,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    return start


def test_by_hand(checkout: Path, type_in: Callable[[str], subprocess.Popen[bytes]]) -> None:
    by_hand, _, _ = BLOCKS
    with _group(type_in(by_hand)) as shell:
        assert shell.wait(2 * PATIENCE_S) == 0, _said(checkout)
    _assert_published(checkout)


def test_on_a_scheduler(checkout: Path, type_in: Callable[[str], subprocess.Popen[bytes]]) -> None:
    by_hand, components, unpause = BLOCKS
    tie, migrate, *_ = by_hand.splitlines()
    tie = tie.replace("demo-study", f"demo-study --port {_free_port()}")
    with _group(type_in(f"{tie}\n{migrate}\n{components}wait\n")) as airflow:
        _wait(checkout, airflow, "SELECT count(*) = 3 FROM serialized_dag")
        with _group(type_in(f"{tie}\n{unpause}")) as shell:
            assert shell.wait(PATIENCE_S) == 0, _said(checkout)
        _wait(checkout, airflow, "SELECT count(DISTINCT dag_id) = 2 FROM dag_run WHERE end_date IS NOT NULL")
        first = "SELECT min(id) FROM dag_run GROUP BY dag_id"
        ends = f"SELECT dag_id, run_type, state FROM dag_run WHERE id IN ({first}) ORDER BY dag_id"
        assert _ask(checkout, ends) == [
            ("ingest_exports", "scheduled", "success"),
            ("publish_warehouse", "asset_triggered", "success"),
        ], _said(checkout)
    _assert_published(checkout)
    _assert_quiet(checkout)


def _assert_published(checkout: Path) -> None:
    with duckdb.connect(str(checkout / "demo-study" / "warehouse.duckdb"), read_only=True) as connection:
        counts = connection.execute(
            "SELECT count(*), count(DISTINCT participant_id), count(tst_min) FROM night"
        ).fetchone()
    assert counts is not None
    nights, people, slept = counts
    assert people == 2
    assert 10 < slept <= nights <= 20


def _assert_quiet(checkout: Path) -> None:
    logs = list((checkout / ".airflow" / "logs").rglob("*.log"))
    assert any("task_id=decode" in str(path) for path in logs)
    said = "".join(path.read_text() for path in [*logs, checkout / "output.txt"])
    assert [word for word in ("Canary-", CANARY, "takeout-", "kratom-log") if word in said] == []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _group(leader: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End the leader's whole process group afterwards, politely first, and see that nothing is left of it."""
    try:
        yield leader
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            if _members(leader.pid):
                os.killpg(leader.pid, how)
            if _gone(leader, within_s=30):
                break
    assert not _members(leader.pid), f"still running: {_members(leader.pid)}"


def _gone(leader: subprocess.Popen[bytes], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if leader.poll() is not None and not _members(leader.pid):
            return True
        time.sleep(0.2)
    return False


def _members(session: int) -> list[str]:
    """Names of the running processes of this session; a session's id is its first process's."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.name())
    return found


def _wait(checkout: Path, airflow: subprocess.Popen[bytes], condition: str) -> None:
    """Until the query on Airflow's database gives 1."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert airflow.poll() is None, _said(checkout)
        if _ask(checkout, condition) == [(1,)]:
            return
        time.sleep(0.5)
    pytest.fail(f"after {PATIENCE_S} s still not: {condition}\n{_said(checkout)}")


def _ask(checkout: Path, query: str) -> list[Any]:
    database = checkout / ".airflow" / "airflow.db"
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # not made yet
        return []


def _said(checkout: Path) -> str:
    return (checkout / "output.txt").read_text(errors="replace")[-6000:]

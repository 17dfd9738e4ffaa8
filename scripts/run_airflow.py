"""`make airflow`: a whole Airflow on this machine, with the demo study or one of your own, until Ctrl-C.

    python scripts/run_airflow.py STUDY [--home DIR] [--port 8080]

Scheduler, triggerer, DAG processor and API server, on SQLite below DIR, listen on 127.0.0.1 only. They are one session
of processes: at the end of this one, by Ctrl-C or SIGTERM or because a component ended, none of it is left.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent))

from airflow_env import environment

from ingest.demo.study import make_study

COMPONENTS = {
    "api-server": ["airflow", "api-server"],
    "dag-processor": ["airflow", "dag-processor"],
    # The servers of task logs would listen on all interfaces; the pages read the files.
    "scheduler": ["airflow", "scheduler", "--skip-serve-logs"],
    "triggerer": ["airflow", "triggerer", "--skip-serve-logs"],
}
POOLS = {"ingest_decode": 2, "ingest_mart": 2}
UNPAUSED = ("ingest_exports", "publish_warehouse")
PATIENCE_S = 600
GRACE_S = 20
_TAIL_BYTES = 3000


class ComponentEnded(RuntimeError):
    """A component ended that should not have; the text has its last words."""


class Api:
    """Airflow's REST API where whoever reaches it is admin."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._token = ""

    def __call__(self, method: str, path: str, **body: Any) -> Any:
        """The answer's JSON; raises urllib's errors."""
        if not self._token:
            self._token = self._ask("GET", "/auth/token", None)["access_token"]
        return self._ask(method, f"/api/v2{path}", body or None)

    def unhealthy(self) -> list[str]:
        """Components that do not report as healthy, all of them while the API does not answer."""
        try:
            found = self._ask("GET", "/api/v2/monitor/health", None)
        except (OSError, ValueError):
            return ["api-server"]
        return sorted(name for name, each in found.items() if each.get("status") != "healthy")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=180) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def components(env: dict[str, str], logs: Path) -> Iterator[subprocess.Popen[bytes]]:
    """All components running, each with a log below `logs`, until the block is left; then nothing is left of them.

    Gives the leader of their session, which ends as soon as one of them does.
    """
    logs.mkdir(parents=True, exist_ok=True)
    lines = [f"{shlex.join(command)} >{shlex.quote(str(logs / name))}.log 2>&1 </dev/null &"
             for name, command in COMPONENTS.items()]  # fmt: skip
    leader = subprocess.Popen(["bash", "-c", "\n".join([*lines, "wait -n"])], env=env, start_new_session=True)
    try:
        yield leader
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            for process in members(leader.pid):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(how)
            if _until(lambda: not members(leader.pid), GRACE_S):
                break
        leader.wait(timeout=GRACE_S)


def members(session: int) -> list[psutil.Process]:
    """The running processes of a session; tasks lead process groups of their own within it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_healthy(api: Api, leader: subprocess.Popen[bytes], logs: Path) -> None:
    """Until every component reports; raises ComponentEnded where one ended or PATIENCE_S have passed."""

    def healthy() -> bool:
        if leader.poll() is not None:
            raise ComponentEnded(_last_words(logs))
        return not api.unhealthy()

    if not _until(healthy, PATIENCE_S):
        raise ComponentEnded(f"after {PATIENCE_S} s not healthy: {', '.join(api.unhealthy())}\n{_last_words(logs)}")


def _until(holds: Callable[[], bool], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.3)
    return True


def _last_words(logs: Path) -> str:
    tails = [f"== {path}\n{path.read_bytes()[-_TAIL_BYTES:].decode(errors='replace')}" for path in logs.glob("*.log")]
    return "\n".join(["a component of Airflow ended", *sorted(tails)])


def prepare(api: Api) -> None:
    """Make the pools, and start the two DAGs that keep the warehouse up to date, once the DAG processor knows them."""
    for name, slots in POOLS.items():
        api("POST", "/pools", name=name, slots=slots)
    known: set[str] = set()

    def listed() -> bool:
        known.update(each["dag_id"] for each in api("GET", "/dags?limit=100")["dags"])
        return known.issuperset(UNPAUSED)

    if not _until(listed, PATIENCE_S):
        raise ComponentEnded("the DAG processor found no DAGs")
    for dag_id in UNPAUSED:
        api("PATCH", f"/dags/{dag_id}", is_paused=False)


def run(study: Path, home: Path, port: int) -> None:
    """Start it, say where it is, wait until it is to end."""
    if not (study / "study.yaml").exists():
        print(f"Writing a synthetic study to {study}: 12 people, 120 nights each", flush=True)
        make_study(study)
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
    env = environment(home, study, port) | {f"INGEST_{name[7:].upper()}_POOL": name for name in POOLS}
    logs, new = home / "logs-of-components", not (home / "airflow.db").exists()
    home.mkdir(parents=True, exist_ok=True)
    print("Starting Airflow, half a minute ...", flush=True)
    with (home / "migrate.log").open("wb") as file:
        subprocess.run(["airflow", "db", "migrate"], env=env, check=True, stdout=file, stderr=file)
    with components(env, logs) as leader:
        api = Api(port)
        wait_healthy(api, leader, logs)
        if new:
            prepare(api)
        print(
            f"Airflow runs on {study} at {api.url}\n"
            "  login: none, whoever reaches this address is admin; it is on this machine only\n"
            f"  running: {', '.join(COMPONENTS)}; logs in {logs}\n"
            f"  started: {', '.join(UNPAUSED)}; the others wait for their switch or a form\n"
            "Ctrl-C ends all of it.",
            flush=True,
        )
        if leader.wait() is not None:
            raise ComponentEnded(_last_words(logs))


def main() -> None:
    """Read the command line, run; 0 after Ctrl-C or SIGTERM, 1 where a component ended."""
    parser = argparse.ArgumentParser(description="A whole Airflow on this machine, until Ctrl-C.")
    parser.add_argument("study", type=Path, help="the study's folder; a demo study is made where there is none")
    parser.add_argument("--home", type=Path, help="folder for Airflow's database, logs and settings (STUDY/.airflow)")
    parser.add_argument("--port", type=int, default=8080, help="loopback port of the API server (8080)")
    given = parser.parse_args()

    def end(number: int, frame: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # the second Ctrl-C of an impatient person
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, end)
    try:
        run(given.study, given.home or given.study / ".airflow", given.port)
    except KeyboardInterrupt:
        print("Airflow has ended.")
    except OSError as error:
        sys.exit(f"airflow: port {given.port} or a folder cannot be used: {error}")
    except (ComponentEnded, subprocess.CalledProcessError) as error:
        sys.exit(f"airflow: {error}")


if __name__ == "__main__":
    main()

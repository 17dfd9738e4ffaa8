"""A real scheduler with LocalExecutor on PostgreSQL, for three studies at once.

A mapped run over 200 files of which one batch is killed, a scheduled run, a three-day backfill, a publication that an
asset triggers, and who is told.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from ingest._core import clock
from publish.test_consent import _naming as naming_in
from servers import Postgres
from studies import COMMAND, as_json, fitbit_nights, land, make_study, pid, rows, run, write_roster

PROJECT = Path(__file__).resolve().parents[2]
LEAVES = "Canary-Adamantia"
REFS = [f"K{number:02}" for number in range(20)]
FILES, IN_A_BATCH = 200, 30
PATIENCE_S = 900
HEADER = "substance,taken_at,amount,unit\n"
pytestmark = [pytest.mark.xdist_group("airflow"), pytest.mark.timeout(2 * PATIENCE_S)]


@dataclass
class Forgotten:
    """Where an Airflow named somebody, by id and by ref, before and after `ingest erase --airflow`, which said this."""

    before: dict[str, list[str]]
    after: dict[str, list[str]]
    ref_before: list[str]
    code: int
    said: str


@dataclass
class Ran:
    """What the runs left: rows of Airflow's tables by name, the studies' folders, and what notifiers were told."""

    root: Path
    runs: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    events: list[dict[str, Any]]
    told: list[dict[str, str]]
    killed: int
    kept: dict[str, tuple[int, bytes]]
    days: list[datetime] = field(default_factory=list)
    forgotten: Forgotten | None = None

    def of(self, dag_id: str, kind: str) -> list[dict[str, Any]]:
        """Runs of a DAG and type, in the order of their intervals."""
        return [each for each in self.runs if (each["dag_id"], each["run_type"]) == (dag_id, kind)]

    def tasks_of(self, one: dict[str, Any], task: str) -> list[dict[str, Any]]:
        """Instances of a task in a run."""
        return [each for each in self.tasks if (each["run_id"], each["dag_id"], each["task_id"])
                == (one["run_id"], one["dag_id"], task)]  # fmt: skip


def _many(root: Path) -> Path:
    """200 logs of 20 people, one of which nobody can read."""
    study = make_study(root, refs=REFS, batch_bytes=IN_A_BATCH * (128 << 10))
    start = datetime(2026, 3, 1, 8)
    for number in range(FILES):
        lines = [f"kratom,{start + timedelta(hours=7 * i, minutes=number):%Y-%m-%dT%H:%M},3,g\n" for i in range(40)]
        text = "not a log" if number == 1 else HEADER + "".join(lines)
        land(study, f"{REFS[number % len(REFS)]}/log-{number:03}.csv", text)
    return study


def _days(root: Path, days: list[datetime]) -> Path:
    """A study whose three exports arrived on three days, and one of somebody who is erased later, before them."""
    study = make_study(root, refs=("K01", LEAVES))
    now = clock.now
    try:
        clock.now = lambda: days[0] - timedelta(days=2)
        land(study, f"{LEAVES}/watch/sleep-9.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 2, 5000)),
             days[0] - timedelta(days=3))  # fmt: skip
        run(study)
        for number, day in enumerate(days):
            clock.now = lambda day=day: day
            logs = fitbit_nights(datetime(2026, 3, 1 + 5 * number, 23), 3, 1000 + 100 * number)
            land(study, f"K01/part-{number}/sleep-{number}.json", as_json(logs), day - timedelta(hours=1))
            run(study)
    finally:
        clock.now = now
    return study


def _files_of_lake(study: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and bytes of each Parquet file of K01's decoded sleep."""
    return {path.name: (path.stat().st_ino, path.read_bytes())
            for path in sorted(study.glob(f"lake/sleep_session/*{pid(study)}*/**/*.parquet"))}  # fmt: skip


class Airflow:
    """A running Airflow and a connection to its metadata."""

    def __init__(self, api: Any, metadata: psycopg.Connection, leader: Any, logs: Path, env: dict[str, str]) -> None:
        self.api, self.metadata, self.leader, self.logs, self.env = api, metadata, leader, logs, env

    def ask(self, sql: str) -> list[dict[str, Any]]:
        with self.metadata.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            return cursor.execute(sql).fetchall()

    def until(self, condition: str) -> list[dict[str, Any]]:
        """Rows of the query, as soon as it has some."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := self.ask(condition)):
            assert self.leader.poll() is None, self.said()
            assert time.monotonic() < deadline, f"still not: {condition}\n{self.said()}"
            time.sleep(0.3)
        return found

    def said(self) -> str:
        runs = "\n".join(map(str, self.ask("SELECT dag_id, run_id, state FROM dag_run")))
        tasks = "\n".join(map(str, self.ask("SELECT dag_id, task_id, map_index, state FROM task_instance")))
        return f"{runs}\n{tasks}\n{(self.logs / 'scheduler.log').read_text(errors='replace')[-3000:]}"


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory,
    run_airflow: ModuleType,
    child_environment: Callable[..., dict[str, str]],
    postgres_server: Postgres,
    free_port: int,
) -> Ran:
    root = tmp_path_factory.mktemp("scheduler")
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight - timedelta(days=back) + timedelta(hours=12) for back in (4, 3, 2)]
    many, few = _many(root / "many"), _days(root / "days", days)
    kept = _files_of_lake(few)
    env = child_environment(root / "home", many, free_port)
    started = _Airflow(root, many, few, run_airflow, env, postgres_server)
    with started as airflow:
        airflow.until("SELECT 1 FROM serialized_dag HAVING count(DISTINCT dag_id) = 18")
        for dag_id in ("ingest_exports__many", "publish_warehouse__many", "ingest_exports__days"):
            airflow.api("PATCH", f"/dags/{dag_id}", is_paused=False)
        airflow.api("PATCH", "/dags/ingest_exports__gone", is_paused=False)
        killed = _kill_a_decode(airflow, many)
        subprocess.run(
            ["airflow", "backfill", "create", "--dag-id", "ingest_exports__days", "--from-date",
             f"{days[0] - timedelta(hours=12):%Y-%m-%d}", "--to-date", f"{days[2]:%Y-%m-%dT%H:%M}"],
            env=airflow.env, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        airflow.until("SELECT 1 FROM dag_run WHERE dag_id = 'publish_warehouse__many' AND state = 'success'")
        airflow.until("SELECT 1 FROM dag_run HAVING count(*) >= 7 AND count(*) = count(end_date)")
        told = root / "told.jsonl"
        wanted = {"data_quality", "deadline_missed", "run_failed"}
        _wait(lambda: wanted <= {each["event"] for each in _told(told)}, airflow)
        found = Ran(
            root,
            airflow.ask("SELECT * FROM dag_run ORDER BY data_interval_start"),
            airflow.ask("SELECT * FROM task_instance ORDER BY map_index"),
            airflow.ask("SELECT name, asset_event.extra, source_dag_id FROM asset_event JOIN asset"
                        " ON asset.id = asset_id ORDER BY asset_event.id"),
            _told(told), killed, kept, days,
        )  # fmt: skip
        found.forgotten = _forgotten(
            airflow, root, few, lambda words: naming_in(postgres_server, started.database, words)
        )
        return found


def _forgotten(airflow: Airflow, root: Path, study: Path, in_database: Callable[[set[str]], list[str]]) -> Forgotten:
    """Rebuild somebody's nights, erase them, both by Airflow, then have Airflow forget them."""
    who = pid(study, LEAVES)

    def naming(word: str) -> dict[str, list[str]]:
        files = [path for path in root.rglob("*") if path.is_file() and not {"many", "days"} & {*path.parts}]
        held = [
            str(path.relative_to(root)) for path in files if word in path.name or word.encode() in path.read_bytes()
        ]
        return {"files": held, "database": in_database({word})}

    write_roster(study, {"K01": "Europe/Oslo", LEAVES: "Europe/Berlin"})
    for dag_id, conf in (("publish_warehouse__days", {}),
                         ("erase_participant__days", {"participant_id": who, "for_good": True})):  # fmt: skip
        airflow.api("PATCH", f"/dags/{dag_id}", is_paused=False)
        run_id = airflow.api("POST", f"/dags/{dag_id}/dagRuns", logical_date=None, conf=conf)["dag_run_id"]
        of_run = f"FROM dag_run WHERE dag_id = '{dag_id}' AND run_id = '{run_id}'"
        airflow.until(f"SELECT 1 {of_run} AND state = 'success'")
    before, ref_before = naming(who), naming(LEAVES)
    done = subprocess.run(
        [COMMAND, "--study", study, "erase", LEAVES, "--yes", "--airflow", "--logs", root / "logs"],
        env=airflow.env, check=False, capture_output=True, text=True,
    )  # fmt: skip
    return Forgotten(before, naming(who), [*ref_before["files"], *ref_before["database"]], done.returncode,
                     done.stdout + done.stderr)  # fmt: skip


class _Airflow:
    """Airflow on a database of the server, for the studies `many`, `days` and one whose folder is not there."""

    def __init__(
        self, root: Path, many: Path, few: Path, run_airflow: ModuleType, env: dict[str, str], server: Postgres
    ) -> None:
        (root / "studies.toml").write_text(
            f'[many]\nfolder = "{many}"\nschedule = "0 0 * * *"\ndecode_pool = "ingest_decode"\n'
            f'[days]\nfolder = "{few}"\nschedule = "0 0 * * *"\ndeadline_hours = 0.0003\n'
            f'[gone]\nfolder = "{root / "nowhere"}"\nschedule = "0 0 * * *"\n'
        )
        database = server.database()
        self.url = server.tcp_url(database)
        notifier = {"notifier": "file_notifier.FileNotifier", "kwargs": {"path": str(root / "told.jsonl")}}
        self.env = env | {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": self.url,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "3",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "4",
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600",
            "AIRFLOW_VAR_INGEST_NOTIFIER": json.dumps(notifier),
            "AIRFLOW_VAR_INGEST_NOTIFIER__GONE": json.dumps(notifier),
            "INGEST_STUDIES": str(root / "studies.toml"),
            "PYTHONPATH": str(PROJECT / "tests" / "airflow"),
        }
        self.root, self.run_airflow, self.server, self.database = root, run_airflow, server, database

    def __enter__(self) -> Airflow:
        logs = self.root / "logs"
        subprocess.run(["airflow", "db", "migrate"], env=self.env, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)  # fmt: skip
        self.running = self.run_airflow.components(self.env, logs)
        leader = self.running.__enter__()
        api = self.run_airflow.Api(int(self.env["AIRFLOW__API__PORT"]))
        airflow = Airflow(api, self.server.connect(self.database), leader, logs, self.env)
        try:
            self.run_airflow.wait_healthy(api, leader, logs)
            api("POST", "/pools", name="ingest_decode", slots=2)
        except BaseException:
            self.__exit__()
            raise
        return airflow

    def __exit__(self, *_: object) -> None:
        self.running.__exit__(None, None, None)


def _kill_a_decode(airflow: Airflow, study: Path) -> int:
    """SIGKILL the process of a batch once exports are being committed; returns its map index."""
    _wait(lambda: any(study.glob("lake/_manifest/participant_id=*/*.json")), airflow)
    of_task = "FROM task_instance WHERE dag_id = 'ingest_exports__many' AND task_id = 'decode'"
    while True:
        [at, *_] = airflow.until(f"SELECT map_index, pid {of_task} AND state = 'running' AND pid > 0 ORDER BY 1 DESC")
        with suppress(ProcessLookupError):
            os.kill(at["pid"], signal.SIGKILL)
        ended = f"SELECT state {of_task} AND map_index = {at['map_index']} AND state IN ('up_for_retry', 'success')"
        if airflow.until(ended) == [{"state": "up_for_retry"}]:
            return int(at["map_index"])


def _told(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _wait(holds: Callable[[], bool], airflow: Airflow) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, airflow.said()
        time.sleep(0.3)


def test_200_files_make_few_mapped_tasks_labelled_with_their_batch(ran: Ran) -> None:
    [one] = ran.of("ingest_exports__many", "scheduled")
    mapped = ran.tasks_of(one, "decode")
    assert len(mapped) == -(-FILES // IN_A_BATCH)
    assert {each["state"] for each in mapped} == {"success"}
    assert {each["pool"] for each in mapped} == {"ingest_decode"}
    last = len(mapped)
    assert [each["rendered_map_index"] for each in mapped] == [
        f"batch {number}: {FILES - IN_A_BATCH * (last - 1) if number == last else IN_A_BATCH} exports"
        for number in range(1, last + 1)
    ]


def test_a_killed_task_is_tried_again_and_nothing_is_lost_or_doubled(ran: Ran) -> None:
    [one] = ran.of("ingest_exports__many", "scheduled")
    tries = {each["map_index"]: each["try_number"] for each in ran.tasks_of(one, "decode")}
    assert tries.pop(ran.killed) == 2
    assert set(tries.values()) == {1}
    assert rows(ran.root / "many", "select count(*), count(distinct source_file_id) from source_file") == [
        (FILES, FILES)
    ]
    assert rows(ran.root / "many", "select count(*), count(distinct use_id) from substance_use") == [
        (40 * (FILES - 1), 40 * (FILES - 1))
    ]


def test_row_79_one_bad_file_marks_the_run_and_the_others_load(ran: Ran) -> None:
    [one] = ran.of("ingest_exports__many", "scheduled")
    [reported] = ran.tasks_of(one, "report_refusals")
    assert (one["state"], reported["state"]) == ("failed", "failed")
    assert rows(ran.root / "many", "select status, count(*) from source_file group by 1 order by 1") == [
        ("loaded", FILES - 1), ("refused", 1),
    ]  # fmt: skip


def test_the_lake_triggers_one_publication(ran: Ran) -> None:
    [one] = ran.of("publish_warehouse__many", "asset_triggered")
    assert one["state"] == "success"
    [of_lake, of_warehouse] = [each for each in ran.events if each["name"].endswith("__many")]
    assert of_lake["name"] == "lake__many"
    assert (of_lake["extra"]["exports"], of_lake["extra"]["refused"]) == (FILES, 1)
    assert of_warehouse["name"] == "warehouse__many"
    assert rows(ran.root / "many", "select count(distinct participant_id) from substance_use") == [(len(REFS),)]


def test_a_scheduled_run_has_the_last_whole_interval(ran: Ran) -> None:
    [one] = ran.of("ingest_exports__days", "scheduled")
    assert one["data_interval_end"] - one["data_interval_start"] == timedelta(days=1)
    assert one["data_interval_end"].time() == datetime.min.time()
    assert one["state"] == "success"
    assert [each["state"] for each in ran.tasks_of(one, "decode")] == ["skipped"]


def test_a_three_day_backfill_decodes_what_arrived_each_day_to_the_same_bytes(ran: Ran) -> None:
    runs = ran.of("ingest_exports__days", "backfill")
    assert [each["state"] for each in runs] == ["success"] * 3
    assert [each["data_interval_start"].date() for each in runs] == [day.date() for day in ran.days]
    labels = [[each["rendered_map_index"] for each in ran.tasks_of(one, "decode")] for one in runs]
    assert labels == [["batch 1: 1 exports"]] * 3
    now = _files_of_lake(ran.root / "days")
    assert {name: data for name, (_, data) in now.items()} == {name: data for name, (_, data) in ran.kept.items()}
    assert len(now) == 3
    assert [name for name in now if now[name][0] == ran.kept[name][0]] == []
    assert [each for each in ran.events if each["name"].endswith("__days")] == []


@pytest.mark.fault(65)
def test_an_airflow_that_has_erased_somebody_can_forget_them(ran: Ran) -> None:
    found = ran.forgotten
    assert found is not None
    assert found.code == 0, found.said
    # Byte by byte: all files of the database, of Airflow's home, and of every log.
    assert found.before["database"] != []
    assert [name for name in found.before["files"] if "publish_warehouse__days" in name] != []
    assert found.after == {"files": [], "database": []}
    assert found.ref_before == []
    remains = found.said.partition("What remains")[2]
    assert "Airflow: emptied: 1 rows of dag_run.conf" in remains
    assert "Airflow: overwritten: the id in 1 rows of callback.data" in remains
    assert "Airflow: remains: the database's write-ahead log, until it is used again" in remains
    assert "Airflow: remains: backups of Airflow's database and logs; they end with their retention" in remains


def test_people_are_told_of_what_failed_what_is_wrong_with_data_and_what_is_late(ran: Ran) -> None:
    by_event: dict[str, list[str]] = {}
    for each in ran.told:
        by_event.setdefault(each["event"], []).append(each["message"])
    [quality] = by_event.pop("data_quality")
    assert quality.startswith("ingest_exports__many: run ")
    assert f"report_refusals: of {FILES} new exports 1 refused; the rest is loaded" in quality
    [failed] = by_event.pop("run_failed")
    assert failed.startswith("ingest_exports__gone: run ")
    assert str(ran.root) not in failed
    late = by_event.pop("deadline_missed")
    assert {message.partition(":")[0] for message in late} == {"ingest_exports__days"}
    assert by_event == {}

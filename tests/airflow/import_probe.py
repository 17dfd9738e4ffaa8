"""Run by test_import.py in a process of its own: parses the folder of DAG files given, prints JSON.

Every connection tried meanwhile is refused and listed.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

REFUSED = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.bind",
    "sqlite3.connect",
    "subprocess.Popen",
    "os.fork",
)
armed = False
tried: list[str] = []


def refuse(event: str, args: tuple[Any, ...]) -> None:
    if armed and event in REFUSED:
        tried.append(f"{event} {args}")
        raise PermissionError(event)


def task_facts(task: Any) -> dict[str, Any]:
    from ingest._core import errors

    decides = task.retry_policy.evaluate
    return {
        "after": sorted(task.upstream_task_ids),
        "mapped": task.is_mapped,
        "outlets": [[asset.name, asset.uri] for asset in task.outlets],
        "trigger_rule": task.trigger_rule.value,
        "retries": task.retries,
        "backoff": task.retry_exponential_backoff,
        "gives_up_on": [
            kind.__name__
            for kind in (errors.WrongUse, errors.Terminal, errors.Transient, OSError)
            if decides(kind("x"), 1, 4).action.value == "fail"
        ],
    }


def dag_facts(dag: Any) -> dict[str, Any]:
    timetable = dag.timetable
    return {
        "timetable": type(timetable).__name__,
        "cron": [getattr(timetable, "expression", None), str(getattr(timetable, "timezone", None))],
        "assets": [asset.name for asset in getattr(timetable.asset_condition, "objects", ())],
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tasks": {task.task_id: task_facts(task) for task in dag.tasks},
    }


sys.addaudithook(refuse)
from airflow.dag_processing.dagbag import DagBag  # noqa: E402

before = set(sys.modules)
armed = True
started = time.perf_counter()
bag = DagBag(sys.argv[1])
seconds = time.perf_counter() - started
armed = False
facts = {
    "errors": bag.import_errors,
    "seconds": seconds,
    "tried": tried,
    "imported": sorted(set(sys.modules) - before),
    "dags": {dag_id: dag_facts(dag) for dag_id, dag in bag.dags.items()},
}
print("\n" + json.dumps(facts))

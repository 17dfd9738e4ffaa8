"""Run by test_import.py in a process of its own: parses the folder of DAG files given, once for each environment
given as JSON, prints JSON.

Every connection tried meanwhile is refused and listed, and so is every file opened that is neither code nor Airflow's.
"""

from __future__ import annotations

import json
import os
import socket
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
CODE = (".py", ".pyc", ".so")
armed = False
tried: list[str] = []
read: set[str] = set()


def refuse(event: str, args: tuple[Any, ...]) -> None:
    if not armed:
        return
    if event in REFUSED:
        tried.append(f"{event} {args}")
        raise PermissionError(event)
    if event == "open" and isinstance(args[0], str | bytes):
        path = os.path.realpath(os.fsdecode(args[0]))
        if not path.endswith(CODE) and ".pyc." not in path and not path.startswith((sys.prefix, sys.base_prefix)):
            read.add(path)


def task_facts(task: Any) -> dict[str, Any]:
    from ingest._core import errors

    decides = task.retry_policy.evaluate
    return {
        "after": sorted(task.upstream_task_ids),
        "mapped": task.is_mapped,
        "outlets": [[asset.name, asset.uri] for asset in task.outlets],
        "trigger_rule": task.trigger_rule.value,
        "pool": task.pool,
        "retries": task.retries,
        "backoff": task.retry_exponential_backoff,
        "label": (task.partial_kwargs if task.is_mapped else {}).get("map_index_template"),
        "gives_up_on": [
            kind.__name__
            for kind in (errors.WrongUse, errors.Terminal, errors.Transient, OSError)
            if decides(kind("x"), 1, 4).action.value == "fail"
        ],
    }


def dag_facts(dag: Any) -> dict[str, Any]:
    timetable = dag.timetable
    timed = getattr(timetable, "timetable", timetable)
    return {
        "timetable": type(timetable).__name__,
        "timed": type(timed).__name__,
        "cron": [getattr(timed, "expression", None), str(getattr(timed, "timezone", None))],
        "assets": [asset.name for asset in getattr(timetable.asset_condition, "objects", ())],
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "doc": dag.doc_md,
        "deadlines": [each.interval.total_seconds() for each in dag.deadline or ()],
        "told": bool(dag.on_failure_callback) or all(task.on_failure_callback for task in dag.tasks),
        "params": {name: dag.params.get_param(name).schema for name in dag.params},
        "tasks": {task.task_id: task_facts(task) for task in dag.tasks},
    }


def parsed(environment: dict[str, str]) -> dict[str, Any]:
    global armed  # noqa: PLW0603 - the hook cannot be taken away again
    for name in [name for name in os.environ if name.startswith("INGEST_")]:
        del os.environ[name]
    os.environ.update(environment)
    before = set(sys.modules)
    read.clear()
    armed = True
    started = time.perf_counter()
    bag = DagBag(sys.argv[1])
    seconds = time.perf_counter() - started
    armed = False
    return {
        "errors": bag.import_errors,
        "seconds": seconds,
        "tried": tried,
        "read": sorted(read),
        "imported": sorted(set(sys.modules) - before),
        "dags": {dag_id: dag_facts(dag) for dag_id, dag in bag.dags.items()},
    }


sys.addaudithook(refuse)
from airflow.dag_processing.dagbag import DagBag  # noqa: E402

found = {
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "parses": [parsed(environment) for environment in json.loads(sys.argv[2])],
}
print("\n" + json.dumps(found, default=str))

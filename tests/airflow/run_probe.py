"""Run by test_runs.py in a process of its own: `dag.test()` again and again; prints what each left, as JSON.

Argument: a JSON file, a list of runs. Each has `name`, `dag`, `study`, optionally `conf` and `stand_ins`: for
"module:function", the value to return, or what its calls do one after the other, by the first of the ids they
get: `go`, or the name of an exception to raise, which has a participant's ref in its text or its cause's.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from airflow.dag_processing.dagbag import DagBag
from airflow.models.asset import AssetEvent
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import select

from airflow import settings
from ingest._core import errors
from ingest_airflow import forget

SECRET = "landing/Canary-Alma"


class Counts(dict[str, int]):
    def counts(self) -> dict[str, int]:
        return dict(self)


def stand_in(calls: dict[str, list[str]], returned: dict[str, int]) -> Any:
    """A function that meets, for the first id of its second argument, the fates listed for it."""
    fates: dict[str, Iterator[str]] = {first: iter(each) for first, each in calls.items()}

    def function(study: Any, ids: list[str]) -> Counts:
        fate = next(fates[ids[0]])
        if hasattr(errors, fate):
            raise getattr(errors, fate)(f"stand-in for {fate}") from ValueError(SECRET)
        if fate != "go":
            raise getattr(builtins, fate)(SECRET)
        return Counts(returned)

    return function


@cache
def dags(study: str) -> dict[str, Any]:
    os.environ["INGEST_STUDY"] = study
    return DagBag(settings.DAGS_FOLDER).dags


def run(wanted: dict[str, Any]) -> dict[str, Any]:
    dag = dags(wanted["study"])[wanted["dag"]]
    for task in dag.tasks:
        task.retry_delay, task.retry_exponential_backoff = timedelta(0), 0
    with ExitStack() as stack:
        for target, how in wanted.get("stand_ins", {}).items():
            module, function = target.split(":")
            new = stand_in(**how) if isinstance(how, dict) else lambda study, how=how: how
            stack.enter_context(patch.object(importlib.import_module(module), function, new))
        dag_run = dag.test(run_conf=wanted.get("conf"))
    return left(dag_run)


def left(dag_run: Any) -> dict[str, Any]:
    of_run = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    session = settings.Session()
    try:
        tasks = session.scalars(select(TaskInstance).filter_by(**of_run)).all()
        xcoms = session.scalars(select(XComModel).filter_by(**of_run)).all()
        events = session.scalars(
            select(AssetEvent).filter_by(source_dag_id=dag_run.dag_id, source_run_id=dag_run.run_id)
        ).all()
        return {
            "state": dag_run.state,
            "conf": dag_run.conf,
            "interval": [str(dag_run.data_interval_start), str(dag_run.data_interval_end)],
            "tasks": {f"{t.task_id} {t.map_index}": [t.state, t.try_number] for t in tasks},
            "labels": sorted(t.rendered_map_index for t in tasks if t.rendered_map_index),
            "xcoms": [[x.task_id, x.map_index, x.key, json.dumps(x.value)] for x in xcoms],
            "events": [[e.asset.name, e.extra] for e in events],
        }
    finally:
        session.close()


results = {}
for wanted in json.loads(Path(sys.argv[1]).read_text()):
    results[wanted["name"]] = run(wanted)
    print(f"\nENDED {wanted['name']}", flush=True)
participant_id = results["erase"]["conf"]["participant_id"]
found_before = sorted({(table, column) for table, column, _ in forget.rows_with(settings.engine, participant_id)})
results["forgotten"] = {
    "id": participant_id,
    "before": found_before,
    "code": forget.main([participant_id]),
    "after": list(forget.rows_with(settings.engine, participant_id)),
}
print("\n" + json.dumps(results))

"""Telling people: any notifier of Airflow or of the operator's own, named by an Airflow variable.

The variable `ingest_notifier` (for one of several studies `ingest_notifier__<study>`, which goes before it) holds JSON:
`{"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier", "kwargs": {"to": "ops@example.org", ...}}`.
It is read when there is something to tell, never while DAGs are parsed. `kwargs` may use `{{ ingest_event }}`
(`run_failed`, `data_quality`, `deadline_missed`) and `{{ ingest_message }}`, where the notifier renders them. Messages
hold ids and counts, nothing of people.
"""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from typing import Any

from airflow.sdk import BaseNotifier, Variable

VARIABLE = "ingest_notifier"
TOLD_BY_THEMSELVES = ("report_refusals", "check_expectations")
log = logging.getLogger("ingest.dags")


def run_failed(context: Any) -> None:
    """A run of a DAG, or its only task, failed. What a data-quality task found was told by that task."""
    task = context.get("ti")
    if task is not None and task.task_id in TOLD_BY_THEMSELVES:
        return
    where = f" at task {task.task_id}" if task is not None else ""
    dag_id = context["dag"].dag_id
    tell(dag_id, "run_failed", f"{dag_id}: run {context['run_id']} failed{where}", context)


def quality_found(context: Any) -> None:
    """A task that shows what is wrong with the data failed, as it is meant to; its error's text has the counts."""
    task = context["ti"]
    text = f"{task.dag_id}: run {task.run_id}, {task.task_id}: {context.get('exception')}"
    tell(task.dag_id, "data_quality", text, context)


async def deadline_missed(context: Any) -> None:
    """A run is not done within its time; runs in the triggerer."""
    run = context["dag_run"]
    text = f"{run['dag_id']}: run {run['dag_run_id']} is not done by {context['deadline']['deadline_time']}"
    await asyncio.to_thread(tell, run["dag_id"], "deadline_missed", text, context)


def tell(dag_id: str, event: str, message: str, context: Any) -> None:
    """Hand the message to the notifier; without one it stands in the log only. Raises what the notifier raises."""
    log.warning("%s: %s", event, message)
    said = _said(dag_id)
    if said is None:
        return
    module, _, name = said["notifier"].rpartition(".")
    notifier: BaseNotifier = getattr(import_module(module), name)(**said.get("kwargs", {}))
    notifier({**context, "ingest_event": event, "ingest_message": message})


def _said(dag_id: str) -> dict[str, Any] | None:
    _, _, study = dag_id.partition("__")
    names = [f"{VARIABLE}__{study}", VARIABLE] if study else [VARIABLE]
    for name in names:
        said = Variable.get(name, default=None, deserialize_json=True)
        if said is not None:
            if not isinstance(said, dict) or "notifier" not in said:
                raise ValueError(f'variable {name}: expected {{"notifier": "module.Class", "kwargs": {{...}}}}')
            return said
    return None

"""What the tasks of all DAGs have in common: the study they open, what is tried again, how counts are added up."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    AsyncCallback,
    DeadlineAlert,
    DeadlineReference,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    get_current_context,
)

from ingest_airflow.notify import deadline_missed, run_failed

if TYPE_CHECKING:
    from ingest._core.study import Study
    from ingest_airflow.configuration import Served

START = datetime(2026, 1, 1, tzinfo=UTC)
WILL_FAIL_AGAIN = RetryRule(
    ["ingest._core.errors.Terminal", "ingest._core.errors.WrongUse"],
    RetryAction.FAIL,
    reason="it would fail again in the same way",
)
RETRIES: dict[str, Any] = {
    "retries": 4,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 3.0,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": ExceptionRetryPolicy([WILL_FAIL_AGAIN]),
}


def settings_of(served: Served, doc: str | None) -> dict[str, Any]:
    """Arguments that every DAG of a study has: one run at a time, retries, who is told, what the page shows."""
    return {
        "catchup": False,
        "max_active_runs": 1,
        "default_args": RETRIES,
        "tags": served.tags,
        "doc_md": doc,
        "on_failure_callback": run_failed,
        "deadline": _deadline(served.deadline_hours),
    }


def _deadline(hours: float | None) -> DeadlineAlert | None:
    """Only where it is asked for: `airflow dags test` of Airflow 3.3.2 fails on a DAG that has one."""
    if hours is None:
        return None
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        callback=AsyncCallback(deadline_missed),
        name=f"not done within {hours:g} h",
    )


@contextmanager
def opened(served: Served) -> Iterator[Study]:
    """The study. Errors leave without what they quote: paths and values of people."""
    from ingest._core.errors import IngestError, WrongUse
    from ingest._core.keys import connections_from
    from ingest._core.study import open_study
    from ingest.publish.audit import acting

    connections_from(_password)
    try:
        if not served.folder:
            raise WrongUse("INGEST_STUDY is not set where this task runs; set it to the study's folder")
        with acting(via="airflow", purpose=os.environ.get("INGEST_PURPOSE"), **_who()):
            yield open_study(Path(served.folder))
    except IngestError as error:
        raise error from None
    except Exception as error:  # noqa: BLE001 - it goes on, without its text
        text = f"{type(error).__name__}; its text is left out here, `ingest run` shows it to who may see it"
        raise RuntimeError(text).with_traceback(error.__traceback__) from None


def _password(connection: str) -> str | None:
    """The password of a connection, from wherever this Airflow keeps them; None where there is no such connection."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        password: str | None = Connection.get(connection).password
    except AirflowNotFoundException:
        return None
    return password


def _who() -> dict[str, str]:
    """For the audit: whom Airflow knows to have started the run, and which run of which DAG it is."""
    try:
        run: Any = get_current_context()["dag_run"]
    except RuntimeError:
        return {}  # not within a task
    named = {"who": getattr(run, "triggering_user_name", None), "run": f"{run.dag_id} {run.run_id}"}
    return {name: value for name, value in named.items() if value}


def at_most(limit: int, groups: list[list[str]]) -> list[list[str]]:
    """Neighbouring groups joined until there are no more than `limit`."""
    width = max(1, -(-len(groups) // limit))
    return [list(chain(*groups[at : at + width])) for at in range(0, len(groups), width)]


def total(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Counts of mapped tasks added up; what failed or was skipped has none."""
    added: Counter[str] = Counter()
    for one in counts[:]:
        added.update(one)
    return dict(added)

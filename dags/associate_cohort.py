"""Daily: associations, dose_sleep and flow are computed anew from the nights of everybody, then published.

Wiring only: the work is functions of `ingest`, imported inside the tasks so that this file parses in no time.
XComs carry counts, nothing else. docs/airflow.md says what each task means.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, CronDataIntervalTimetable, ExceptionRetryPolicy, RetryAction, RetryRule, dag, task

if TYPE_CHECKING:
    from ingest._core.study import Study

WAREHOUSE = Asset("warehouse", uri="x-ingest://warehouse", group="ingest")
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


@dag(
    schedule=CronDataIntervalTimetable("0 4 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["ingest"],
    doc_md=__doc__,
)
def associate_cohort() -> None:
    """Nights of all participants into the tables over all of them, and those into the warehouse."""

    @task(multiple_outputs=False)
    def associate() -> dict[str, int]:
        """The tables over all participants; returns their counts."""
        from ingest.mart.cohort import associate as compute

        with _study() as study:
            return compute(study).counts()

    @task(outlets=[WAREHOUSE], multiple_outputs=False)
    def publish(*, outlet_events: Any) -> dict[str, int]:
        """They go out, with whatever else is built."""
        from ingest.publish.warehouse import publish_study

        with _study() as study:
            counts = publish_study(study).counts()
        outlet_events[WAREHOUSE].extra = counts
        return counts

    associate() >> publish()


@contextmanager
def _study() -> Iterator[Study]:
    """The study that INGEST_STUDY names. Errors leave without what they quote: paths and values of people."""
    from ingest._core.errors import IngestError, WrongUse
    from ingest._core.study import open_study

    folder = os.environ.get("INGEST_STUDY")
    try:
        if not folder:
            raise WrongUse("INGEST_STUDY is not set where this task runs; set it to the study's folder")
        yield open_study(Path(folder))
    except IngestError as error:
        raise error from None
    except Exception as error:  # noqa: BLE001 - it goes on, without its text
        text = f"{type(error).__name__}; its text is left out here, `ingest run` shows it to who may see it"
        raise RuntimeError(text).with_traceback(error.__traceback__) from None


associate_cohort()

"""Hourly: every settled export that is not in the lake yet is decoded into it.

Wiring only: the work is functions of `ingest`, imported inside the tasks so that this file parses in no time.
XComs carry export ids and counts, nothing else. docs/airflow.md says what each task means.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    Asset,
    CronDataIntervalTimetable,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    TriggerRule,
    conf,
    dag,
    task,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

if TYPE_CHECKING:
    from ingest._core.study import Study

LAKE = Asset("lake", uri="x-ingest://lake", group="ingest")
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
log = logging.getLogger("ingest.dags")


@dag(
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=RETRIES,
    tags=["ingest"],
    doc_md=__doc__,
)
def ingest_exports() -> None:
    """Exports into the lake; asset `lake`."""

    @task(show_return_value_in_logs=False)
    def plan() -> list[list[str]]:
        """Ids of the exports to decode, in batches of `batch_bytes`, never more than can be mapped."""
        from ingest.lake.load import plan_batches

        with _study() as study:
            return _at_most(conf.getint("core", "max_map_length"), plan_batches(study))

    @task(
        multiple_outputs=False,
        map_index_template="batch {{ ti.map_index + 1 }}: {{ task.op_kwargs.batch | length }} exports",
    )
    def decode(batch: list[str]) -> dict[str, int]:
        """One batch into the lake; returns its counts."""
        from ingest.lake.load import load_batch

        with _study() as study:
            return load_batch(study, batch).counts()

    @task(outlets=[LAKE], trigger_rule=TriggerRule.ALL_DONE)
    def announce(counts: Sequence[dict[str, int]], *, outlet_events: Any) -> None:
        """Update the asset if the lake is ahead of the nights, whichever run put it ahead."""
        from ingest.mart.rebuild import stale_groups

        with _study() as study:
            behind = stale_groups(study)
        if not behind:
            raise AirflowSkipException("the nights are up to date with the lake")
        outlet_events[LAKE].extra = _total(counts)

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def report_refusals(counts: Sequence[dict[str, int]]) -> None:
        """Fail if an export was refused, wholly or in part: the run is then not green."""
        total = _total(counts)
        log.info("this run: %s", ", ".join(f"{n} {name}" for name, n in total.items()) or "no new exports")
        bad = [f"{total[status]} {status}" for status in ("refused", "partial") if total.get(status)]
        if bad:
            raise AirflowFailException(
                f"of {total['exports']} new exports {', '.join(bad)}; the rest is loaded. "
                "`ingest quarantine` says what was refused and why"
            )

    counts = decode.expand(batch=plan())
    announce(counts) >> report_refusals(counts)


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


def _at_most(limit: int, groups: list[list[str]]) -> list[list[str]]:
    """Neighbouring groups joined until there are no more than `limit`."""
    width = max(1, -(-len(groups) // limit))
    return [list(chain(*groups[at : at + width])) for at in range(0, len(groups), width)]


def _total(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts[:]:
        total.update(one)
    return dict(total)


ingest_exports()

"""Whenever the lake is updated: stale nights are rebuilt, then the warehouse is published.

Wiring only: the work is functions of `ingest`, imported inside the tasks so that this file parses in no time.
XComs carry participant ids and counts, nothing else. docs/airflow.md says what each task means.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    Asset,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    TriggerRule,
    conf,
    dag,
    task,
)

if TYPE_CHECKING:
    from ingest._core.study import Study

LAKE = Asset("lake", uri="x-ingest://lake", group="ingest")
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
log = logging.getLogger("ingest.dags")


@dag(
    schedule=[LAKE],
    max_active_runs=1,
    default_args=RETRIES,
    tags=["ingest"],
    doc_md=__doc__,
)
def publish_warehouse() -> None:
    """Lake into nights into the warehouse; asset `warehouse`."""

    @task(show_return_value_in_logs=False)
    def stale() -> list[list[str]]:
        """Ids of the participants whose nights are behind the lake, in groups."""
        from ingest.mart.rebuild import stale_groups

        with _study() as study:
            return _at_most(conf.getint("core", "max_map_length"), stale_groups(study))

    @task(
        multiple_outputs=False,
        map_index_template="group {{ ti.map_index + 1 }}: {{ task.op_kwargs.group | length }} participants",
    )
    def mart(group: list[str]) -> dict[str, int]:
        """The nights of one group; returns its counts."""
        from ingest.mart.rebuild import rebuild

        with _study() as study:
            return rebuild(study, group).counts()

    @task(outlets=[WAREHOUSE], trigger_rule=TriggerRule.ALL_DONE, multiple_outputs=False)
    def publish(*, outlet_events: Any) -> dict[str, int]:
        """What is built goes out, even if a group failed: that group's participants stay as they were."""
        from ingest.publish.warehouse import publish_study

        with _study() as study:
            counts = publish_study(study).counts()
        outlet_events[WAREHOUSE].extra = counts
        return counts

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def report_failures(rebuilt: Sequence[dict[str, int]], published: dict[str, int]) -> None:
        """Log the counts; where a group or the publication failed, the run ends here and is not green."""
        for done, counts in (("rebuilt", rebuilt[:]), ("published", [published])):
            for one in counts:
                log.info("%s: %s", done, ", ".join(f"{n} {name}" for name, n in one.items()))

    rebuilt = mart.expand(group=stale())
    published = publish()
    rebuilt >> published
    report_failures(rebuilt, published)


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


publish_warehouse()

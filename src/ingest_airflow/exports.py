"""Every settled export that is not in the lake yet is decoded into it.

| task | does | red when |
|---|---|---|
| `plan` | looks at landing, shares out what is new in batches by bytes | the study cannot be opened |
| `decode` | one batch into the lake, each export committed by itself | a batch failed for good; the others are loaded |
| `announce` | updates the asset `lake` if any nights are behind it | |
| `report_refusals` | shows what could not be used | on purpose: an export was refused, wholly or in part |

The data interval labels a run: each takes all that has settled. A backfill decodes again what arrived in its interval.
What was refused and why: `ingest quarantine`. What it all means: docs/airflow.md, docs/operations.md.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, TriggerRule, conf, dag, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from ingest_airflow.notify import quality_found
from ingest_airflow.work import START, at_most, opened, settings_of, total

if TYPE_CHECKING:
    from ingest_airflow.configuration import Served

log = logging.getLogger("ingest.dags")


def _name(dag_run: Any) -> str:
    return f"{dag_run.dag_id} {dag_run.run_id}"


def make(served: Served) -> DAG:
    """`ingest_exports` of a study."""
    lake = served.asset("lake")

    @dag(
        served.dag_id("ingest_exports"),
        schedule=CronDataIntervalTimetable(served.schedule, timezone="UTC"),
        start_date=START,
        **settings_of(served, __doc__),
    )
    def ingest_exports() -> None:
        """Exports into the lake; asset `lake`."""

        @task(show_return_value_in_logs=False)
        def plan(
            *, dag_run: Any = None, data_interval_start: Any = None, data_interval_end: Any = None
        ) -> list[list[int]]:
            """Number and exports of each batch, shared out by bytes, never more than can be mapped."""
            from ingest.backfill import arrived_batches
            from ingest.lake.load import keep_batches, plan_batches

            with opened(served) as study:
                if dag_run.run_type == "backfill":
                    batches = arrived_batches(study, data_interval_start, data_interval_end)
                else:
                    batches = plan_batches(study)
                batches = at_most(conf.getint("core", "max_map_length"), batches)
                return keep_batches(study, _name(dag_run), batches)

        @task(
            multiple_outputs=False,
            pool=served.decode_pool,
            map_index_template="batch {{ ti.map_index + 1 }}: {{ task.op_kwargs.batch[1] }} exports",
        )
        def decode(batch: list[int], *, dag_run: Any = None) -> dict[str, int]:
            """One batch into the lake; returns its counts."""
            from ingest.lake.load import kept_batch, load_batch

            with opened(served) as study:
                return load_batch(study, kept_batch(study, _name(dag_run), batch[0])).counts()

        @task(outlets=[lake], trigger_rule=TriggerRule.ALL_DONE)
        def announce(counts: Sequence[dict[str, int]], *, outlet_events: Any, dag_run: Any = None) -> None:
            """Record the run; update the asset if the lake is ahead of the nights, whichever run put it ahead."""
            from ingest.mart.rebuild import stale_groups
            from ingest.publish.ops import record_load

            with opened(served) as study:
                added = total(counts)
                if added:
                    kind = "backfill_arrived" if dag_run.run_type == "backfill" else "load"
                    record_load(study, dag_run.start_date, added, kind)
                behind = stale_groups(study)
            if not behind:
                raise AirflowSkipException("the nights are up to date with the lake")
            outlet_events[lake].extra = added

        @task(trigger_rule=TriggerRule.NONE_FAILED, on_failure_callback=quality_found)
        def report_refusals(counts: Sequence[dict[str, int]]) -> None:
            """Fail if an export was refused, wholly or in part: the run is then not green."""
            added = total(counts)
            log.info("this run: %s", ", ".join(f"{n} {name}" for name, n in added.items()) or "no new exports")
            bad = [f"{added[status]} {status}" for status in ("refused", "partial") if added.get(status)]
            if bad:
                raise AirflowFailException(
                    f"of {added['exports']} new exports {', '.join(bad)}; the rest is loaded. "
                    "`ingest quarantine` says what was refused and why"
                )

        counts = decode.expand(batch=plan())
        announce(counts) >> report_refusals(counts)

    return ingest_exports()

"""Whenever the lake is updated: nights that are behind it are rebuilt, then the warehouse is published.

| task | does | red when |
|---|---|---|
| `stale` | lists whose nights are behind the lake, in groups | the study cannot be opened |
| `mart` | rebuilds the nights of one group | a group failed for good; its participants stay as they were |
| `publish` | replaces whoever changed, at once; updates the asset `warehouse` | the database is away for long |
| `report_failures` | logs the counts; ends the run | a group or the publication failed |
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TriggerRule, conf, dag, task

from ingest_airflow.work import at_most, opened, settings_of

if TYPE_CHECKING:
    from ingest_airflow.configuration import Served

log = logging.getLogger("ingest.dags")


def make(served: Served) -> DAG:
    """`publish_warehouse` of a study."""
    warehouse = served.asset("warehouse")

    @dag(served.dag_id("publish_warehouse"), schedule=[served.asset("lake")], **settings_of(served, __doc__))
    def publish_warehouse() -> None:
        """Lake into nights into the warehouse; asset `warehouse`."""

        @task(show_return_value_in_logs=False)
        def stale() -> list[list[str]]:
            """Ids of the participants whose nights are behind the lake, in groups."""
            from ingest.mart.rebuild import stale_groups

            with opened(served) as study:
                return at_most(conf.getint("core", "max_map_length"), stale_groups(study))

        @task(
            multiple_outputs=False,
            pool=served.mart_pool,
            map_index_template="group {{ ti.map_index + 1 }}: {{ task.op_kwargs.group | length }} participants",
        )
        def mart(group: list[str]) -> dict[str, int]:
            """The nights of one group; returns its counts."""
            from ingest.mart.rebuild import rebuild

            with opened(served) as study:
                return rebuild(study, group).counts()

        @task(outlets=[warehouse], trigger_rule=TriggerRule.ALL_DONE, multiple_outputs=False)
        def publish(*, outlet_events: Any) -> dict[str, int]:
            """What is built goes out, even if a group failed: that group's participants stay as they were."""
            from ingest.publish.warehouse import publish_study

            with opened(served) as study:
                counts = publish_study(study).counts()
            outlet_events[warehouse].extra = counts
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

    return publish_warehouse()

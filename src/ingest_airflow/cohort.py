"""Daily: associations, dose_sleep and flow are computed anew from the nights of everybody, then published.

`associate` needs all participants at once, because the false-discovery rate ties everybody together; `publish` puts
its tables into the warehouse and updates the asset `warehouse`. "Goes with", never "causes": docs/association.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, CronDataIntervalTimetable, dag, task

from ingest_airflow.work import START, opened, settings_of

if TYPE_CHECKING:
    from ingest_airflow.configuration import Served


def make(served: Served) -> DAG:
    """`associate_cohort` of a study."""
    warehouse = served.asset("warehouse")

    @dag(
        served.dag_id("associate_cohort"),
        schedule=CronDataIntervalTimetable("0 4 * * *", timezone="UTC"),
        start_date=START,
        **settings_of(served, __doc__),
    )
    def associate_cohort() -> None:
        """Nights of all participants into the tables over all of them, and those into the warehouse."""

        @task(multiple_outputs=False, pool=served.mart_pool)
        def associate() -> dict[str, int]:
            """The tables over all participants; returns their counts."""
            from ingest.mart.cohort import associate as compute

            with opened(served) as study:
                return compute(study).counts()

        @task(outlets=[warehouse], multiple_outputs=False)
        def publish(*, outlet_events: Any) -> dict[str, int]:
            """They go out, with whatever else is built."""
            from ingest.publish.warehouse import publish_study

            with opened(served) as study:
                counts = publish_study(study).counts()
            outlet_events[warehouse].extra = counts
            return counts

        associate() >> publish()

    return associate_cohort()

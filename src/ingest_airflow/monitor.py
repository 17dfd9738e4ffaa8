"""Daily, and whenever the warehouse is updated: the study in numbers, and which of its expectations are not met.

| task | does | red when |
|---|---|---|
| `summary` | counts nights, refusals, open safety signals, weeks of insomnia symptoms | there is no warehouse |
| `pages` | writes the pages of participants and study to `reports/` | there is no warehouse |
| `check_expectations` | holds the study to `monitor` in study.yaml | on purpose: an expectation is not met |

Insomnia symptoms are a monitoring aid, not a diagnosis. `ingest status` says whom it is about.
Nobody watches in real time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk import DAG, AssetOrTimeSchedule, CronDataIntervalTimetable, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowFailException

from ingest_airflow.notify import quality_found
from ingest_airflow.work import START, opened, settings_of

if TYPE_CHECKING:
    from ingest_airflow.configuration import Served

log = logging.getLogger("ingest.dags")


def make(served: Served) -> DAG:
    """`monitor_insomnia` of a study."""

    @dag(
        served.dag_id("monitor_insomnia"),
        schedule=AssetOrTimeSchedule(
            timetable=CronDataIntervalTimetable("0 6 * * *", timezone="UTC"), assets=[served.asset("warehouse")]
        ),
        start_date=START,
        **settings_of(served, __doc__),
    )
    def monitor_insomnia() -> None:
        """The warehouse in numbers; expectations that are not met."""

        @task(multiple_outputs=False)
        def summary() -> dict[str, int]:
            """The study in numbers."""
            from ingest.report.overview import overview

            with opened(served) as study:
                counts = overview(study)
            log.info("%s", ", ".join(f"{n} {name}" for name, n in counts.items()))
            return counts

        @task(multiple_outputs=False)
        def pages() -> dict[str, int]:
            """Pages to look at, in reports/."""
            from ingest.report.pages.writing import write_all

            with opened(served) as study:
                counts = write_all(study).counts()
            log.info("%s", ", ".join(f"{n} {name}" for name, n in counts.items()))
            return counts

        @task(trigger_rule=TriggerRule.ALL_DONE, on_failure_callback=quality_found)
        def check_expectations() -> None:
            """Fail if an expectation is not met: the run is then not green."""
            from ingest.report.expectations import expectations

            with opened(served) as study:
                broken = expectations(study)
            for each in broken:
                log.warning("%s: %s %s", each.expectation, each.text, " ".join(each.participant_ids))
            if broken:
                said = "; ".join(f"{each.expectation}: {each.text}" for each in broken)
                raise AirflowFailException(f"not as study.yaml expects (`monitor`): {said}")

        [summary(), pages()] >> check_expectations()

    return monitor_insomnia()

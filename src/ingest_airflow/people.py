"""Erasing and withdrawing a participant: started by hand, with a form that takes a participant_id, never a ref."""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from ingest_airflow.notify import run_failed
from ingest_airflow.work import opened, settings_of

if TYPE_CHECKING:
    from ingest_airflow.configuration import Served

log = logging.getLogger("ingest.dags")
ERASE = """Removes a participant from everything but landing, for good. Started by hand.

`erase` takes them out of lake, marts, warehouse, the study's tables and `identity/`, publishes, and logs what remains
(the originals in landing, backups, copies handed out). Nothing of theirs is taken in again. Twice is as once.

Airflow itself keeps the participant_id you enter here, and those of earlier runs, in its database and task logs:
`ingest erase PARTICIPANT_ID --yes --airflow`, where Airflow's database can be reached, takes them out.
"""
WITHDRAW = """Writes down since when a participant has withdrawn, and takes out what is from that day on. By hand.

`withdraw` puts the day, the first without consent, into roster.csv, rebuilds the participant's nights and publishes.
What was recorded before stays, or everything is erased as `erase_participant` does. Twice is as once.
"""


def settings_by_hand(served: Served, doc: str) -> dict[str, Any]:
    """Those of all DAGs; the task tells of a failure, which has the form's values at hand."""
    return settings_of(served, doc) | {"on_failure_callback": None}


def _participant() -> Param:
    return Param(
        type="string",
        title="participant_id",
        description="`p` and 20 hexadecimal digits, as `ingest status` lists them; never the participant_ref",
        pattern="^p[0-9a-f]{20}$",
        minLength=21,
        maxLength=21,
    )


def make_erase(served: Served) -> DAG:
    """`erase_participant` of a study."""
    warehouse = served.asset("warehouse")

    @dag(
        served.dag_id("erase_participant"),
        schedule=None,
        is_paused_upon_creation=False,
        params={
            "participant_id": _participant(),
            "for_good": Param(
                False,
                type="boolean",
                title="erase for good",
                description="it cannot be undone; without it nothing is done",
            ),
        },
        **settings_by_hand(served, ERASE),
    )
    def erase_participant() -> None:
        """A participant out of all stores."""

        @task(outlets=[warehouse], multiple_outputs=False, on_failure_callback=run_failed)
        def erase(*, params: Any, outlet_events: Any) -> dict[str, int]:
            """Counts of what was removed; what remains stands in the log."""
            from ingest.erase import erase as remove

            if not params["for_good"]:
                raise AirflowFailException("nothing was done: tick `erase for good`")
            with opened(served) as study:
                erased = remove(study, params["participant_id"])
            for line in erased.remains:
                log.warning("remains: %s", line)
            outlet_events[warehouse].extra = erased.counts()
            return erased.counts()

        erase()

    return erase_participant()


def make_withdraw(served: Served) -> DAG:
    """`withdraw_participant` of a study."""
    warehouse = served.asset("warehouse")

    @dag(
        served.dag_id("withdraw_participant"),
        schedule=None,
        is_paused_upon_creation=False,
        params={
            "participant_id": _participant(),
            "on": Param(
                type="string", format="date", title="withdrawn on", description="the first day without consent"
            ),
            "keep": Param(
                True,
                type="boolean",
                title="keep what was recorded before",
                description="without it everything is erased, for good",
            ),
        },
        **settings_by_hand(served, WITHDRAW),
    )
    def withdraw_participant() -> None:
        """A participant's data from a day on out of marts and warehouse."""

        @task(outlets=[warehouse], multiple_outputs=False, on_failure_callback=run_failed)
        def withdraw(*, params: Any, outlet_events: Any) -> dict[str, int]:
            """Counts of what stays, or of what was removed."""
            from ingest.withdraw import withdraw as write_down

            with opened(served) as study:
                done = write_down(study, params["participant_id"], date.fromisoformat(params["on"]), params["keep"])
            for line in done.erased.remains if done.erased else ():
                log.warning("remains: %s", line)
            outlet_events[warehouse].extra = done.counts()
            return done.counts()

        withdraw()

    return withdraw_participant()

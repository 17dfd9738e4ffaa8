"""The DAGs of sleep-ingest. They only wire: the work is functions of `ingest`, imported inside the tasks.

`dags/ingest.py`, the one file that belongs into Airflow's DAG folder, calls `dags`. This package stands beside
`ingest`, which never imports Airflow, because files in a DAG folder cannot import each other wherever they are parsed.
Importing it and calling `dags` reads the environment and the file that INGEST_STUDIES names; it opens no study and
connects to nothing.
"""

from __future__ import annotations

from airflow.sdk import DAG

from ingest_airflow import cohort, exports, monitor, people, warehouse
from ingest_airflow.configuration import studies


def dags() -> dict[str, DAG]:
    """All DAGs of all studies by their ids; raises ValueError where the configuration cannot be right."""
    makers = (exports.make, warehouse.make, cohort.make, monitor.make, people.make_erase, people.make_withdraw)
    return {dag.dag_id: dag for study in studies() for dag in (make(study) for make in makers)}

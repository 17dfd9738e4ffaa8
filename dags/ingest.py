"""All DAGs of sleep-ingest, for Airflow's DAG folder; the environment says of which studies (docs/airflow.md)."""

from ingest_airflow import dags

globals().update(dags())

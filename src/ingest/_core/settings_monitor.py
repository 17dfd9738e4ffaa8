"""The section `monitor` of study.yaml."""

from __future__ import annotations

from pydantic import Field

from ingest._core.settings_base import Strict


class Monitor(Strict):
    """What a study expects of itself; `ingest status` and the DAG monitor_insomnia say what is not met.

    The numbers are operational values of this project's own; None asks for nothing.
    """

    silent_after_days: int | None = Field(
        14, ge=1, description="a participant is silent when the last night, log or diary is more days ago"
    )
    no_arrivals_days: int | None = Field(7, ge=1, description="days without any new export of anybody")
    unpublished_after_hours: float | None = Field(24, gt=0, description="hours a file may wait to be published")
    recent_days: int = Field(7, ge=1, description="days that are looked back for the two shares below")
    refused_max_pct: float | None = Field(
        20, ge=0, le=100, description="of the exports that arrived lately, at most so many refused or partial"
    )
    nights_min_pct: float | None = Field(
        None, ge=0, le=100, description="of the last days of everybody in the study, at least so many with a night"
    )
    keep_runs: int = Field(2000, ge=10, description="records of runs that are kept (table ops_run)")

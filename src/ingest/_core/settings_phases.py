"""The section `phases` of study.yaml."""

from __future__ import annotations

from pydantic import Field

from ingest._core.settings_base import Code, Strict


class Phases(Strict):
    """Phases where phases.csv has none for a participant; the number of days is a design value."""

    dose_free_days: int = Field(7, ge=1, description="reported dose-free days in a row before `abstinence`")
    classes: list[Code] = Field(
        default=["kratom", "opioid"], min_length=1, description="classes of what is tapered; any use of them ends it"
    )
    substances: list[Code] = Field(default=[], description="what is tapered, by code, instead of by class")

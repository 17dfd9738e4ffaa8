"""The section `scales` of study.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ingest._core.settings_base import Strict

Instrument = Literal["ISI", "SOWS", "SOWS_GOSSOP", "COWS", "PSQI", "AIS"]


class Scales(Strict):
    """Questionnaires carried to nights in the view night_wide."""

    recall_days: dict[Instrument, Annotated[int, Field(ge=0, le=366)]] = Field(
        default={}, description="by instrument, to how many days after its answer a total is carried; no default"
    )

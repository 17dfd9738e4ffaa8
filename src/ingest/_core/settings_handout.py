"""The sections of study.yaml about what is handed to others: `scales`, `release` and `small_cells`."""

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


class Release(Strict):
    """How a release shows its participants (docs/releases.md)."""

    participant_ids: Literal["warehouse", "release"] = Field(
        "warehouse", description="the warehouse's pseudonyms, or others in each release"
    )
    dates: Literal["recorded", "shifted"] = Field(
        "recorded", description="as recorded, or moved by whole weeks, for each participant by another number of them"
    )
    withdrawn: Literal["leave_out", "keep"] = Field(
        "leave_out", description="people who have withdrawn: out of releases from that day on, or kept by protocol"
    )
    approval: Literal["none", "second_person"] = Field(
        "none", description="whether a release waits until somebody else than who made it says --approve"
    )
    approval_days: int = Field(14, ge=1, le=365, description="for how many days it may be approved")


class SmallCells(Strict):
    """What tables of aggregates hide, and how they round what they show (docs/releases.md)."""

    min_participants: int | None = Field(
        None, ge=2, description="a cell of fewer participants is hidden; no default: without it no aggregates are shown"
    )
    round_to: int = Field(5, ge=1, description="counts that are shown are rounded to multiples of it")
    digits: int = Field(3, ge=1, le=15, description="significant digits of other statistics that are shown")

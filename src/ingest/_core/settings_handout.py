"""The sections `scales` and `release` of study.yaml."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ingest._core.contract import VIEW, published_tables, tables
from ingest._core.settings_base import Strict

Instrument = Literal["ISI", "SOWS", "SOWS_GOSSOP", "COWS", "PSQI", "AIS"]


class Scales(Strict):
    """Questionnaires carried to nights in the view night_wide."""

    recall_days: dict[Instrument, Annotated[int, Field(ge=0, le=366)]] = Field(
        default={}, description="by instrument, to how many days after its answer a total is carried; no default"
    )


class Release(Strict):
    """What `ingest release` hands out."""

    tables: list[str] = Field(
        default=[],
        description="tables and views; empty: participant, marts but safety_signal, cohort tables, views",
    )

    @field_validator("tables")
    @classmethod
    def _tables_are_known(cls, names: list[str]) -> list[str]:
        known = [*published_tables(), *tables(VIEW)]
        for name in names:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                near = f"; did you mean {close[0]}?" if close else ""
                raise ValueError(f"a table is not in the warehouse{near}")
        if len(set(names)) < len(names):
            raise ValueError("a table stands twice")
        return names

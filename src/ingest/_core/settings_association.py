"""Section `association` of study.yaml: when an association can be estimated, and what was declared beforehand."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ingest._core.settings_base import Code, Strict

ExposureName = Literal[
    "any_use", "amount_since_wake", "amount_day", "hours_since_last_dose", "late_dose", "dose_band", "residual_load"
]
OutcomeName = Literal[
    "tst", "waso", "waso_long", "sol", "se", "onset", "midsleep", "quality", "vendor_score"
]  # fmt: skip
Basis = Literal["wearable", "diary"]
COUPLED = ("onset", "midsleep", "sol")
"""Outcomes that a window before the measured onset is bound to by arithmetic (decided rule 5)."""


class Primary(Strict):
    """The one association that the study declared before it looked."""

    substance: Code
    exposure: ExposureName
    outcome: OutcomeName
    basis: Basis = "wearable"
    anchor: Literal["usual", "onset"] = "usual"
    lag: Literal[0, 1] = 0

    @model_validator(mode="after")
    def _is_not_coupled(self) -> Primary:
        if self.anchor == "onset" and self.outcome in COUPLED:
            raise ValueError(f"{self.outcome} is bound to the anchor `onset` by arithmetic; use anchor: usual")
        return self


class DoseSleep(Strict):
    """What `dose_sleep` answers about."""

    outcome: Literal["tst", "sol", "waso", "se", "quality"] = Field("tst", description="outcome the answer is about")
    margin: float | None = Field(
        None, gt=0, description="smallest difference that matters, in the outcome's unit; without one the answer is "
        "never `no difference beyond the declared margin`",
    )  # fmt: skip


class Association(Strict):
    """Associations within people and over the cohort (decided rules 12 to 15 of docs/glossary.md).

    The minima of pairs, levels and people are design values; 28 nights also carry a monthly spread of Fitbit nights
    (PMC10104388). Ten observations per parameter is the rule of thumb of Peduzzi and Harrell.
    """

    late_window_h: float = Field(3, gt=0, le=24, description="a dose is late within so many hours of the anchor")
    min_pairs: int = Field(28, ge=4, description="nights of one person with exposure and outcome")
    min_per_parameter: float = Field(10, ge=1, description="of them, for each parameter of the person's model")
    min_per_level: int = Field(7, ge=1, description="nights in each level where levels are compared")
    min_cv: float = Field(0.1, ge=0, description="a dose varies when the non-zero ones' SD/mean is at least this")
    max_calendar_r2: float = Field(
        0.8, gt=0, le=1, description="R2 of the dose on time, phase and free day above which it follows the calendar"
    )
    hac_lags: int | None = Field(
        None, ge=0, description="lags of the Newey-West error; without: floor(4 (T/100)^(2/9)), Newey & West 1994"
    )
    min_people: int = Field(10, ge=2, description="people with an estimate of their own behind a pooled one")
    min_people_mixed: int = Field(20, ge=3, description="people behind the mixed model and the GEE of the primary")
    primary: Primary | None = Field(None, description="declared before the data were looked at; no default")
    dose_sleep: DoseSleep = DoseSleep()
    withdrawal_scale: Literal["SOWS", "SOWS_GOSSOP", "COWS"] | None = Field(
        None, description="questionnaire whose total on the night's date dose_sleep shows; no default"
    )

"""The section `insomnia` of study.yaml, and the presets it chooses from."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ingest._core.settings_base import Strict

Basis = Literal["diary", "wearable"]
MEASURES = ("sol_min", "waso_min", "early_wake_min", "se_pct", "waso_long_min")


@dataclass(frozen=True)
class Preset:
    """Named criteria for one basis: a threshold by measure, None where the study must give it.

    A criterion holds from its threshold on; that of `se_pct` below it.
    """

    name: str
    basis: str
    criteria: dict[str, float | None]
    source: str


@cache
def presets() -> dict[str, Preset]:
    """The known presets by name."""
    text = (resources.files("ingest._core") / "insomnia_presets.json").read_text(encoding="utf-8")
    return {each["name"]: Preset(**each) for each in json.loads(text)}


class Thresholds(Strict):
    """Thresholds in place of those of the chosen presets."""

    sol_min: float | None = Field(None, gt=0, description="sleep onset latency from this on, of the diary")
    waso_min: float | None = Field(None, gt=0, description="wake after sleep onset from this on, of the diary")
    early_wake_min: float | None = Field(None, gt=0, description="waking before the intended time from this on")
    se_pct: float | None = Field(None, gt=0, le=100, description="sleep efficiency below this, of the diary")
    waso_long_min: float | None = Field(None, gt=0, description="long wakes from this on, of the device")


class Insomnia(Strict):
    """Insomnia symptoms (decided rules 9 to 11 of docs/glossary.md): a monitoring aid, not a diagnosis."""

    diary: str = Field("lichstein2003", description="preset by which a night of the diary is judged")
    wearable: str = Field("wearable_long_wake", description="preset by which a night of the device is judged, apart")
    thresholds: Thresholds = Field(Thresholds(), description="thresholds in place of those of the presets")
    bad_nights: int = Field(3, ge=1, le=7, description="bad nights that make a block of seven positive")
    onset_blocks: int = Field(2, ge=1, description="positive blocks, none negative between, that make an episode")
    remission_blocks: int = Field(2, ge=1, description="negative blocks, none positive between, that end it")
    persistent_blocks: int = Field(13, ge=1, description="positive blocks of one episode that make it persistent")
    max_insufficient_run: int = Field(4, ge=0, description="more insufficient blocks in a row make the state unknown")

    @field_validator("diary", "wearable")
    @classmethod
    def _preset_is_known(cls, name: str, info: ValidationInfo) -> str:
        basis = info.field_name
        known = [each.name for each in presets().values() if each.basis == basis]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            near = f", did you mean {close[0]}?" if close else "."
            raise ValueError(f"no such preset for the {basis}{near} Known: {', '.join(known)}")
        return name

    @model_validator(mode="after")
    def _thresholds_are_used(self) -> Insomnia:
        used = presets()[self.diary].criteria | presets()[self.wearable].criteria
        for measure in MEASURES:
            if getattr(self.thresholds, measure) is not None and measure not in used:
                raise ValueError(f"`thresholds` gives {measure}, which neither chosen preset asks for; leave it out")
            if used.get(measure, 0) is None and getattr(self.thresholds, measure) is None:
                raise ValueError(f"a chosen preset needs {measure}: say how many minutes under `thresholds`")
        return self

    def criteria(self) -> dict[str, float | None]:
        """Threshold by measure; None for a measure that no chosen preset asks for."""
        preset = presets()[self.diary].criteria | presets()[self.wearable].criteria
        return {measure: getattr(self.thresholds, measure) or preset.get(measure) for measure in MEASURES}

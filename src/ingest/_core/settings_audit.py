"""The section `audit` of study.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ingest._core.settings_base import Strict

Purpose = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9 ,._-]{0,79}$")]


class Audit(Strict):
    """For what purposes the study is used; a purpose is a word of the study's, and names nobody."""

    purposes: list[Purpose] = Field(
        default=[], description="the purposes there are; where any are listed, one of them must be named"
    )
    purpose: Purpose | None = Field(None, description="the purpose where none is named")

    @model_validator(mode="after")
    def _is_listed(self) -> Audit:
        if self.purposes and self.purpose is not None and self.purpose not in self.purposes:
            raise ValueError("purpose: expected one of those in `purposes`")
        return self

"""The section `access` of study.yaml."""

from __future__ import annotations

from pydantic import Field

from ingest._core.settings_base import Strict

KINDS = ("loader", "analyst", "clinician", "auditor")
"""Who reads or writes a warehouse on PostgreSQL; each is a role of the server."""


class Access(Strict):
    """Who may read a warehouse on PostgreSQL."""

    roles: str | None = Field(
        "ingest",
        pattern=r"^[a-z][a-z0-9_]{0,40}$",
        description="what the names of the server's roles begin with (`ingest_analyst`); none: no roles are looked to",
    )

    def names(self) -> dict[str, str]:
        """The role of each kind; empty where no roles are looked to."""
        return {} if self.roles is None else {kind: f"{self.roles}_{kind}" for kind in KINDS}

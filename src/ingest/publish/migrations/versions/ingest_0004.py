"""Roles of a server: who granted what, who is assigned to whom, the audit. A DuckDB file has none of it."""

from __future__ import annotations

from alembic import op

from ingest.publish.migrations.private import STATEMENTS

revision = "ingest_0004"
down_revision = "ingest_0003"


def upgrade() -> None:
    """Tables and triggers on PostgreSQL; nothing on DuckDB."""
    if op.get_context().dialect.name == "postgresql":
        for statement in STATEMENTS:
            op.execute(statement)

"""Operated unattended: what each run did."""

from __future__ import annotations

from alembic import op

from ingest.publish.migrations.words import table

revision = "ingest_0003"
down_revision = "ingest_0002"

NEW: dict[str, str] = {
    "ops_run": (
        "run_id:text! kind:text! outcome:text! error:text started_at:instant! ended_at:instant exports_loaded:bigint! "
        "exports_partial:bigint! exports_ignored:bigint! exports_refused:bigint! records_read:bigint! "
        "records_kept:bigint! records_duplicate:bigint! records_ignored:bigint! records_quarantined:bigint! "
        "participants_rebuilt:bigint! nights_rebuilt:bigint! participants_published:bigint! "
        "participants_removed:bigint! participants_waiting:bigint! unpublished_count:bigint "
        "oldest_unpublished_at:instant silent_participants:bigint definitions_version:text! package_version:text! "
        "tzdata_version:text!"
    ),
}


def upgrade() -> None:
    """New tables."""
    for name, columns in NEW.items():
        op.create_table(name, *table(columns))

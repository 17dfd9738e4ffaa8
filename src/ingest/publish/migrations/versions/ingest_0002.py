"""The team's warehouse: phases; insomnia, associations and episodes. Everybody is published again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ingest.publish.migrations.words import table

revision = "ingest_0002"
down_revision = "ingest_0001"

NEW: dict[str, str] = {
    "association": (
        "substance:text! exposure:text! unit:text! anchor:text! outcome:text! basis:text! lag:bigint! level:text! "
        "participant_id:text! n_nights:bigint! n_participants:bigint! n_excluded:bigint! estimate:double "
        "std_error:double ci_low:double ci_high:double p_value:double q_value:double family:text "
        "is_primary:boolean! sensitivity_of:text covariates:text! method:text! estimable:boolean! reason:text"
    ),
    "dose_sleep": (
        "level:text! participant_id:text! basis:text! phase:text! substance:text! unit:text! dose_band:text! "
        "days_since_dose:text! n_nights:bigint! n_participants:bigint! tst_mean_min:double tst_diff_min:double "
        "tst_diff_low_min:double tst_diff_high_min:double sol_mean_min:double sol_diff_min:double "
        "sol_diff_low_min:double sol_diff_high_min:double waso_mean_min:double waso_diff_min:double "
        "waso_diff_low_min:double waso_diff_high_min:double se_mean_pct:double se_diff_pct:double "
        "se_diff_low_pct:double se_diff_high_pct:double quality_mean:double quality_diff:double "
        "quality_diff_low:double quality_diff_high:double withdrawal_mean:double withdrawal_diff:double "
        "withdrawal_diff_low:double withdrawal_diff_high:double answer_outcome:text! answer:text reason:text"
    ),
    "flow": "participant_id:text! position:bigint! step:text! reason:text! n_participants:bigint! n_nights:bigint",
    "insomnia_night": (
        "participant_id:text! night_date:date! basis:text! preset:text! is_bad:boolean criteria:text "
        "sol_min:double waso_min:double waso_long_min:double early_wake_min:double se_pct:double"
    ),
    "insomnia_week": (
        "participant_id:text! basis:text! block_start:date! block:bigint! valid_nights:bigint! bad_nights:bigint! "
        "week_class:text! state:text! run_bad:bigint! episode_no:bigint! detected_on:date taper_week:bigint"
    ),
    "phase": "participant_id:text! phase:text! start_on:date! end_on:date source:text!",
}
ADDED: dict[str, str] = {
    "night_diary": "early_wake_min:double",
}


def upgrade() -> None:
    """New tables and columns; an empty mart_hash makes every participant stale."""
    for name, columns in NEW.items():
        op.create_table(name, *table(columns))
    for name, columns in ADDED.items():
        for column in table(columns):
            op.add_column(name, column)
    publication = sa.table("publication", sa.column("mart_hash", sa.Text()))
    op.execute(publication.update().values(mart_hash=op.inline_literal("")))

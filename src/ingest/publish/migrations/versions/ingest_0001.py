"""The warehouse as first released: 0.1.0."""

from __future__ import annotations

from alembic import op

from ingest.publish.migrations.words import table

revision = "ingest_0001"
down_revision = None

# A column is name:type, with ! where it may not be NULL.
TABLES = {
    "coverage": (
        "participant_id:text! date:date! phase:text has_sleep:boolean! has_log:boolean! has_diary:boolean! reason:text"
    ),
    "night": (
        "participant_id:text! night_date:date! wake_date:date! study_day:bigint source:text! device:text "
        "main_session_id:text! basis:text! time_basis:text! utc_offset_min:bigint bed_start_utc:instant! "
        "bed_end_utc:instant! onset_utc:instant final_wake_utc:instant onset_local:clock final_wake_local:clock "
        "midsleep_utc:instant tib_basis:text! tib_min:double spt_min:double tst_min:double sol_min:double "
        "waso_min:double waso_long_min:double snooze_min:double record_first_wake_min:double gap_min:double "
        "nawk:bigint nawk_long:bigint mean_awakening_min:double se_tib_pct:double se_spt_pct:double "
        "light_min:double deep_min:double rem_min:double asleep_min:double unknown_min:double "
        "rem_latency_min:double nap_count:bigint nap_min:double nap_before_min:double nap_after_min:double "
        "tst_24h_min:double vendor_efficiency_pct:double vendor_score:double n_sources:bigint flags:text"
    ),
    "night_diary": (
        "participant_id:text! night_date:date! tib_min:double tst_min:double sol_min:double waso_min:double "
        "se_tib_pct:double se_dse_pct:double awakenings:bigint quality:double"
    ),
    "night_exposure": (
        "participant_id:text! night_date:date! anchor:text! anchor_utc:instant anchor_basis:text substance:text! "
        "substance_class:text! unit:text! log_status:text! dose_count_24h:bigint dose_count_6h:bigint "
        "amount_3h:double amount_6h:double amount_12h:double amount_24h:double amount_since_wake:double "
        "amount_day:double n_amount_unknown:bigint hours_since_last_dose:double last_dose_amount:double "
        "dose_band:text residual_load:double dosed_during_sleep:boolean time_precision:text"
    ),
    "night_source": ("participant_id:text! night_date:date! session_id:text! role:text! reason:text!"),
    "participant": (
        "participant_id:text! time_zone:text! enrolled_on:date withdrew_on:date arm:text taper_start_on:date "
        "censor_on:date censor_reason:text"
    ),
    "publication": (
        "participant_id:text! mart_hash:text! definitions_version:text! settings_hash:text! published_at:instant!"
    ),
    "quarantine": (
        "source_file_id:text! participant_id:text! source:text! record_kind:text! locator:text! reason:text! "
        "detail:text! first_seen_at:instant!"
    ),
    "safety_signal": (
        "participant_id:text! rule:text! observed_at:instant! observed_on:date! about:text! first_seen_at:instant! "
        "acknowledged_at:instant acknowledged_by:text"
    ),
    "scale_response": (
        "response_id:text! participant_id:text! answered_on:date! part_of_day:text instrument:text! items:text "
        "total:double total_without_sleep_item:double band:text exported_at:instant! is_current:boolean! "
        "flags:text source_file_id:text! source_row:bigint!"
    ),
    "sleep_diary": (
        "diary_id:text! participant_id:text! night_date:date! into_bed_local:clock try_to_sleep_local:clock "
        "sol_min:double awakenings:bigint waso_min:double final_wake_local:clock out_of_bed_local:clock "
        "intended_wake_local:clock quality:double instrument:text! exported_at:instant! is_current:boolean! "
        "flags:text source_file_id:text! source_row:bigint!"
    ),
    "sleep_session": (
        "session_id:text! participant_id:text! source:text! device:text source_record_id:text source_file_id:text! "
        "start_utc:instant! end_utc:instant! utc_offset_min:bigint time_basis:text! is_main_reported:boolean "
        "is_nap_reported:boolean detail:text! vendor_tst_min:double vendor_awake_min:double vendor_sol_min:double "
        "vendor_light_min:double vendor_deep_min:double vendor_rem_min:double vendor_efficiency_pct:double "
        "vendor_score:double algorithm_version:text exported_at:instant! is_current:boolean! "
        "superseded_reason:text flags:text"
    ),
    "sleep_stage": ("session_id:text! participant_id:text! start_utc:instant! end_utc:instant! stage:text!"),
    "source_file": (
        "source_file_id:text! participant_id:text! source:text! format:text decoder_version:text "
        "arrived_at:instant! records_read:bigint kept:bigint duplicate:bigint ignored:bigint quarantined:bigint "
        "status:text!"
    ),
    "substance_use": (
        "use_id:text! participant_id:text! substance:text! no_use:boolean! taken_utc:instant taken_local:clock "
        "local_date:date! time_precision:text! amount_reported:double unit_reported:text amount:double unit:text "
        "amount_basis:text mitragynine_mg:double mme_mg:double substance_class:text! product_form:text route:text "
        "reasons:text recall_method:text recall_lag_days:double instrument:text! exported_at:instant! "
        "is_current:boolean! possible_same_dose:boolean flags:text source_file_id:text! source_row:bigint!"
    ),
    "trend": (
        "participant_id:text! night_date:date! tst_mean_7d:double tst_sd_7d:double tst_n_7d:bigint! "
        "tst_mean_14d:double tst_sd_14d:double tst_n_14d:bigint! tst_mean_28d:double tst_sd_28d:double "
        "tst_n_28d:bigint! sol_mean_7d:double sol_sd_7d:double sol_n_7d:bigint! sol_mean_14d:double "
        "sol_sd_14d:double sol_n_14d:bigint! sol_mean_28d:double sol_sd_28d:double sol_n_28d:bigint! "
        "waso_mean_7d:double waso_sd_7d:double waso_n_7d:bigint! waso_mean_14d:double waso_sd_14d:double "
        "waso_n_14d:bigint! waso_mean_28d:double waso_sd_28d:double waso_n_28d:bigint! se_mean_7d:double "
        "se_sd_7d:double se_n_7d:bigint! se_mean_14d:double se_sd_14d:double se_n_14d:bigint! se_mean_28d:double "
        "se_sd_28d:double se_n_28d:bigint! onset_sd_28d:double midsleep_sd_28d:double sri_28d:double "
        "sri_pairs:bigint! sri_basis:text social_jetlag_28d:double reasons:text"
    ),
}


def upgrade() -> None:
    """Every table, empty."""
    for name, columns in TABLES.items():
        op.create_table(name, *table(columns))

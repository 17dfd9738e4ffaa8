-- One row is one night of one participant as the diary or as the device tells it (basis), with the measures that
-- speak of insomnia symptoms and, by the preset that study.yaml chooses for that basis, whether it was a bad night.
--
-- Decided rule 9: three-valued logic over the preset's own criteria. A bad night is true if one criterion holds,
-- false if all are known and none holds, else NULL: that is what OR does with NULL. A criterion of which the
-- threshold is NULL is not one of the preset's, and FALSE.
--
-- SOL, WASO, SE: as in night_diary and night. waso_long_min: wake in bouts of 5 min or more (setting), of devices
-- only, because their short wakes are no symptom. early_wake_min: how long before the intended time the person woke.
WITH measured AS (
    SELECT
        participant_id, night_date, 'diary' AS basis, $diary AS preset,
        sol_min, waso_min, NULL AS waso_long_min, early_wake_min, se_tib_pct AS se_pct
    FROM night_diary
    UNION ALL
    SELECT
        participant_id, night_date, 'wearable' AS basis, $wearable AS preset,
        sol_min, waso_min, waso_long_min, NULL AS early_wake_min, se_tib_pct AS se_pct
    FROM night
),

judged AS (
    SELECT
        *,
        basis = 'diary' AND $sol_min::DOUBLE IS NOT NULL AND sol_min >= $sol_min::DOUBLE AS long_sol,
        basis = 'diary' AND $waso_min::DOUBLE IS NOT NULL AND waso_min >= $waso_min::DOUBLE AS long_waso,
        basis = 'diary' AND $early_wake_min::DOUBLE IS NOT NULL AND early_wake_min >= $early_wake_min::DOUBLE
            AS early_wake,
        basis = 'diary' AND $se_pct::DOUBLE IS NOT NULL AND se_pct < $se_pct::DOUBLE AS low_se,
        basis = 'wearable' AND $waso_long_min::DOUBLE IS NOT NULL AND waso_long_min >= $waso_long_min::DOUBLE
            AS long_wakes
    FROM measured
)

SELECT
    participant_id,
    night_date,
    basis,
    preset,
    long_sol OR long_waso OR early_wake OR low_se OR long_wakes AS is_bad,
    -- Which criteria hold: sorted words joined by commas, NULL where none does.
    nullif(concat_ws(
        ',',
        CASE WHEN early_wake THEN 'early_wake' END,
        CASE WHEN low_se THEN 'se' END,
        CASE WHEN long_sol THEN 'sol' END,
        CASE WHEN long_waso THEN 'waso' END,
        CASE WHEN long_wakes THEN 'waso_long' END
    ), '') AS criteria,
    sol_min,
    waso_min,
    waso_long_min,
    early_wake_min,
    se_pct
FROM judged
ORDER BY participant_id, night_date, basis

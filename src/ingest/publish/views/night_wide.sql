-- One row per participant-night of a device or a diary: the night, the diary and what was taken before it in columns.
-- The lines of a block stand once for each substance and unit of the study, or each scale that is carried.
WITH taken AS (
    SELECT participant_id, night_date
        -- each exposure:
        , max(CASE WHEN substance = {substance} AND unit = {unit} THEN log_status END) AS {exposure}_log_status
        , max(CASE WHEN substance = {substance} AND unit = {unit} THEN amount_day END) AS {exposure}_amount_day
        , max(CASE WHEN substance = {substance} AND unit = {unit} THEN dose_band END) AS {exposure}_dose_band
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN amount_6h END) AS {exposure}_amount_6h
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN amount_24h END) AS {exposure}_amount_24h
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN amount_since_wake END) AS {exposure}_amount_since_wake
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN hours_since_last_dose END) AS {exposure}_hours_since_last_dose
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN last_dose_amount END) AS {exposure}_last_dose_amount
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN residual_load END) AS {exposure}_residual_load
        , bool_or(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'onset' THEN dosed_during_sleep END) AS {exposure}_dosed_during_sleep
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'usual' THEN amount_6h END) AS {exposure}_amount_6h_usual
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'usual' THEN amount_24h END) AS {exposure}_amount_24h_usual
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'usual' THEN amount_since_wake END) AS {exposure}_amount_since_wake_usual
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'usual' THEN hours_since_last_dose END) AS {exposure}_hours_since_last_dose_usual
        , max(CASE WHEN substance = {substance} AND unit = {unit} AND anchor = 'usual' THEN residual_load END) AS {exposure}_residual_load_usual
        -- end
    FROM night_exposure GROUP BY participant_id, night_date
), judged AS (
    SELECT participant_id, night_date,
           bool_or(CASE WHEN basis = 'diary' THEN is_bad END) AS insomnia_bad_diary,
           bool_or(CASE WHEN basis = 'wearable' THEN is_bad END) AS insomnia_bad_wearable
    FROM insomnia_night GROUP BY participant_id, night_date
), nights AS (
    SELECT participant_id, night_date FROM night
    UNION SELECT participant_id, night_date FROM night_diary
), scored AS (
    -- Answers of one day that give different totals give none.
    SELECT participant_id, instrument, answered_on, max(total) AS total
    FROM scale_response WHERE is_current AND total IS NOT NULL
    GROUP BY participant_id, instrument, answered_on HAVING min(total) = max(total)
)
-- each scale:
, latest_{scale} AS (
    SELECT k.participant_id, k.night_date, max(s.answered_on) AS answered_on
    FROM nights k JOIN scored s ON s.participant_id = k.participant_id AND s.instrument = {instrument}
         AND s.answered_on BETWEEN k.night_date - {days} AND k.night_date
    GROUP BY k.participant_id, k.night_date
), carried_{scale} AS (
    SELECT l.participant_id, l.night_date, s.total, CAST(l.night_date - l.answered_on AS bigint) AS age_days
    FROM latest_{scale} l JOIN scored s ON s.participant_id = l.participant_id AND s.instrument = {instrument}
         AND s.answered_on = l.answered_on
)
-- end
SELECT k.participant_id, k.night_date, p.arm, c.phase, n.study_day, n.source, n.device, n.basis, n.time_basis,
       n.onset_utc, n.final_wake_utc, n.onset_local, n.final_wake_local, n.midsleep_utc,
       n.tib_min, n.tst_min, n.sol_min, n.waso_min, n.waso_long_min, n.se_tib_pct, n.nawk,
       n.light_min, n.deep_min, n.rem_min, n.nap_min, n.tst_24h_min, n.vendor_score, n.flags,
       d.tib_min AS diary_tib_min, d.tst_min AS diary_tst_min, d.sol_min AS diary_sol_min,
       d.waso_min AS diary_waso_min, d.se_tib_pct AS diary_se_tib_pct, d.awakenings AS diary_awakenings,
       d.quality AS diary_quality,
       j.insomnia_bad_diary, j.insomnia_bad_wearable
       -- each exposure:
       , t.{exposure}_log_status, t.{exposure}_amount_day, t.{exposure}_dose_band
       , t.{exposure}_amount_6h, t.{exposure}_amount_24h, t.{exposure}_amount_since_wake
       , t.{exposure}_hours_since_last_dose, t.{exposure}_last_dose_amount, t.{exposure}_residual_load
       , t.{exposure}_dosed_during_sleep
       , t.{exposure}_amount_6h_usual, t.{exposure}_amount_24h_usual, t.{exposure}_amount_since_wake_usual
       , t.{exposure}_hours_since_last_dose_usual, t.{exposure}_residual_load_usual
       -- end
       -- each scale:
       , carried_{scale}.total AS {scale}_total, carried_{scale}.age_days AS {scale}_age_days
       -- end
FROM nights k
LEFT JOIN night n ON n.participant_id = k.participant_id AND n.night_date = k.night_date
LEFT JOIN night_diary d ON d.participant_id = k.participant_id AND d.night_date = k.night_date
LEFT JOIN taken t ON t.participant_id = k.participant_id AND t.night_date = k.night_date
LEFT JOIN judged j ON j.participant_id = k.participant_id AND j.night_date = k.night_date
LEFT JOIN participant p ON p.participant_id = k.participant_id
LEFT JOIN coverage c ON c.participant_id = k.participant_id AND c.date = k.night_date
-- each scale:
LEFT JOIN carried_{scale} ON carried_{scale}.participant_id = k.participant_id AND carried_{scale}.night_date = k.night_date
-- end

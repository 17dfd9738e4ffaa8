-- One row per participant and source: what was handed in, what became of it, how much of the time it covers.
WITH exports AS (
    SELECT participant_id, source, count(*) AS exports,
           sum(CASE WHEN status = 'loaded' THEN 1 ELSE 0 END) AS loaded,
           sum(CASE WHEN status = 'partial' THEN 1 ELSE 0 END) AS partly_loaded,
           sum(CASE WHEN status = 'ignored' THEN 1 ELSE 0 END) AS ignored_exports,
           sum(CASE WHEN status = 'refused' THEN 1 ELSE 0 END) AS refused,
           sum(records_read) AS records_read, sum(kept) AS kept, sum(duplicate) AS duplicate,
           sum(ignored) AS ignored, sum(quarantined) AS quarantined,
           min(arrived_at) AS first_arrived_at, max(arrived_at) AS last_arrived_at
    FROM source_file GROUP BY participant_id, source
), set_aside AS (
    SELECT participant_id, source, count(*) AS quarantine_rows FROM quarantine GROUP BY participant_id, source
), nights AS (
    SELECT participant_id, source, count(*) AS nights, min(night_date) AS first_night, max(night_date) AS last_night
    FROM night WHERE source IS NOT NULL GROUP BY participant_id, source
), expected AS (
    SELECT participant_id, count(*) AS dates FROM coverage GROUP BY participant_id
), covered AS (
    SELECT c.participant_id, n.source, count(*) AS nights
    FROM coverage c JOIN night n ON n.participant_id = c.participant_id AND n.night_date = c.date
    WHERE c.has_sleep GROUP BY c.participant_id, n.source
), bases AS (
    SELECT participant_id, source, string_agg(word, ',' ORDER BY word COLLATE "C") AS zone_basis
    FROM (SELECT DISTINCT participant_id, source, time_basis AS word FROM sleep_session WHERE is_current) AS words
    GROUP BY participant_id, source
), devices AS (
    SELECT participant_id, source, string_agg(word, ',' ORDER BY word COLLATE "C") AS devices
    FROM (SELECT DISTINCT participant_id, source, device AS word FROM sleep_session WHERE is_current) AS words
    GROUP BY participant_id, source
), known AS (
    SELECT participant_id, source FROM exports
    UNION SELECT participant_id, source FROM set_aside
)
SELECT k.participant_id, k.source,
       CAST(coalesce(e.exports, 0) AS bigint) AS exports,
       CAST(coalesce(e.loaded, 0) AS bigint) AS loaded,
       CAST(coalesce(e.partly_loaded, 0) AS bigint) AS partly_loaded,
       CAST(coalesce(e.ignored_exports, 0) AS bigint) AS ignored_exports,
       CAST(coalesce(e.refused, 0) AS bigint) AS refused,
       CAST(e.records_read AS bigint) AS records_read,
       CAST(e.kept AS bigint) AS kept,
       CAST(e.duplicate AS bigint) AS duplicate,
       CAST(e.ignored AS bigint) AS ignored,
       CAST(e.quarantined AS bigint) AS quarantined,
       CAST(coalesce(s.quarantine_rows, 0) AS bigint) AS quarantine_rows,
       CAST(coalesce(n.nights, 0) AS bigint) AS nights, n.first_night, n.last_night,
       CAST(x.dates AS bigint) AS dates_expected,
       CAST(coalesce(c.nights, 0) AS double precision) * 100 / CAST(x.dates AS double precision) AS coverage_pct,
       b.zone_basis, d.devices, e.first_arrived_at, e.last_arrived_at
FROM known k
LEFT JOIN exports e ON e.participant_id = k.participant_id AND e.source = k.source
LEFT JOIN set_aside s ON s.participant_id = k.participant_id AND s.source = k.source
LEFT JOIN nights n ON n.participant_id = k.participant_id AND n.source = k.source
LEFT JOIN expected x ON x.participant_id = k.participant_id
LEFT JOIN covered c ON c.participant_id = k.participant_id AND c.source = k.source
LEFT JOIN bases b ON b.participant_id = k.participant_id AND b.source = k.source
LEFT JOIN devices d ON d.participant_id = k.participant_id AND d.source = k.source

-- One row per participant, basis and episode of insomnia symptoms: its blocks in insomnia_week, put together.
WITH confirmed AS (
    SELECT participant_id, basis, episode_no, min(block) AS block, min(detected_on) AS detected_on
    FROM insomnia_week WHERE state IN ('episode', 'persistent') GROUP BY participant_id, basis, episode_no
), started AS (
    -- The run of positive blocks that led to it begins with the last block that was the first of a run.
    SELECT c.participant_id, c.basis, c.episode_no, max(w.block) AS first_block
    FROM confirmed c JOIN insomnia_week w ON w.participant_id = c.participant_id AND w.basis = c.basis
         AND w.block <= c.block AND w.week_class = 'positive' AND w.run_bad = 1
    GROUP BY c.participant_id, c.basis, c.episode_no
), positive AS (
    SELECT participant_id, basis, episode_no, max(block) AS last_block
    FROM insomnia_week WHERE state IN ('episode', 'persistent') AND week_class = 'positive'
    GROUP BY participant_id, basis, episode_no
), lasted AS (
    SELECT participant_id, basis, episode_no, max(block) AS last_block,
           max(CASE WHEN state = 'persistent' THEN 1 ELSE 0 END) AS persistent
    FROM insomnia_week WHERE state IN ('episode', 'persistent') GROUP BY participant_id, basis, episode_no
), ended AS (
    SELECT w.participant_id, w.basis, w.episode_no, w.state AS ended_as, w.detected_on AS end_detected_on
    FROM insomnia_week w JOIN lasted l ON l.participant_id = w.participant_id AND l.basis = w.basis
         AND l.episode_no = w.episode_no AND w.block = l.last_block + 1
), spans AS (
    -- Over with its last positive block; while it goes on, as far as it is known.
    SELECT c.participant_id, c.basis, c.episode_no, c.detected_on, s.first_block,
           CASE WHEN e.ended_as IS NULL THEN l.last_block ELSE p.last_block END AS last_block,
           l.persistent, e.ended_as, e.end_detected_on
    FROM confirmed c
    JOIN started s ON s.participant_id = c.participant_id AND s.basis = c.basis AND s.episode_no = c.episode_no
    JOIN positive p ON p.participant_id = c.participant_id AND p.basis = c.basis AND p.episode_no = c.episode_no
    JOIN lasted l ON l.participant_id = c.participant_id AND l.basis = c.basis AND l.episode_no = c.episode_no
    LEFT JOIN ended e ON e.participant_id = c.participant_id AND e.basis = c.basis AND e.episode_no = c.episode_no
)
SELECT s.participant_id, s.basis, s.episode_no,
       min(w.block_start) AS start_on,
       CASE WHEN s.ended_as IS NULL THEN NULL ELSE max(w.block_start) + 6 END AS end_on,
       s.detected_on, s.end_detected_on, s.ended_as, s.persistent = 1 AS is_persistent,
       CAST(7 * count(*) AS bigint) AS length_days,
       CAST(sum(w.valid_nights) AS bigint) AS valid_nights,
       CAST(sum(w.bad_nights) AS bigint) AS bad_nights
FROM spans s
JOIN insomnia_week w ON w.participant_id = s.participant_id AND w.basis = s.basis
     AND w.block BETWEEN s.first_block AND s.last_block
GROUP BY s.participant_id, s.basis, s.episode_no, s.detected_on, s.end_detected_on, s.ended_as, s.persistent

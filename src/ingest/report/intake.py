"""What came in, in tables: counted by the warehouse, on either engine; sorted here, the same on both.

`first` and `last` are dates (UTC), both counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.decode.registry import decoders
from ingest.lake.cohort_store import COHORT_ID
from ingest.lake.store import manifests, participants
from ingest.publish.backlog import silent
from ingest.publish.reading import Reader

WEEKS_SHOWN = 26
# A participant's share of a study-wide log comes with the log, and is no export of its own.
_EXPORTS = """
SELECT s.*, CAST(s.arrived_at AS date) AS day FROM source_file s
WHERE CAST(s.arrived_at AS date) BETWEEN $first AND $last
  AND (s.participant_id = $nobody OR NOT EXISTS (
      SELECT 1 FROM source_file w WHERE w.source_file_id = s.source_file_id AND w.participant_id = $nobody))
"""
_FILES = f"""
SELECT source, day, status, CAST(count(*) AS bigint) AS exports
FROM ({_EXPORTS}) AS e GROUP BY source, day, status
"""  # noqa: S608 - text of this module
_RECORDS = """
SELECT source, CAST(sum(records_read) AS bigint) AS read, CAST(sum(kept) AS bigint) AS kept,
       CAST(sum(duplicate) AS bigint) AS duplicate, CAST(sum(ignored) AS bigint) AS ignored,
       CAST(sum(quarantined) AS bigint) AS quarantined
FROM source_file WHERE CAST(arrived_at AS date) BETWEEN $first AND $last GROUP BY source
"""
_REFUSALS = """
WITH set_aside AS (
    SELECT * FROM quarantine WHERE CAST(first_seen_at AS date) BETWEEN $first AND $last
), worded AS (
    SELECT source, record_kind, reason, detail, count(*) AS n FROM set_aside
    GROUP BY source, record_kind, reason, detail
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY source, record_kind, reason ORDER BY n DESC, detail COLLATE "C") AS place,
           count(*) OVER (PARTITION BY source, record_kind, reason) AS wordings
    FROM worded
), counted AS (
    SELECT source, record_kind, reason, count(*) AS n, count(DISTINCT source_file_id) AS exports,
           count(DISTINCT participant_id) AS participants,
           CAST(min(first_seen_at) AS date) AS first_seen_on, CAST(max(first_seen_at) AS date) AS last_seen_on
    FROM set_aside GROUP BY source, record_kind, reason
)
SELECT c.source, c.record_kind, c.reason, CAST(c.n AS bigint) AS rows_set_aside, CAST(c.exports AS bigint) AS exports,
       CAST(c.participants AS bigint) AS participants, c.first_seen_on, c.last_seen_on, r.detail AS what_to_do,
       CAST(r.wordings AS bigint) AS wordings
FROM counted c JOIN ranked r
     ON r.source = c.source AND r.record_kind = c.record_kind AND r.reason = c.reason AND r.place = 1
"""
_SUBSTANCES = """
SELECT substance, CAST(count(*) AS bigint) AS uses, CAST(count(DISTINCT participant_id) AS bigint) AS participants,
       min(local_date) AS first_on, max(local_date) AS last_on
FROM substance_use
WHERE is_current AND position('unknown_substance' IN flags) > 0 AND local_date BETWEEN $first AND $last
GROUP BY substance
"""
_UNITS = """
SELECT substance, unit_reported, amount_basis, CAST(count(*) AS bigint) AS uses,
       CAST(count(DISTINCT participant_id) AS bigint) AS participants
FROM substance_use
WHERE is_current AND amount_basis IN ('unknown_unit', 'unit_of_another_kind', 'no_strength', 'no_density')
  AND local_date BETWEEN $first AND $last
GROUP BY substance, unit_reported, amount_basis
"""
_ZONES = """
SELECT source, time_basis, CAST(count(*) AS bigint) AS sessions,
       CAST(count(DISTINCT participant_id) AS bigint) AS participants
FROM sleep_session WHERE is_current AND CAST(start_utc AS date) BETWEEN $first AND $last
GROUP BY source, time_basis
"""
_DECODERS = f"""
SELECT source, decoder_version, CAST(count(*) AS bigint) AS exports, min(day) AS first_arrived_on,
       max(day) AS last_arrived_on
FROM ({_EXPORTS}) AS e WHERE decoder_version IS NOT NULL GROUP BY source, decoder_version
"""  # noqa: S608 - text of this module
_COVERAGE = """
SELECT participant_id, CAST(date_trunc('week', date) AS date) AS week, CAST(count(*) AS bigint) AS dates,
       CAST(sum(CASE WHEN has_sleep THEN 1 ELSE 0 END) AS bigint) AS nights,
       CAST(sum(CASE WHEN has_log THEN 1 ELSE 0 END) AS bigint) AS logs,
       CAST(sum(CASE WHEN has_diary THEN 1 ELSE 0 END) AS bigint) AS diaries
FROM coverage WHERE date BETWEEN $first AND $last GROUP BY participant_id, CAST(date_trunc('week', date) AS date)
"""
_PUBLICATION = """
SELECT min(published_at) AS oldest_published_at, max(published_at) AS last_published_at,
       CAST(count(*) AS bigint) AS participants, min(definitions_version) AS definitions_version
FROM publication WHERE participant_id NOT IN ($nobody, $cohort)
"""
_LAST_RUN = """
SELECT kind, outcome, error, started_at, ended_at, unpublished_count, oldest_unpublished_at
FROM ops_run ORDER BY run_id COLLATE "C" DESC LIMIT 1
"""
_EVER = (date(1, 1, 1), date(9999, 12, 31))


@dataclass(frozen=True)
class Intake:
    """Tables, each in the order of its first columns.

    `files`        source, day (UTC), status, exports
    `records`      source; records read = kept + duplicate + ignored + quarantined
    `refusals`     source, record_kind, reason; how much, when, and `what_to_do`: the commonest of its `wordings`
    `silent`       participant_id, last_on, days; who has withdrawn is not among them
    `substances`   names that the registry does not know
    `units`        units from which no amount could be computed, with the substance they were given for
    `columns`      source, exports with columns that no mapping names, and how many columns these are
    `zones`        source, time_basis; current sessions
    `decoders`     source, decoder_version, and the version that is installed
    `coverage`     participant_id, week (its Monday), dates, nights, logs, diaries; at most the last 26 weeks
    `publication`  one row: when the oldest and the newest of the participants were published
    `last_run`     one row, or none
    """

    files: pa.Table
    records: pa.Table
    refusals: pa.Table
    silent: pa.Table
    substances: pa.Table
    units: pa.Table
    columns: pa.Table
    zones: pa.Table
    decoders: pa.Table
    coverage: pa.Table
    publication: pa.Table
    last_run: pa.Table


def intake(study: Study, reader: Reader, today: date, first: date | None = None, last: date | None = None) -> Intake:
    """What came in from `first` to `last`; who is silent `today`. Reads the warehouse, and of the lake the manifests
    and who has given nothing lately.
    """
    span = {"first": first or _EVER[0], "last": last or _EVER[1]}
    names = {"nobody": NOBODY, "cohort": COHORT_ID}

    def ask(sql: str, *keys: str, **other: date) -> pa.Table:
        found = reader.table(sql, **{**span, **names, **other})
        return found.sort_by([(key, "ascending") for key in keys]) if keys else found

    return Intake(
        files=ask(_FILES, "source", "day", "status"),
        records=ask(_RECORDS, "source"),
        refusals=ask(_REFUSALS, "source", "record_kind", "reason"),
        silent=_silent(study, today),
        substances=ask(_SUBSTANCES, "substance"),
        units=ask(_UNITS, "substance", "unit_reported", "amount_basis"),
        columns=_unmapped_columns(study, **span),
        zones=ask(_ZONES, "source", "time_basis"),
        decoders=_with_installed(ask(_DECODERS, "source", "decoder_version")),
        coverage=ask(_COVERAGE, "participant_id", "week", **_last_weeks(reader, **span)),
        publication=ask(_PUBLICATION),
        last_run=ask(_LAST_RUN),
    )


def _last_weeks(reader: Reader, first: date, last: date) -> dict[str, date]:
    newest = reader.rows("SELECT max(date) FROM coverage WHERE date <= $last", last=last)[0][0]
    if newest is None:
        return {"first": first, "last": last}
    monday = newest - timedelta(days=newest.weekday())
    return {"first": max(first, monday - timedelta(weeks=WEEKS_SHOWN - 1)), "last": last}


def _silent(study: Study, today: date) -> pa.Table:
    found = silent(study, today)
    columns = [[each.participant_id for each in found], [each.last_on for each in found], [each.days for each in found]]
    schema = pa.schema({"participant_id": pa.string(), "last_on": pa.date32(), "days": pa.int64()})
    return pa.table(columns, schema=schema)


def _unmapped_columns(study: Study, first: date, last: date) -> pa.Table:
    """Manifests count them and keep no names, which may be personal."""
    exports: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for participant_id in participants(study.lake):
        for each in manifests(study.lake, participant_id):
            count = each.classes.get("columns unmapped", 0)
            if count and each.rows_hash is None and str(first) <= each.arrived_at[:10] <= str(last):
                exports[each.source] += 1
                columns[each.source] += count
    sources = sorted(exports)
    schema = pa.schema({"source": pa.string(), "exports": pa.int64(), "columns": pa.int64()})
    return pa.table([sources, [exports[s] for s in sources], [columns[s] for s in sources]], schema=schema)


def _with_installed(found: pa.Table) -> pa.Table:
    installed = {each.source: each.version for each in decoders()}
    versions = pa.array([installed.get(source) for source in found["source"].to_pylist()], pa.string())
    return found.add_column(2, "installed_version", versions)

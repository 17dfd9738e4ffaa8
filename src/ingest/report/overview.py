"""A study in a few numbers, from its warehouse."""

from __future__ import annotations

from ingest._core.study import Study
from ingest.publish.reading import Reader, opened

_NUMBERS = {
    "participants": "SELECT count(*) FROM participant",
    "nights": "SELECT count(*) FROM night",
    "exports": "SELECT coalesce(sum(exports), 0) FROM data_quality",
    "refused": "SELECT coalesce(sum(refused), 0) FROM data_quality",
    "partial": "SELECT coalesce(sum(partly_loaded), 0) FROM data_quality",
    "quarantine_rows": "SELECT coalesce(sum(quarantine_rows), 0) FROM data_quality",
    "open_safety_signals": "SELECT count(*) FROM safety_signal WHERE acknowledged_at IS NULL",
}
_NEWEST_STATES = """
SELECT basis, state, count(*) FROM (
    SELECT basis, state, row_number() OVER (PARTITION BY participant_id, basis ORDER BY block_start DESC) AS newest
    FROM insomnia_week
) AS weeks WHERE newest = 1 AND state IN ('episode', 'persistent') GROUP BY basis, state
"""


def overview(study: Study) -> dict[str, int]:
    """Counts of participants, nights, exports by fate, rows set aside, open safety signals; and of participants whose
    newest week is one of insomnia symptoms, as `diary_episode`, `wearable_persistent`, ....

    Raises what `publish.reading.opened` raises.
    """
    with opened(study) as reader:
        return overview_of(reader)


def overview_of(reader: Reader) -> dict[str, int]:
    """The same of an open warehouse."""
    found = {name: int(reader.rows(sql)[0][0]) for name, sql in _NUMBERS.items()}
    found |= {f"{basis}_{state}": 0 for basis in ("diary", "wearable") for state in ("episode", "persistent")}
    return found | {f"{basis}_{state}": int(count) for basis, state, count in reader.rows(_NEWEST_STATES)}

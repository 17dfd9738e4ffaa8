"""What of a participant's rows may be used: inside the scopes they granted, before their withdrawal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import night_day
from ingest._core.consents import granted_days
from ingest.mart._log import numbers
from ingest.mart.person import PersonSettings
from ingest.mart.records import by_zone_of, local_clocks, offset_of
from ingest.mart.session_versions import micros

LAKE_SCOPES = {
    "sleep_session": ("sleep", ""),
    "sleep_diary": ("sleep", "night_date"),
    "substance_use": ("substance_use", "local_date"),
    "scale_response": ("scales", "answered_on"),
}
"""Scope of each lake table and the column that says its rows' day; of a session the clocks do. Stages go with it."""


def consented(lake: Mapping[str, pa.Table], people: Mapping[str, PersonSettings]) -> dict[str, pa.Table]:
    """The lake's tables with the rows that may be used alone; rows of people who are not in `people` stay.

    A row counts by its own date: a use by its local date, a diary by its night date, an answer by its day, a session
    by the night dates of its start and its end, both of which must be granted.
    """
    found = dict(lake)
    for person in people.values():
        if person.withdrew_on is None and not person.consents:
            continue
        for table, (scope, column) in LAKE_SCOPES.items():
            if table in found:
                found[table] = _within(found[table], scope, column, person)
    return found


def within_scope(table: pa.Table, scope: str, column: str, people: Mapping[str, PersonSettings]) -> pa.Table:
    """A table's rows whose date in `column` is granted in this scope."""
    for person in people.values():
        if person.consents or person.withdrew_on is not None:
            table = _within(table, scope, column, person)
    return table


def _within(table: pa.Table, scope: str, column: str, person: PersonSettings) -> pa.Table:
    mine = pc.equal(table["participant_id"], person.participant_id).to_numpy(zero_copy_only=False)
    if not mine.any():
        return table
    own = table.filter(pa.array(mine))
    keep = ~mine
    keep[mine] = (
        granted_days(person.consents, person.withdrew_on, scope, numbers(own[column]))
        if column
        else _sessions(own, scope, person)
    )
    return table.filter(pa.array(keep))


def _sessions(own: pa.Table, scope: str, person: PersonSettings) -> NDArray[np.bool_]:
    start, end = micros(own["start_utc"]), micros(own["end_utc"])
    granted = np.ones(len(own), dtype=bool)
    for at in (start, np.maximum(end - 1, start)):
        local = local_clocks(at, (start, end), offset_of(own), by_zone_of(own), person)
        granted &= granted_days(person.consents, person.withdrew_on, scope, night_day(local, person.day_anchor_hour))
    return granted

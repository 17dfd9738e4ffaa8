"""What a participant's page shows, read from the warehouse; the same on both engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.settings import Settings
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.harmonise.substances import class_and_unit
from ingest.mart.exposure import night_exposure
from ingest.mart.rebuild import person_settings
from ingest.publish.reading import Reader

Row = Mapping[str, Any]
LONG_WAKE_MIN = 5
"""Shortest wake drawn: that of night.waso_long_min."""
_OF = {
    "participant": "SELECT * FROM participant WHERE participant_id = $pid",
    "publication": "SELECT * FROM publication WHERE participant_id = $pid",
    "phase": "SELECT * FROM phase WHERE participant_id = $pid ORDER BY start_on",
    "night": "SELECT night_date, source, device, utc_offset_min, onset_utc, final_wake_utc, onset_local,"
    " final_wake_local, tib_basis, tst_min, sol_min, waso_min, waso_long_min, se_tib_pct, nap_min, flags"
    " FROM night WHERE participant_id = $pid ORDER BY night_date",
    "diary": "SELECT night_date, tst_min, sol_min, waso_min, se_tib_pct FROM night_diary WHERE participant_id ="
    " $pid ORDER BY night_date",
    "trend": "SELECT night_date, tst_mean_7d, tst_n_7d, tst_mean_28d, tst_n_28d FROM trend WHERE participant_id ="
    " $pid ORDER BY night_date",
    "coverage": "SELECT date, phase, has_sleep, has_log, reason FROM coverage WHERE participant_id = $pid ORDER BY"
    " date",
    "symptoms": "SELECT night_date, basis, is_bad, criteria FROM insomnia_night WHERE participant_id = $pid ORDER BY"
    " night_date, basis",
    "weeks": "SELECT basis, block_start, state, week_class, valid_nights, bad_nights FROM insomnia_week WHERE"
    " participant_id = $pid ORDER BY basis, block_start",
    "sleeps": "SELECT n.night_date, n.role, s.session_id, s.source, s.device, s.start_utc, s.end_utc,"
    " s.utc_offset_min FROM night_source AS n JOIN sleep_session AS s ON s.participant_id ="
    " n.participant_id AND s.session_id = n.session_id AND s.is_current WHERE n.participant_id = $pid AND"
    " n.role IN ('main', 'merged', 'nap', 'extra_main') ORDER BY s.start_utc, s.session_id",
    "wakes": "SELECT n.night_date, t.start_utc, t.end_utc FROM night_source AS n JOIN sleep_stage AS t ON"
    " t.participant_id = n.participant_id AND t.session_id = n.session_id WHERE n.participant_id = $pid"
    " AND n.role IN ('main', 'merged') AND t.stage IN ('awake', 'out_of_bed') ORDER BY n.night_date,"
    " t.start_utc",
    "uses": "SELECT * FROM substance_use WHERE participant_id = $pid AND is_current ORDER BY local_date, use_id",
    "scales": "SELECT answered_on, instrument, items, total, band FROM scale_response WHERE participant_id = $pid"
    " AND is_current ORDER BY answered_on, instrument",
    "signals": "SELECT * FROM safety_signal WHERE participant_id = $pid AND acknowledged_at IS NULL ORDER BY"
    " observed_at, rule",
    "dose_sleep": "SELECT * FROM dose_sleep WHERE participant_id = $pid AND level = 'participant' ORDER BY substance,"
    " basis, phase, dose_band, days_since_dose",
    "primary": "SELECT * FROM association WHERE participant_id = $pid AND is_primary AND sensitivity_of IS NULL"
    " ORDER BY basis, lag",
    "quality": "SELECT * FROM data_quality WHERE participant_id = $pid ORDER BY source",
}


@dataclass(frozen=True)
class Person:
    """A participant's published rows: Arrow tables, and as dicts by `rows`."""

    participant_id: str
    settings: Settings
    tables: Mapping[str, pa.Table]
    days: Sequence[Row]
    """The log by exposure day and substance, also of days without a night: as night_exposure says."""
    _rows: dict[str, list[Row]] = field(default_factory=dict, compare=False, repr=False)

    def rows(self, name: str) -> list[Row]:
        """The rows of one of the tables read."""
        if name not in self._rows:
            self._rows[name] = self.tables[name].to_pylist()
        return self._rows[name]

    @cached_property
    def dates(self) -> list[date]:
        """Every date from the first to the last that anything speaks of; empty where nothing does."""
        known = [row["night_date"] for row in [*self.rows("night"), *self.rows("diary")]]
        known += [row["date"] for row in self.rows("coverage")]
        if not known:
            return []
        first, last = min(known), max(known)
        return [first + timedelta(n) for n in range((last - first).days + 1)]


_DAY_OF = {"night": "night_date", "diary": "night_date", "trend": "night_date", "coverage": "date",
           "symptoms": "night_date", "weeks": "block_start", "sleeps": "night_date", "wakes": "night_date",
           "uses": "local_date", "scales": "answered_on"}  # fmt: skip


def read_person(
    study: Study, reader: Reader, participant_id: str, first: date | None = None, last: date | None = None
) -> Person:
    """What the warehouse holds of a participant from the date `first` to `last`: empty tables where it holds nothing.

    Signals, answers on dose and sleep, and the quality of data are those of the whole time.
    """
    tables = {name: _between(reader.table(sql, pid=participant_id), _DAY_OF.get(name), first, last)
              for name, sql in _OF.items()}  # fmt: skip
    person = Person(participant_id, study.settings, tables, [])
    return Person(participant_id, study.settings, tables, _log_days(study, person))


def _between(table: pa.Table, day: str | None, first: date | None, last: date | None) -> pa.Table:
    if day is None:
        return table
    for bound, keeps in ((first, pc.greater_equal), (last, pc.less_equal)):
        if bound is not None:
            table = table.filter(keeps(table[day], pa.scalar(bound, pa.date32())))
    return table


def _log_days(study: Study, person: Person) -> list[Row]:
    """night_exposure's own answers for every date, with a night or without."""
    entry = entries_by_id(study).get(person.participant_id)
    if entry is None or not person.dates:
        return []
    none = pa.nulls(len(person.dates), pa.timestamp("us", "UTC"))
    dates = pa.table({
        "participant_id": pa.array([person.participant_id] * len(person.dates)),
        "night_date": pa.array(person.dates, pa.date32()),
        "onset_utc": none,
        "final_wake_utc": none,
        "onset_local": none.cast(pa.timestamp("us")),
    })  # fmt: skip
    settings = person_settings(study, person.participant_id, entry)
    found = night_exposure(
        dates, person.tables["uses"], {person.participant_id: settings}, study.settings.exposure,
        class_and_unit(study.settings.substances),
    )  # fmt: skip
    wanted = ["night_date", "substance", "unit", "log_status", "amount_day", "n_amount_unknown", "anchor"]
    return [row for row in found.select(wanted).to_pylist() if row["anchor"] == "usual"]

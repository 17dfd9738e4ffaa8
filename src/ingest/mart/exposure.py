"""What was taken before each night (decided rules 5 to 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest._core.clock import HOUR, Zone, zone
from ingest._core.errors import Terminal
from ingest._core.settings import DoseBands, Exposure
from ingest.mart._anchors import ANCHORS, BASES, Anchored, anchored, nights_of
from ingest.mart._columns import Columns
from ingest.mart._log import MICRO_UNITS, PRECISIONS, Codes, Log, LogTable, Mask, exposure_day
from ingest.mart._windows import Days, Doses, Window, horizon
from ingest.mart.diary import tried_to_sleep
from ingest.mart.person import PersonSettings

STATUSES = ("logged", "none_reported", "not_logged", "conflict")
NO_UNIT = "use"
NO_CLASS = "unknown"
NO_BAND = "none"
Registry = Mapping[str, tuple[str, str]]
Chunk = tuple[NDArray[Any], Mask]
_LOGGED, _NONE, _SILENT, _CONFLICT = range(len(STATUSES))
_WORDS = {"log_status": STATUSES, "time_precision": PRECISIONS}
_NIGHT = ["participant_id", "night_date", "onset_utc", "final_wake_utc", "onset_local"]


@dataclass(frozen=True)
class Key:
    """Substance and unit of a row, which rows of the log speak of them, and the bands in that unit.

    `here` marks the rows of the substance, `mine` those of this unit or of none.
    """

    substance: str
    substance_class: str
    unit: str
    here: Mask
    mine: Mask
    bands: DoseBands | None


def with_diary_nights(nights: pa.Table, diary_nights: pa.Table) -> pa.Table:
    """The columns of schema night that exposures need, with a row for each night that only the diary knows: its
    instants are NULL, so that the usual onset is its only anchor.
    """
    nights = nights.select(_NIGHT)
    key = [each.select(["participant_id", "night_date"]) for each in (nights, diary_nights)]
    only = key[1].join(key[0], ["participant_id", "night_date"], join_type="left anti")
    return pa.concat_tables([nights, only], promote_options="default")


def night_exposure(
    nights: pa.Table,
    uses: pa.Table,
    people: Mapping[str, PersonSettings],
    settings: Exposure,
    registry: Registry | None = None,
    diaries: pa.Table | None = None,
) -> pa.Table:
    """Rows of schema night_exposure for every night, anchor, substance and unit, sorted by primary key.

    `nights` has at least participant_id, night_date, onset_utc, final_wake_utc and onset_local of schema
    night; `uses` holds the current rows of substance_use (record_versions.current_records); `registry` gives class
    and unit of substances whose class or unit the participant's log does not tell; `diaries` holds the current rows
    of sleep_diary, whose time of trying to sleep is the `usual` anchor where there is one. Each participant's rows
    depend on that participant alone. Raises Terminal if `people` lacks a participant who has nights.

    A day is logged when the log has a row for it; windows that touch a day without one, or one with both a
    use and a stated no-use or with a row flagged `conflict`, have neither amount nor count. Without an anchor there
    are no windows. A use in another unit has a row of its own; one without unit counts in every row, as of unknown
    amount. A day's amount below the first edge of the study's bands has a band that begins at 0.
    """
    nights = nights.select(_NIGHT).sort_by([("participant_id", "ascending"), ("night_date", "ascending")])
    log_table = LogTable(uses)
    tried = tried_to_sleep(diaries, people) if diaries is not None else {}
    columns = Columns("night_exposure")
    for participant_id, low, high in _runs(nights["participant_id"]):
        if participant_id not in people:
            raise Terminal("night_exposure: a participant with nights has no settings; pass the whole roster")
        person = people[participant_id]
        home = zone(person.zone_name)
        log = log_table.of(participant_id, home, settings.day_start_hour)
        keys = _keys(log_table, log, settings, registry or {})
        if keys:
            own = nights_of(nights.slice(low, high - low))
            rows = anchored(
                own,
                home,
                settings.day_start_hour,
                person.day_anchor_hour,
                settings.usual_nights,
                tried.get(participant_id),
            )
            _add(
                columns,
                participant_id,
                rows,
                keys,
                [_answers(rows, log, key, home, settings) for key in keys],
            )
    return columns.table()


def _runs(ordered: pa.ChunkedArray) -> list[tuple[str, int, int]]:
    """Value, first row and end row of each run of equal values."""
    runs = pc.run_end_encode(ordered.combine_chunks())
    ends = runs.run_ends.to_pylist()
    return list(zip(runs.values.to_pylist(), [0, *ends[:-1]], ends, strict=True)) if ends else []


def _keys(table: LogTable, log: Log, settings: Exposure, registry: Registry) -> list[Key]:
    """Keys of one participant's rows, sorted: the study's substances, or those the participant logged."""
    own = [table.substances.names[code] for code in np.unique(log.substance)]
    keys = []
    for substance in sorted(set(settings.substances) or set(own)):
        code = table.substances.names.index(substance) if substance in own else -1
        here = log.substance == code
        known_class, known_unit = registry.get(substance, (NO_CLASS, NO_UNIT))
        classes = sorted(table.classes.names[each] for each in np.unique(log.substance_class[here]))
        for unit in _units(table, log, here) or [known_unit]:
            unit_code = table.units.names.index(unit) if unit in table.units.names else -1
            mine = here & ((log.unit == unit_code) | (log.unit < 0))
            bands = settings.dose_bands.get(substance)
            bands = bands if bands is not None and bands.unit == unit else None
            keys.append(Key(substance, classes[0] if classes else known_class, unit, here, mine, bands))
    return keys


def _units(table: LogTable, log: Log, here: Mask) -> list[str]:
    """Units of the uses; where no use has one, units of the rows that state no use."""
    for rows in (here & ~log.no_use, here):
        codes = np.unique(log.unit[rows])
        if (codes >= 0).any():
            return sorted(table.units.names[code] for code in codes if code >= 0)
    return []


def _answers(rows: Anchored, log: Log, key: Key, home: Zone, settings: Exposure) -> dict[str, Chunk]:
    """Columns of one key, one element per night and anchor; text as an index into its list of words."""
    days = Days.of(log, key.here, settings.logged_by == "any")
    doses = Doses(log, key.mine, days)
    has_anchor = rows.basis >= 0
    status = _status(rows.night_day, days)
    on_day = doses.on_day(rows.night_day)
    windows = {
        name: doses.window(low, rows.anchor, rows.low_days[name], rows.anchor_day) for name, low in rows.lows.items()
    }
    answers: dict[str, Chunk] = {"log_status": (status, status >= 0)}
    for name, window in windows.items():
        answers[f"amount_{name}"] = (window.amount / MICRO_UNITS, rows.asked[name] & window.amount_known)
    for name in ("24h", "6h"):
        answers[f"dose_count_{name}"] = (windows[name].count, has_anchor & windows[name].known)
    answers["amount_day"] = (on_day.amount / MICRO_UNITS, on_day.amount_known)
    last = doses.last_dose(rows.anchor, rows.anchor_day)
    answers["hours_since_last_dose"] = ((rows.anchor - last.at) / HOUR, has_anchor & last.known)
    answers["last_dose_amount"] = (last.amount / MICRO_UNITS, has_anchor & last.known & last.amount_known)
    precision, vague = doses.coarsest(rows.lows["24h"], rows.anchor, has_anchor, rows.night_day)
    answers["time_precision"] = (precision, precision >= 0)
    answers["n_amount_unknown"] = _unknown_amounts(windows["24h"], on_day, has_anchor, vague)
    within, sure = doses.during(rows.onset, rows.wake, rows.onset_day, rows.wake_day)
    answers["dosed_during_sleep"] = (within, rows.slept & sure)
    answers["residual_load"] = _load(rows, doses, settings.half_lives_h.get(key.substance), home, settings)
    answers["dose_band"] = _band(status, on_day, key.bands)
    return answers


def _status(day: Codes, days: Days) -> Codes:
    """Index into STATUSES for each night date."""
    silent = np.where(np.isin(day, days.logged), _NONE, _SILENT)
    said = np.where(np.isin(day, days.used), _LOGGED, silent)
    return np.where(np.isin(day, days.conflicting), _CONFLICT, said)


def _unknown_amounts(window: Window, on_day: Window, has_anchor: Mask, vague: Mask) -> Chunk:
    """Uses without a usable amount: in the window where it is known, else on the day of an untimed log."""
    in_window = has_anchor & window.known
    count = np.where(in_window, window.unknown_amounts, on_day.unknown_amounts)
    return count, in_window | (vague & on_day.known)


def _load(rows: Anchored, doses: Doses, half_life_h: float | None, home: Zone, settings: Exposure) -> Chunk:
    if half_life_h is None:
        return np.zeros(len(rows.anchor)), np.zeros(len(rows.anchor), dtype=bool)
    first = exposure_day(rows.anchor - horizon(half_life_h) + 1, home, settings.day_start_hour)
    load, known = doses.load(rows.anchor, half_life_h, first, rows.anchor_day)
    return load, known & (rows.basis >= 0)


def _band(status: Codes, on_day: Window, bands: DoseBands | None) -> Chunk:
    """Index into band_labels: 0 where no use was reported, else the band of the day's amount."""
    none = status == _NONE
    if bands is None:
        return np.zeros(len(status), dtype=np.int64), none
    edges = np.array([round(edge * MICRO_UNITS) for edge in _edges(bands)], dtype=np.int64)
    band = np.searchsorted(edges, on_day.amount, side="right")
    return np.where(none, 0, band), none | on_day.amount_known


def _edges(bands: DoseBands) -> list[float]:
    return bands.edges if bands.edges[0] == 0 else [0.0, *bands.edges]


def band_labels(bands: DoseBands | None) -> tuple[str, ...]:
    """`none` and the names of the bands, lowest first: `[0,3)`, `[3,6)`, `[6,inf)`."""
    if bands is None:
        return (NO_BAND,)
    ends = [f"{edge:.15g}" for edge in _edges(bands)] + ["inf"]
    return (NO_BAND, *(f"[{low},{high})" for low, high in pairwise(ends)))


def _add(
    columns: Columns, participant_id: str, rows: Anchored, keys: list[Key], answers: list[dict[str, Chunk]]
) -> None:
    """One participant's rows, keys innermost, so that they stand in the order of the primary key."""
    height, width = len(rows.anchor), len(keys)
    anchors = np.tile(columns.codes(ANCHORS)[:-1], height // len(ANCHORS))
    columns.add("participant_id", np.full(height * width, columns.code(participant_id)))
    columns.add("night_date", np.repeat(rows.night_day, width))
    columns.add("anchor", np.repeat(anchors, width))
    columns.add("anchor_utc", np.repeat(rows.anchor, width), np.repeat(rows.basis >= 0, width))
    columns.add("anchor_basis", np.repeat(columns.codes(BASES)[rows.basis], width))
    for name in ("substance", "substance_class", "unit"):
        columns.add(name, np.tile([columns.code(getattr(key, name)) for key in keys], height))
    for name in answers[0]:
        values, valid = zip(*(answer[name] for answer in answers), strict=True)
        if name in _WORDS or name == "dose_band":
            words = [_WORDS.get(name) or band_labels(key.bands) for key in keys]
            values = tuple(columns.codes(each)[index] for each, index in zip(words, values, strict=True))
        columns.add(name, *(each[0] if width == 1 else np.stack(each, axis=-1).ravel() for each in (values, valid)))

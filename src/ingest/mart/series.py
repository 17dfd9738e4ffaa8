"""One participant's nights on a calendar without holes, as numbers: what associations are computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest._core.clock import DAY, HOUR, MINUTE, day_number
from ingest._core.settings import Settings
from ingest.mart._anchors import ANCHORS
from ingest.mart._log import numbers
from ingest.mart.exposure import STATUSES, band_labels
from ingest.mart.person import PersonSettings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Measure = tuple[str, str]
EXPOSURES = ("any_use", "amount_since_wake", "amount_day", "hours_since_last_dose", "late_dose", "dose_band",
             "residual_load")  # fmt: skip
OUTCOMES: tuple[Measure, ...] = (
    ("tst", "wearable"), ("waso", "wearable"), ("waso_long", "wearable"), ("sol", "wearable"), ("se", "wearable"),
    ("onset", "wearable"), ("midsleep", "wearable"), ("vendor_score", "wearable"),
    ("sol", "diary"), ("waso", "diary"), ("quality", "diary"),
)  # fmt: skip
_COLUMNS = {"tst": "tst_min", "waso": "waso_min", "waso_long": "waso_long_min", "sol": "sol_min", "se": "se_tib_pct",
            "vendor_score": "vendor_score", "quality": "quality"}  # fmt: skip
_DIARY = ("tst", "waso", "sol", "se", "quality")
_WINDOWS_H = (3, 6, 12, 24)
LOGGED, NONE_REPORTED, NOT_LOGGED, CONFLICT = range(len(STATUSES))
NO_ROW = -1


@dataclass(frozen=True)
class Doses:
    """What one substance's rows say, a value per calendar day; NaN and -1 where nothing is known.

    `exposures` has a matrix (days x EXPOSURES) for each anchor; `status` is an index into series.STATUSES; `band` one
    into `labels`, which begins with `none`; `days_since` counts exposure days since the last use, where none was
    reported for the day itself.
    """

    exposures: dict[str, Floats]
    status: Ints
    amount_day: Floats
    days_since: Floats
    band: Ints
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Calendar day i is `first` + i, in days since 1970.

    `night` marks the days with a night in the study; `outside` counts nights that lie elsewhere, by reason. `values`
    holds outcomes by (name, basis), NaN where not measured: minutes, percent, and for clocks minutes after the
    local midnight with which the night date begins. `phase` is an index into `phases`. `free` says whether the
    day after the night is free of work; None where the roster names no free days.
    """

    participant_id: str
    first: int
    night: Bools
    outside: dict[str, int]
    values: dict[Measure, Floats]
    phase: Ints
    phases: tuple[str, ...]
    free: Bools | None
    doses: dict[tuple[str, str], Doses] = field(default_factory=dict)

    def outcomes(self) -> Floats:
        """Matrix (days x OUTCOMES)."""
        return np.column_stack([self.values[measure] for measure in OUTCOMES])


def series(marts: Mapping[str, pa.Table], person: PersonSettings, settings: Settings,
           withdrawal: Mapping[int, float]) -> Series | None:  # fmt: skip
    """The participant's series from own rows of night, night_diary, night_exposure and phase; None without a night.

    `withdrawal` has the total of the study's withdrawal scale by day. Values of nights before enrolled_on or after
    withdrew_on are left out.
    """
    night, diary = marts["night"], marts["night_diary"]
    days = np.concatenate([numbers(night["night_date"]), numbers(diary["night_date"])])
    if not len(days):
        return None
    first, n = int(days.min()), int(days.max() - days.min()) + 1
    calendar = np.arange(first, first + n, dtype=np.int64)
    early = calendar < (day_number(person.enrolled_on) if person.enrolled_on else first)
    late = calendar > (day_number(person.withdrew_on) if person.withdrew_on else calendar[-1])
    there = np.zeros(n, dtype=bool)
    there[numbers(night["night_date"]) - first] = True
    inside = ~early & ~late
    values = _values(night, diary, first, n)
    values["withdrawal", "scale"] = np.array([withdrawal.get(day, np.nan) for day in calendar.tolist()])
    phase, phases = _phases(marts["phase"], calendar)
    # 1970-01-01 was a Thursday, weekday 3; the night ends on the day after its date.
    free = np.isin((calendar + 1 + 3) % 7, sorted(person.free_days)) if person.free_days else None
    return Series(
        person.participant_id, first, there & inside,
        {"before_enrolment": int((there & early).sum()), "after_withdrawal": int((there & late).sum())},
        {measure: np.where(inside, each, np.nan) for measure, each in values.items()},
        phase, phases, free, _doses(marts["night_exposure"], _offsets(night, first, n), first, n, inside, settings),
    )  # fmt: skip


def _values(night: pa.Table, diary: pa.Table, first: int, n: int) -> dict[Measure, Floats]:
    found: dict[Measure, Floats] = {}
    at = numbers(night["night_date"]) - first
    for name, basis in OUTCOMES:
        if basis == "wearable" and name in _COLUMNS:
            found[name, basis] = _spread(floats(night[_COLUMNS[name]]), at, n)
    midnight = numbers(night["night_date"]) * DAY
    offset = numbers(night["utc_offset_min"]) * MINUTE
    clocks = {"onset": numbers(night["onset_local"]), "midsleep": numbers(night["midsleep_utc"]) + offset}
    for name, column in (("onset", "onset_local"), ("midsleep", "midsleep_utc")):
        known = night[column].is_valid().to_numpy()
        found[name, "wearable"] = _spread(np.where(known, (clocks[name] - midnight) / MINUTE, np.nan), at, n)
    at = numbers(diary["night_date"]) - first
    for name in _DIARY:
        found[name, "diary"] = _spread(floats(diary[_COLUMNS[name]]), at, n)
    return found


def floats(column: pa.ChunkedArray) -> Floats:
    """Numbers, NaN for NULL."""
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan).to_numpy(), dtype=np.float64)


def _spread(values: Floats, at: Ints, n: int) -> Floats:
    out = np.full(n, np.nan)
    out[at] = values
    return out


def _phases(rows: pa.Table, calendar: Ints) -> tuple[Ints, tuple[str, ...]]:
    """Index of each day's phase; days in no phase are one of their own, last and without a name."""
    named = sorted(set(rows["phase"].to_pylist()))
    found = np.full(len(calendar), len(named), dtype=np.int64)
    for row in sorted(rows.to_pylist(), key=lambda row: row["start_on"]):
        end = day_number(row["end_on"]) if row["end_on"] else calendar[-1]
        found[(calendar >= day_number(row["start_on"])) & (calendar <= end)] = named.index(row["phase"])
    return found, (*named, "")


def _offsets(night: pa.Table, first: int, n: int) -> Ints:
    """Microseconds of local time ahead of UTC on each night; 0 without a night."""
    offset = np.zeros(n, dtype=np.int64)
    offset[numbers(night["night_date"]) - first] = numbers(night["utc_offset_min"]) * MINUTE
    return offset


def _doses(
    rows: pa.Table, offset: Ints, first: int, n: int, inside: Bools, settings: Settings
) -> dict[tuple[str, str], Doses]:
    found = {}
    words = [rows[name].to_pylist() for name in ("substance", "unit", "anchor")]
    keys = np.array([f"{s}\0{u}\0{a}" for s, u, a in zip(*words, strict=True)], dtype=object)
    for substance, unit in sorted(set(zip(words[0], words[1], strict=True))):
        bands = settings.exposure.dose_bands.get(substance)
        labels = band_labels(bands if bands is not None and bands.unit == unit else None)
        exposures, parts = {}, []
        for anchor in ANCHORS:
            own = rows.filter(pa.array(keys == f"{substance}\0{unit}\0{anchor}"))
            at = numbers(own["night_date"]) - first
            kept = (at >= 0) & (at < n)
            own, at = own.filter(pa.array(kept)), at[kept]
            matrix = np.full((n, len(EXPOSURES)), np.nan)
            matrix[at] = _exposures(own, labels, settings.association.late_window_h)
            matrix[~inside] = np.nan
            exposures[anchor] = matrix
            parts.append((own, at))
        own, at = max(parts, key=lambda part: len(part[1]))
        status, band = np.full(n, NO_ROW, dtype=np.int64), np.full(n, NO_ROW, dtype=np.int64)
        status[at] = _codes(own["log_status"], STATUSES)
        band[at] = _codes(own["dose_band"], labels)
        amount = np.where(inside, _spread(floats(own["amount_day"]), at, n), np.nan)
        status[~inside], band[~inside] = NO_ROW, NO_ROW
        timed = _spread(_days_since(own, offset[at], settings.exposure.day_start_hour), at, n)
        since = np.where(np.isfinite(timed), timed, _days_since_by_status(status))
        since[status != NONE_REPORTED] = np.nan
        found[substance, unit] = Doses(exposures, status, amount, since, band, labels)
    return found


def _days_since(rows: pa.Table, offset: Ints, day_start_hour: int) -> Floats:
    """Exposure days between the last use and the row's own, NaN where the log has no time of it."""
    hours = floats(rows["hours_since_last_dose"])
    begin = numbers(rows["night_date"]) * DAY + day_start_hour * HOUR
    into_day = (numbers(rows["anchor_utc"]) + offset - begin) / HOUR
    return np.asarray(np.ceil((hours - into_day) / 24), dtype=np.float64)


def _days_since_by_status(status: Ints) -> Floats:
    """Days from the last logged use to each day without one, where every day between has a log."""
    found = np.full(len(status), np.nan)
    since = np.nan
    for at, said in enumerate(status.tolist()):
        since = {LOGGED: 0.0, NONE_REPORTED: since + 1}.get(said, np.nan)
        found[at] = since
    return found


def _codes(column: pa.ChunkedArray, words: tuple[str, ...]) -> Ints:
    known = {word: code for code, word in enumerate(words)}
    return np.array([known.get(word, NO_ROW) for word in column.to_pylist()], dtype=np.int64)


def _exposures(rows: pa.Table, labels: tuple[str, ...], late_window_h: float) -> Floats:
    """Matrix (rows x EXPOSURES) of one substance, unit and anchor."""
    status = _codes(rows["log_status"], STATUSES)
    any_use = np.select([status == LOGGED, status == NONE_REPORTED], [1.0, 0.0], np.nan)
    band = _codes(rows["dose_band"], labels).astype(np.float64)
    # Without bands of the study's own only `none` has a name, and there is nothing to compare it with.
    band[(band < 0) | (len(labels) < 2)] = np.nan
    plain = {name: floats(rows[name]) for name in EXPOSURES if name not in ("any_use", "late_dose", "dose_band")}
    made = {"any_use": any_use, "dose_band": band, "late_dose": _late(rows, late_window_h), **plain}
    return np.column_stack([made[name] for name in EXPOSURES])


def _late(rows: pa.Table, window_h: float) -> Floats:
    """1 with a dose in (anchor - window, anchor], 0 without, NaN where the log leaves it open."""
    hours = floats(rows["hours_since_last_dose"])
    late = np.where(np.isnan(hours), np.nan, (hours < window_h).astype(np.float64))
    for width in _WINDOWS_H:
        amount = floats(rows[f"amount_{width}h"])
        if width >= window_h:
            late[np.isnan(late) & (amount == 0)] = 0
        if width <= window_h:
            late[np.isnan(late) & (amount > 0)] = 1
    for width, column in ((6, "dose_count_6h"), (24, "dose_count_24h")):
        count = floats(rows[column])
        if width >= window_h:
            late[np.isnan(late) & (count == 0)] = 0
        if width <= window_h:
            late[np.isnan(late) & (count > 0)] = 1
    return late

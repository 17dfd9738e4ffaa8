"""The datasets of a participant's page: what its charts draw, its tables list and its CSVs hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest.report.pages.person_rows import LONG_WAKE_MIN, Person, Row

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - clocks and UTC alike, told apart by where they stand
HOUR = 3600.0
NOON = timedelta(hours=12)
TEXT, REAL, COUNT, DATE, CLOCK = pa.string(), pa.float64(), pa.int64(), pa.date32(), pa.timestamp("s")
NIGHTS = {
    "night_date": DATE, "no_night": TEXT, "phase": TEXT, "source": TEXT, "onset": TEXT, "final_wake": TEXT,
    "tst_min": REAL, "tst_mean_7d": REAL, "tst_n_7d": COUNT, "sol_min": REAL, "waso_min": REAL, "waso_long_min": REAL,
    "se_tib_pct": REAL, "tib_basis": TEXT, "nap_min": REAL, "diary_sol_min": REAL, "diary_waso_min": REAL,
    "diary_tst_min": REAL, "diary_se_pct": REAL, "symptoms": TEXT, "log": TEXT, "flags": TEXT,
}  # fmt: skip
SLEEP = {"day": DATE, "from_h": REAL, "to_h": REAL, "what": TEXT, "source": TEXT}
DOSES = {"exposure_day": DATE, "clock_h": REAL, "taken_local": CLOCK, "substance": TEXT, "amount": REAL, "unit": TEXT,
         "time_known": TEXT}  # fmt: skip
TOTALS = {"exposure_day": DATE, "substance": TEXT, "unit": TEXT, "log_status": TEXT, "amount_day": REAL,
          "amount_7d": REAL}  # fmt: skip
SCALES = {"answered_on": DATE, "instrument": TEXT, "total": REAL, "band": TEXT}
WEEKS = {"block_start": DATE, "block_end": DATE, "basis": TEXT, "state": TEXT, "valid_nights": COUNT,
         "bad_nights": COUNT, "label": TEXT}  # fmt: skip
MARKS = {"date": DATE, "what": TEXT, "kind": TEXT}


def datasets(person: Person) -> dict[str, pa.Table]:
    """All datasets of the page, by name; each with its columns even where it is empty."""
    totals = list(_totals(person))
    made: dict[str, tuple[Iterable[Mapping[str, Any]], Mapping[str, pa.DataType]]] = {
        "nights": (_nights(person), NIGHTS),
        "sleep": (_sleep(person), SLEEP),
        "doses": (_doses(person), DOSES),
        "totals": (totals, TOTALS),
        "scales": (_scales(person), SCALES),
        "weeks": (_weeks(person), WEEKS),
        "marks": (_marks(person), MARKS),
    }
    return {name: pa.Table.from_pylist(list(rows), schema=pa.schema(list(columns.items())))
            for name, (rows, columns) in made.items()}  # fmt: skip


def device_of(row: Row) -> str:
    """Source and class of device, as one word."""
    return f"{row['source']}/{row['device'] or 'unknown'}"


def _nights(person: Person) -> Iterator[dict[str, Any]]:
    """A row for each date, so that a missing night is a gap."""
    of = {name: {row["night_date"]: row for row in person.rows(name)} for name in ("night", "diary", "trend")}
    covered = {row["date"]: row for row in person.rows("coverage")}
    bad: dict[date, list[str]] = {}
    for row in person.rows("symptoms"):
        word = {True: "yes", False: "no", None: "not known"}[row["is_bad"]]
        bad.setdefault(row["night_date"], []).append(f"{row['basis']} {word}")
    logs = _log_words(person)
    for day in person.dates:
        night, diary, trend, cover = (found.get(day, {}) for found in (*of.values(), covered))
        yield {
            "night_date": day,
            "no_night": None if night else (cover.get("reason") or "no_record").replace("_", " "),
            "phase": cover.get("phase"),
            "source": device_of(night) if night else None,
            **{name: _clock(night.get(f"{name}_local")) for name in ("onset", "final_wake")},
            **{name: night.get(name) for name in ("tst_min", "sol_min", "waso_min", "waso_long_min", "se_tib_pct",
                                                  "tib_basis", "nap_min", "flags")},
            **{name: trend.get(name) for name in ("tst_mean_7d", "tst_n_7d")},
            **{f"diary_{name}": diary.get(name) for name in ("sol_min", "waso_min", "tst_min")},
            "diary_se_pct": diary.get("se_tib_pct"),
            "symptoms": ", ".join(bad.get(day, ())) or None,
            "log": logs.get(day) or ("no log" if not cover.get("has_log") else None),
        }  # fmt: skip


def _clock(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%H:%M}"


def _log_words(person: Person) -> dict[date, str]:
    """What the log says of each exposure day, in words."""
    words: dict[date, list[str]] = {}
    for row in person.days:
        if row["log_status"] == "not_logged":
            continue
        amount = "amount not known" if row["amount_day"] is None else f"{row['amount_day']:g} {row['unit']}"
        said = {"logged": amount, "none_reported": "none", "conflict": "answers contradict"}[row["log_status"]]
        words.setdefault(row["night_date"], []).append(f"{row['substance']} {said}")
    return {day: "; ".join(said) for day, said in words.items()}


def _sleep(person: Person) -> Iterator[dict[str, Any]]:
    """Stretches by the noon they follow, in hours after it: nights, wakes of five minutes or more, naps."""
    offset = {}
    for row in person.rows("night"):
        if row["onset_local"] is None:
            continue
        offset[row["night_date"]] = timedelta(minutes=row["utc_offset_min"])
        length = row["final_wake_utc"] - row["onset_utc"]
        yield _stretch(row["onset_local"], row["onset_local"] + length, "sleep", device_of(row))
    for row in person.rows("sleeps"):
        if row["role"] in ("nap", "extra_main"):
            start = _local(row["start_utc"], timedelta(minutes=row["utc_offset_min"]))
            what = "nap" if row["role"] == "nap" else "second sleep"
            yield _stretch(start, start + (row["end_utc"] - row["start_utc"]), what, device_of(row))
    for night, start, end in _long_wakes(person):
        if night in offset:
            yield _stretch(_local(start, offset[night]), _local(end, offset[night]), "wake", None)


def _long_wakes(person: Person) -> Iterator[tuple[date, datetime, datetime]]:
    """Wakes inside the sleep period, stretches that touch taken as one; in UTC, without saying so."""
    night, wakes = person.tables["night"], person.tables["wakes"]
    known = night.filter(pc.is_valid(night["onset_utc"]))
    if not len(known) or not len(wakes):
        return
    days = _integers(known["night_date"])
    of = np.minimum(np.searchsorted(days, _integers(wakes["night_date"])), len(days) - 1)
    start = np.maximum(_integers(wakes["start_utc"]), _integers(known["onset_utc"])[of])
    end = np.minimum(_integers(wakes["end_utc"]), _integers(known["final_wake_utc"])[of])
    inside = (start < end) & (days[of] == _integers(wakes["night_date"]))
    of, start, end = of[inside], start[inside], end[inside]
    begins = np.flatnonzero(np.r_[True, (of[1:] != of[:-1]) | (start[1:] > end[:-1])][: len(of)])
    ends = np.r_[begins[1:] - 1, len(of) - 1][: len(begins)]
    for first, last in zip(begins.tolist(), ends.tolist(), strict=True):
        if end[last] - start[first] >= LONG_WAKE_MIN * 60_000_000:
            yield EPOCH.date() + timedelta(int(days[of[first]])), _utc(start[first]), _utc(end[last])


def _integers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Days or microseconds since 1970."""
    is_date = pa.types.is_date(column.type)
    whole = column.cast(pa.date32()).cast(pa.int32()) if is_date else column.cast(pa.timestamp("us", column.type.tz))
    return np.asarray(whole.cast(pa.int64()).to_numpy(), dtype=np.int64)


def _utc(micros: np.int64) -> datetime:
    return EPOCH + timedelta(microseconds=int(micros))


def _local(at: datetime, offset: timedelta) -> datetime:
    return at.replace(tzinfo=None) + offset


def _stretch(start: datetime, end: datetime, what: str, source: str | None) -> dict[str, Any]:
    noon = datetime.combine((start - NOON).date(), datetime.min.time()) + NOON
    return {"day": noon.date(), "from_h": (start - noon).total_seconds() / HOUR,
            "to_h": (end - noon).total_seconds() / HOUR, "what": what, "source": source}  # fmt: skip


def _doses(person: Person) -> Iterator[dict[str, Any]]:
    """Each use by its exposure day; hours since midnight of that day, so from the hour a day starts to a day later."""
    start = person.settings.exposure.day_start_hour
    columns = ["no_use", "taken_local", "time_precision", "local_date", "substance", "amount", "unit"]
    for row in person.tables["uses"].select(columns).to_pylist():
        if row["no_use"]:
            continue
        at = row["taken_local"]
        timed = at is not None and row["time_precision"] in ("exact", "hour")
        day = (at - timedelta(hours=start)).date() if timed else row["local_date"]
        midnight = datetime.combine(day, datetime.min.time())
        yield {
            "exposure_day": day,
            "clock_h": (at - midnight).total_seconds() / HOUR if timed else None,
            "taken_local": at if timed else None,
            **{name: row[name] for name in ("substance", "amount", "unit")},
            "time_known": row["time_precision"].replace("_", " "),
        }


def _totals(person: Person) -> Iterator[dict[str, Any]]:
    """The log by day and substance, with the mean amount of the seven days that end there, where all are known."""
    for _, rows in groupby(sorted(person.days, key=_by_substance), key=lambda row: (row["substance"], row["unit"])):
        held: dict[date, float | None] = {}
        for row in rows:
            day = row["night_date"]
            held[day] = row["amount_day"]
            week = [held.get(day - timedelta(n)) for n in range(7)]
            known = [amount for amount in week if amount is not None]
            yield {
                "exposure_day": day,
                **{name: row[name] for name in ("substance", "unit", "log_status", "amount_day")},
                "amount_7d": sum(known) / 7 if len(known) == 7 else None,
            }


def _by_substance(row: Row) -> tuple[str, str, date]:
    return row["substance"], row["unit"], row["night_date"]


def _scales(person: Person) -> Iterator[dict[str, Any]]:
    """Totals of questionnaires; of the daily ratings each item is a line of its own."""
    for row in person.rows("scales"):
        if row["instrument"] == "DAILY":
            for item, value in sorted(json.loads(row["items"]).items()):
                yield {"answered_on": row["answered_on"], "instrument": item.replace("_", " "), "total": value,
                       "band": "daily rating"}  # fmt: skip
        elif row["total"] is not None:
            yield {name: row[name] for name in ("answered_on", "instrument", "total", "band")}


def _weeks(person: Person) -> Iterator[dict[str, Any]]:
    """Blocks of seven nights that have ended; the label stands where a state begins."""
    before: dict[str, str] = {}
    for row in person.rows("weeks"):
        begins = before.get(row["basis"]) != row["state"]
        before[row["basis"]] = row["state"]
        yield {
            **{name: row[name] for name in ("block_start", "basis", "state", "valid_nights", "bad_nights")},
            "block_end": row["block_start"] + timedelta(7),
            "label": row["state"] if begins else None,
        }


def last_dose(person: Person) -> tuple[date, str] | None:
    """The last exposure day with a use of the substance that is logged first in the settings, or of any."""
    listed = person.settings.exposure.substances
    used = [row for row in person.days if row["log_status"] in ("logged", "conflict")
            and (not listed or row["substance"] == listed[0])]  # fmt: skip
    newest = max(used, key=lambda row: row["night_date"], default=None)
    return None if newest is None else (newest["night_date"], newest["substance"])


def _marks(person: Person) -> Iterator[dict[str, Any]]:
    """Dates of the study and changes of device and clock."""
    (entry,) = person.rows("participant") or [{}]
    for name, word in (("enrolled_on", "enrolled"), ("withdrew_on", "withdrew")):
        if entry.get(name):
            yield {"date": entry[name], "what": word, "kind": "study"}
    for row in person.rows("phase"):
        if row["start_on"] != entry.get("enrolled_on"):
            yield {"date": row["start_on"], "what": row["phase"], "kind": "study"}
    if last := last_dose(person):
        yield {"date": last[0], "what": f"last {last[1]}", "kind": "dose"}
    before: Row | None = None
    for row in person.rows("night"):
        if before is not None:
            yield from _changes(before, row)
        before = row


def _changes(before: Row, now: Row) -> Iterator[dict[str, Any]]:
    if device_of(before) != device_of(now):
        yield {"date": now["night_date"], "what": device_of(now), "kind": "device"}
    if before["utc_offset_min"] != now["utc_offset_min"]:
        yield {"date": now["night_date"], "what": f"UTC{now['utc_offset_min'] / 60:+g} h", "kind": "clock"}

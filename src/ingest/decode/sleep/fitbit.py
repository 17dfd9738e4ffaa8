"""Fitbit: Takeout `sleep-*.json` and `sleep_score.csv`, answers of the web API v1 and v1.2.

Local wall clocks without offset. Segments run on the clock of the night's start, so their offsets from the
start are elapsed time even where the wall clock changes; `shortData` wakes lie over `data` (a wake wins).
A log stands in two neighbouring files of one export: the key is `logId`, never the content.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest._core.clock import DAY, MINUTE, SECOND
from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.intervals import Clocks, Ints, Stretches, overlay, parse_clocks
from ingest.decode.model import (
    IGNORED,
    Decoded,
    Format,
    Head,
    Member,
    Tally,
    decoded_session_schema,
    decoded_stage_schema,
)

STAGES = ("awake", "light", "deep", "rem", "asleep", "unknown")
_UNKNOWN = 5
_STRANGE = -1
_LONGEST_US = 4 * DAY
# Fitbit counts restless minutes in minutesAwake, so a restless minute is awake here as well.
LEVELS = {
    "wake": 0, "light": 1, "deep": 2, "rem": 3, "asleep": 4, "restless": 0, "awake": 0, "unknown": 5,
}  # fmt: skip
MINUTE_VALUES = {"1": "asleep", "2": "restless", "3": "awake"}
_LOG_KEYS = re.compile(rb'"logId"\s*:')
_SLEEP_KEYS = re.compile(rb'"(?:dateOfSleep|minutesAsleep|timeInBed)"\s*:')
_EMPTY_ANSWER = re.compile(rb'\s*\{\s*"sleep"\s*:\s*\[\s*\]')
_OBJECT = re.compile(rb"\s*\{")
_FILE_NAME = re.compile(r"(?:.*/)?sleep-\d{4}-\d\d-\d\d\.json")
_OTHER_NAME = re.compile(r"(?:.*/)?([a-z][a-z_]*)-\d{4}-\d\d-\d\d(?:\.json|\.csv)")


class Segment(msgspec.Struct, gc=False):
    """A stretch of one level."""

    dateTime: str  # noqa: N815
    level: str
    seconds: int


class MinuteValue(msgspec.Struct, gc=False):
    """API v1: the value of one minute, without a date."""

    value: str


class Summary(msgspec.Struct, gc=False):
    """The vendor's own minutes of one level."""

    minutes: float | None = None


class Levels(msgspec.Struct, gc=False):
    """Stretches in order, and short wakes that lie over them."""

    data: list[Segment] = []
    shortData: list[Segment] = []  # noqa: N815
    summary: dict[str, Summary] = {}


_NO_LEVELS = Levels()


class Log(msgspec.Struct, gc=False):
    """One sleep record, in the vendor's names; only what is used here."""

    logId: int | str  # noqa: N815
    startTime: str  # noqa: N815
    endTime: str | None = None  # noqa: N815
    duration: int | None = None
    minutesAsleep: float | None = None  # noqa: N815
    minutesAwake: float | None = None  # noqa: N815
    minutesToFallAsleep: float | None = None  # noqa: N815
    efficiency: float | None = None
    type: str | None = None
    logType: str | None = None  # noqa: N815
    mainSleep: bool | None = None  # noqa: N815
    isMainSleep: bool | None = None  # noqa: N815
    levels: Levels | None = None
    minuteData: list[MinuteValue] = []  # noqa: N815


class Answer(msgspec.Struct):
    """The web API's frame around logs."""

    sleep: list[Log]


class RawAnswer(msgspec.Struct):
    """The same, each log still undecoded."""

    sleep: list[msgspec.Raw]


_LOGS, _ANSWER = msgspec.json.Decoder(list[Log]), msgspec.json.Decoder(Answer)
_RAW_LOGS, _RAW_ANSWER = msgspec.json.Decoder(list[msgspec.Raw]), msgspec.json.Decoder(RawAnswer)
_ONE_LOG = msgspec.json.Decoder(Log)


class Found(msgspec.Struct, frozen=True, gc=False):
    """A log and where it stands: ordinal of the file, number of the record in it."""

    member: int
    record: int
    log: Log

    @property
    def locator(self) -> str:
        """For the quarantine."""
        return f"file {self.member} record {self.record}"


@dataclass
class Fitbit:
    """The decoder; see decode/model.py."""

    source: str = "fitbit"
    version: str = "1"
    kind: str = "sleep"
    together: bool = True
    formats: tuple[Format, ...] = field(
        default=(
            Format("Fitbit Takeout `sleep-*.json`", "logs with `logId` and `levels`, in a zip or loose",
                   "sessions, stages with short wakes, the vendor's summary", "local", True),
            Format("Fitbit web API v1.2", "`{\"sleep\": [...]}` with `levels`",
                   "sessions, stages, the vendor's summary", "local", True),
            Format("Fitbit web API v1", "`{\"sleep\": [...]}` with `minuteData`",
                   "sessions, asleep and awake by the minute", "local", False),
            Format("Fitbit `sleep_score.csv`", "header with `sleep_log_entry_id`",
                   "the score, joined to its log", "local", True),
        )
    )  # fmt: skip

    def claim(self, head: Head, settings: Settings) -> str | None:
        """`sleep` for logs, `score` for scores; Takeout's other daily files are known and ignored."""
        if _FILE_NAME.fullmatch(head.name):
            return "sleep"
        other = _OTHER_NAME.fullmatch(head.name)
        if other and "Fitbit/" in head.name:
            return f"{IGNORED}{other[1]}"
        start = head.start.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start[:1] in (b"[", b"{"):
            logs = _LOG_KEYS.search(start) and _SLEEP_KEYS.search(start)
            return "sleep" if logs or _EMPTY_ANSWER.match(start) else None
        first_line = start.partition(b"\n")[0]
        if b"overall_score" in first_line and b"," in first_line:
            return "score" if b"sleep_log_entry_id" in first_line else f"{IGNORED}sleep scores without log id"
        return None

    def decode(self, members: Sequence[Member], settings: Settings) -> Decoded:
        """Logs of all files, one row per `logId`; scores joined by log id."""
        tally = Tally()
        found = [each for member in members if member.role == "sleep" for each in _read_logs(member, tally)]
        found = _without_repeats(found, tally)
        scores = _read_scores([member for member in members if member.role == "score"], tally)
        orphans = scores.keys() - {str(each.log.logId) for each in found}
        if orphans:
            tally.classes["sleep scores without a log"] += len(orphans)
        start, end = _session_clocks(found)
        segments, problems, strange = _segments(found, start)
        no_times = np.flatnonzero(np.isnat(start) | np.isnat(end)).tolist()
        problems |= dict.fromkeys(no_times, "startTime and endTime (or duration)")
        for i, expected in sorted(problems.items()):
            tally.refuse(
                "sleep",
                found[i].locator,
                "impossible_time",
                f"expected {expected} like 2026-03-01T22:10:30.000, got no such time; the other records are read",
            )
        unknown = _report_unknown_labels(found, strange, problems, tally)
        kept = np.array([i not in problems for i in range(len(found))], dtype=bool)
        sessions = _sessions(found, scores, start, end, unknown).filter(pa.array(kept))
        return Decoded("takeout or web api json", tally, sessions, _stages(segments, kept))

    def settings_part(self, settings: Settings) -> str:
        """Nothing of the settings changes what is decoded."""
        return ""


DECODER = Fitbit()


def _read_logs(member: Member, tally: Tally) -> list[Found]:
    try:
        data = member.read().removeprefix(b"\xef\xbb\xbf")
        try:
            logs = _ANSWER.decode(data).sleep if _OBJECT.match(data) else _LOGS.decode(data)
        except msgspec.ValidationError:
            return _read_one_by_one(member.ordinal, data, tally)
    except Refused as refused:
        tally.refuse("member", f"file {member.ordinal}", refused.reason, refused.detail)
        return []
    except msgspec.ValidationError:
        tally.refuse(
            "member",
            f"file {member.ordinal}",
            "not_fitbit_sleep",
            "expected a list of sleep logs, got JSON of another shape; not a Fitbit sleep export",
        )
        return []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        place = re.search(r"byte (\d+)", str(error))
        where = f" at byte {place[1]}" if place else f" after {len(data)} bytes"
        tally.refuse(
            "member",
            f"file {member.ordinal}",
            "not_json",
            f"expected JSON, broken off or malformed{where}; export or copy it again",
        )
        return []
    tally.read += len(logs)
    return [Found(member.ordinal, number, log) for number, log in enumerate(logs, start=1)]


def _read_one_by_one(ordinal: int, data: bytes, tally: Tally) -> list[Found]:
    raw = _RAW_ANSWER.decode(data).sleep if _OBJECT.match(data) else _RAW_LOGS.decode(data)
    tally.read += len(raw)
    found = []
    for number, text in enumerate(raw, start=1):
        try:
            found.append(Found(ordinal, number, _ONE_LOG.decode(text)))
        except msgspec.ValidationError as error:
            tally.refuse(
                "sleep",
                f"file {ordinal} record {number}",
                "not_a_sleep_log",
                f"{_known_path(str(error))}; the other records are read",
            )
    return found


def _known_path(message: str) -> str:
    # msgspec says which type stood where; only names this module knows may pass, the rest is the file's text.
    known = {name for struct in (Log, Levels, Segment, Summary) for name in struct.__struct_fields__}
    words = re.findall(r"[A-Za-z]+", message)
    kinds = [word for word in words if word in {"int", "str", "float", "bool", "array", "object", "null"}]
    names = [word for word in words if word in known]
    if "missing" in message:
        return f"a record needs {names[0] if names else 'its required field'}, which is missing"
    return (
        f"{'.'.join(names) or 'record'}: expected {kinds[0] if kinds else 'another type'}, "
        f"got {kinds[-1] if kinds else 'something else'}"
    )


def _without_repeats(found: list[Found], tally: Tally) -> list[Found]:
    best: dict[str, Found] = {}
    for each in found:
        key = str(each.log.logId)
        other = best.get(key)
        if other is None:
            best[key] = each
            continue
        tally.duplicate += 1
        if _completeness(each) >= _completeness(other):
            best[key] = each
    return sorted(best.values(), key=lambda each: (each.member, each.record))


def _completeness(found: Found) -> tuple[int, int, str, int, int]:
    # Block files are named by date: of equally complete copies the one in the later file is the newer.
    log = found.log
    levels = log.levels or Levels()
    return (
        len(levels.data) + len(levels.shortData) + len(log.minuteData),
        log.duration or 0,
        log.endTime or "",
        found.member,
        found.record,
    )


def _read_scores(members: list[Member], tally: Tally) -> dict[str, float]:
    scores: dict[str, float] = {}
    for member in members:
        try:
            with member.open() as stream:
                rows = list(csv.DictReader(io.TextIOWrapper(stream, "utf-8-sig", newline="")))
        except Refused as refused:
            tally.refuse("member", f"file {member.ordinal}", refused.reason, refused.detail)
            continue
        except (csv.Error, UnicodeDecodeError):
            tally.refuse(
                "member",
                f"file {member.ordinal}",
                "not_a_score_table",
                "expected a comma-separated table in UTF-8 with sleep_log_entry_id and overall_score; export it again",
            )
            continue
        for number, row in enumerate(rows, start=1):
            text = row.get("overall_score") or ""
            if text.isascii() and text.isdecimal() and int(text) <= 100:
                scores.setdefault(row["sleep_log_entry_id"], float(text))
            elif not text:
                tally.classes["sleep scores without a value"] += 1
            else:
                tally.read += 1
                tally.refuse(
                    "score",
                    f"file {member.ordinal} row {number}",
                    "score",
                    "overall_score: expected a whole number from 0 to 100; the row is left out",
                )
    return scores


def _session_clocks(found: list[Found]) -> tuple[Clocks, Clocks]:
    start = parse_clocks([each.log.startTime for each in found])
    end = parse_clocks([each.log.endTime for each in found])
    span = np.array([-1 if each.log.duration is None else each.log.duration for each in found], dtype=np.int64)
    derived = np.isnat(end) & np.array([each.log.endTime is None for each in found], dtype=bool) & (span >= 0)
    end[derived] = (start + (span * 1000).astype("timedelta64[us]"))[derived]
    return start, end


def _segments(found: list[Found], start: Clocks) -> tuple[Stretches, dict[int, str], Ints]:
    """Stretches with codes of STAGES, group = position in `found`; what is wrong, by position; and how many
    labels of each record are not known.
    """
    levels = [each.log.levels or _NO_LEVELS for each in found]
    base, bad, strange = _stretches([each.data for each in levels], start)
    short, bad_short, strange_short = _stretches([each.shortData for each in levels], start)
    minutes, strange_minutes = _minutes(found)
    return (
        overlay(Stretches.joined([base, minutes]), short),
        bad | bad_short,
        strange + strange_short + strange_minutes,
    )


def _stretches(data: list[list[Segment]], start: Clocks) -> tuple[Stretches, dict[int, str], Ints]:
    group = np.repeat(np.arange(len(data)), [len(segments) for segments in data])
    flat = list(chain.from_iterable(data))
    clocks = parse_clocks([segment.dateTime for segment in flat])
    seconds = np.array([segment.seconds for segment in flat], dtype=np.int64)
    code = _codes([segment.level for segment in flat])
    strange = np.bincount(group[code == _STRANGE], minlength=len(data))
    begin = (clocks - start[group]).astype(np.int64)
    wrong = np.isnat(clocks) | (seconds < 0) | (begin < 0) | (begin + seconds * SECOND >= _LONGEST_US)
    problems = {
        int(i): "every segment's dateTime and seconds within its log"
        for i in np.unique(group[wrong])
        if not np.isnat(start[i])
    }
    stretches = Stretches(group, begin, begin + seconds * SECOND, np.where(code == _STRANGE, _UNKNOWN, code))
    return stretches.take(~wrong), problems, strange


def _codes(levels: list[str]) -> Ints:
    """Codes of STAGES, _STRANGE for a word that is none of LEVELS."""
    words = pa.array(levels, pa.string()).dictionary_encode()
    codes = np.array([LEVELS.get(word, _STRANGE) for word in words.dictionary.to_pylist()], dtype=np.int64)
    return codes[words.indices.to_numpy()]  # type: ignore[no-any-return]


def _minutes(found: list[Found]) -> tuple[Stretches, Ints]:
    """API v1: one value a minute from the log's start, without dates; and how many values are not known."""
    strange = np.array([sum(value.value not in MINUTE_VALUES for value in each.log.minuteData) for each in found],
                       dtype=np.int64)  # fmt: skip
    rows = [
        (i, minute, LEVELS.get(MINUTE_VALUES.get(value.value, ""), _UNKNOWN))
        for i, each in enumerate(found)
        if each.log.levels is None
        for minute, value in enumerate(each.log.minuteData)
    ]
    group, minute, code = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Stretches(group, minute * MINUTE, (minute + 1) * MINUTE, code), strange


def _report_unknown_labels(found: list[Found], strange: Ints, problems: dict[int, str], tally: Tally) -> set[int]:
    unknown = {int(i) for i in np.flatnonzero(strange)} - problems.keys()
    for i in sorted(unknown):
        tally.refuse(
            "value",
            found[i].locator,
            "unknown_stage_label",
            f"{strange[i]} segments with a level that is none of {', '.join(LEVELS)}; kept as unknown",
        )
    return unknown


def _sessions(found: list[Found], scores: dict[str, float], start: Clocks, end: Clocks, unknown: set[int]) -> pa.Table:
    logs = [each.log for each in found]
    summary = [(log.levels or _NO_LEVELS).summary for log in logs]
    columns: dict[str, object] = {
        "member": [each.member for each in found],
        "record": [each.record for each in found],
        "source_record_id": [str(log.logId) for log in logs],
        "device": ["watch"] * len(logs),
        "clock": ["local"] * len(logs),
        "start_clock": start,
        "end_clock": end,
        "is_main_reported": [log.isMainSleep if log.mainSleep is None else log.mainSleep for log in logs],
        "detail": [_detail(log) for log in logs],
        "vendor_tst_min": [log.minutesAsleep for log in logs],
        "vendor_awake_min": [log.minutesAwake for log in logs],
        # An automatic log writes 0 without having measured a latency.
        "vendor_sol_min": [log.minutesToFallAsleep if log.minutesToFallAsleep or log.logType == "manual" else None
                           for log in logs],
        "vendor_efficiency_pct": [log.efficiency for log in logs],
        "vendor_score": [scores.get(str(log.logId)) for log in logs],
        "flags": ["unknown_stage_label" if i in unknown else None for i in range(len(logs))],
    }  # fmt: skip
    for stage in ("light", "deep", "rem"):
        columns[f"vendor_{stage}_min"] = [each[stage].minutes if stage in each else None for each in summary]
    schema = decoded_session_schema()
    return pa.table(
        [pa.array(columns.get(field.name, [None] * len(logs)), field.type) for field in schema], schema=schema
    )


def _detail(log: Log) -> str:
    levels = log.levels or _NO_LEVELS
    if levels.data or log.minuteData:
        return "stages" if log.type == "stages" or "light" in levels.summary else "asleep_awake"
    return "period" if log.minutesAsleep is None else "summary"


def _stages(segments: Stretches, kept: NDArray[np.bool_]) -> pa.Table:
    segments = segments.take(kept[segments.group])
    session = (np.cumsum(kept) - 1)[segments.group].astype(np.int32)
    stage = pa.DictionaryArray.from_arrays(segments.code.astype(np.int8), list(STAGES))
    return pa.table([session, segments.start, segments.end, stage], schema=decoded_stage_schema())

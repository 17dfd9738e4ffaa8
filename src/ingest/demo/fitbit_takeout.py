"""Synthetic Fitbit exports, printed and packed as Google Takeout does.

Nothing here is read from a real export. What is imitated, and where it was measured, stands at each function:
the printing of the JSON, the blocks of thirty days that share their boundary night, short wakes laid over
longer segments, the vendor's rounding of the stage minutes, and the false `Z` of the sleep scores.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

SHORT_WAKE_S = 180
BLOCK_DAYS = 30
STAGES = ("deep", "wake", "light", "rem")
CLASSIC = ("restless", "awake", "asleep")
Member = tuple[str, bytes]
NEW_LAYOUT = "Takeout/Fitbit/Global Export Data/"
NEW_SCORES = "Takeout/Fitbit/Sleep Score/sleep_score.csv"
_SCORE_HEADER = (
    "sleep_log_entry_id,timestamp,overall_score,composition_score,revitalization_score,duration_score,"
    "deep_sleep_in_minutes,resting_heart_rate,restlessness"
)


@dataclass(frozen=True)
class Run:
    """A stretch of one level. `short` marks a wake that the vendor prints as an overlay, in `shortData`."""

    level: str
    seconds: int
    short: bool = False


@dataclass(frozen=True)
class SleepLog:
    """One Fitbit log. `start` is a local wall clock; `runs` cover it without gaps, as in real exports."""

    log_id: int
    start: datetime
    runs: tuple[Run, ...]
    kind: str = "stages"
    info_code: int = 0
    main: bool = True

    @property
    def seconds(self) -> int:
        """Length of the log on the wall clock, which is the sum of its runs."""
        return sum(run.seconds for run in self.runs)

    @property
    def end(self) -> datetime:
        """Wall clock of the end as the vendor prints it."""
        return self.start + timedelta(seconds=self.seconds)

    @property
    def date_of_sleep(self) -> date:
        """The vendor's date of a log: that of its end."""
        return self.end.date()


def data_segments(runs: Sequence[Run]) -> list[tuple[int, str, int]]:
    """`levels.data`: (offset in s, level, seconds). A short wake is part of the segment it interrupts."""
    segments: list[tuple[int, str, int]] = []
    at = 0
    for run in runs:
        last = segments[-1] if segments else None
        if last is not None and (run.short or last[1] == run.level):
            segments[-1] = (last[0], last[1], last[2] + run.seconds)
        else:
            segments.append((at, run.level, run.seconds))
        at += run.seconds
    return segments


def short_segments(runs: Sequence[Run]) -> list[tuple[int, str, int]]:
    """`levels.shortData`: (offset in s, level, seconds) of the short wakes."""
    found, at = [], 0
    for run in runs:
        if run.short:
            found.append((at, run.level, run.seconds))
        at += run.seconds
    return found


def level_seconds(runs: Iterable[Run]) -> dict[str, int]:
    """Seconds in each level once the short wakes are laid over."""
    total: dict[str, int] = {}
    for run in runs:
        total[run.level] = total.get(run.level, 0) + run.seconds
    return total


def level_counts(runs: Sequence[Run]) -> dict[str, int]:
    """Stretches of each level once the short wakes are laid over and equal neighbours are one."""
    count: dict[str, int] = {}
    before = ""
    for run in runs:
        if run.level != before:
            count[run.level] = count.get(run.level, 0) + 1
        before = run.level
    return count


def vendor_minutes(runs: Sequence[Run]) -> dict[str, int]:
    """`levels.summary.*.minutes` of a staged log, rounded as the vendor rounds.

    Wake is rounded down; of the other stages as many halves are rounded up as it takes for the sum to be the
    whole minutes of the log (so in 772 staged logs of PMData). Unknown time is in no stage.
    """
    seconds = level_seconds(runs)
    minutes = {level: seconds.get(level, 0) // 60 for level in STAGES}
    halves = [level for level in STAGES if level != "wake" and seconds.get(level, 0) % 60]
    missing = sum(seconds.get(level, 0) for level in STAGES) // 60 - sum(minutes.values())
    for level in halves[:missing]:
        minutes[level] += 1
    return minutes


def render_log(log: SleepLog, averages: dict[str, int]) -> str:
    """One log as Takeout prints it: two blanks of indent, a blank on both sides of the colon."""
    seconds = level_seconds(log.runs)
    staged = log.kind == "stages"
    levels = STAGES if staged else CLASSIC
    minutes = vendor_minutes(log.runs) if staged else {name: seconds.get(name, 0) // 60 for name in CLASSIC}
    awake = sum(minutes[name] for name in levels if name in {"wake", "awake", "restless"})
    asleep = sum(minutes.values()) - awake
    counts = level_counts(log.runs)
    summary = [
        _summary(name, counts.get(name, 0), minutes[name], averages.get(name, 0) if staged else None) for name in levels
    ]
    parts = [_segments("data", log.start, data_segments(log.runs))]
    if staged:
        parts.append(_segments("shortData", log.start, short_segments(log.runs)))
    in_bed = log.seconds // 60
    return (
        f'{{\n  "logId" : {log.log_id},\n  "dateOfSleep" : "{log.date_of_sleep}",\n'
        f'  "startTime" : "{_clock(log.start)}",\n  "endTime" : "{_clock(log.end)}",\n'
        f'  "duration" : {in_bed * 60_000},\n  "minutesToFallAsleep" : 0,\n'
        f'  "minutesAsleep" : {asleep},\n  "minutesAwake" : {awake},\n  "minutesAfterWakeup" : 0,\n'
        f'  "timeInBed" : {in_bed},\n  "efficiency" : {_efficiency(log, asleep, awake)},\n'
        f'  "type" : "{log.kind}",\n  "infoCode" : {log.info_code},\n  "logType" : "auto_detected",\n'
        f'  "levels" : {{\n    "summary" : {{\n'
        + ",\n".join(summary)
        + "\n    },\n"
        + ",\n".join(parts)
        + f'\n  }},\n  "mainSleep" : {"true" if log.main else "false"}\n}}'
    )


def _efficiency(log: SleepLog, asleep: int, awake: int) -> int:
    # On staged logs the vendor's figure leaves most short wakes out, so it is higher than TST/TIB.
    if log.kind != "stages":
        return round(100 * asleep / max(asleep + awake, 1))
    long_wake = sum(run.seconds for run in log.runs if run.level == "wake" and not run.short)
    return min(100, 1 + round(100 * (1 - long_wake / max(log.seconds, 1))))


def _summary(name: str, count: int, minutes: int, average: int | None) -> str:
    more = "" if average is None else f',\n        "thirtyDayAvgMinutes" : {average}'
    return f'      "{name}" : {{\n        "count" : {count},\n        "minutes" : {minutes}{more}\n      }}'


def _segments(key: str, start: datetime, segments: list[tuple[int, str, int]]) -> str:
    if not segments:
        return f'    "{key}" : [ ]'
    items = [
        f'      "dateTime" : "{_clock(start + timedelta(seconds=at))}",\n      "level" : "{level}",\n'
        f'      "seconds" : {seconds}\n    }}'
        for at, level, seconds in segments
    ]
    return f'    "{key}" : [{{\n' + ",{\n".join(items) + "]"


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.000"


def render_block(logs: Sequence[SleepLog]) -> bytes:
    """One `sleep-*.json`: latest log first, each with the averages of the staged logs before it in the file.

    The average restarts with each file, so the two copies of a boundary night differ in it.
    """
    rendered: list[str] = []
    sums, staged = dict.fromkeys(STAGES, 0), 0
    for log in sorted(logs, key=lambda each: each.end):
        averages = {name: total // staged for name, total in sums.items()} if staged else {}
        rendered.append(render_log(log, averages))
        if log.kind == "stages":
            staged += 1
            for name, minutes in vendor_minutes(log.runs).items():
                sums[name] += minutes
    return ("[" + ",".join(reversed(rendered)) + "]").encode()


def sleep_files(logs: Sequence[SleepLog], first_day: date) -> list[Member]:
    """(name, bytes) of the `sleep-YYYY-MM-DD.json` of some logs.

    Each file holds the dates of sleep from its name's date to thirty days later, both included, so that the
    last night of one file stands again in the next.
    """
    if not logs:
        return []
    last = max(log.date_of_sleep for log in logs)
    files = []
    for begin in _block_starts(first_day, last):
        until = begin + timedelta(days=BLOCK_DAYS)
        inside = [log for log in logs if begin <= log.date_of_sleep <= until]
        if inside:
            files.append((f"sleep-{begin}.json", render_block(inside)))
    return files


def _block_starts(first: date, last: date) -> list[date]:
    count = max(1, -(-(last - first).days // BLOCK_DAYS))
    return [first + timedelta(days=BLOCK_DAYS * i) for i in range(count)]


@dataclass(frozen=True)
class Score:
    """One row of sleep_score.csv."""

    log_id: int
    end: datetime
    overall: int
    deep_min: int
    resting_rate: int
    restlessness: float


def score_csv(scores: Sequence[Score]) -> bytes:
    """`sleep_score.csv`, newest first. The stamps are local clocks with a `Z` that is false, as exported.

    Composition and duration are empty, as in all rows of exports since 2024.
    """
    rows = [
        f"{s.log_id},{s.end:%Y-%m-%dT%H:%M:%S}Z,{s.overall},,{round(s.overall * 0.26)},,{s.deep_min},"
        f"{s.resting_rate},{s.restlessness:.9f}"
        for s in sorted(scores, key=lambda each: each.end, reverse=True)
    ]
    return ("\n".join([_SCORE_HEADER, *rows]) + "\n").encode()


def pack(members: Sequence[Member], packed_at: datetime) -> bytes:
    """A zip of the members whose stamps are all `packed_at`: the same members give the same bytes."""
    stream = io.BytesIO()
    # Written, not read: the bounds of ingest.arrive.archive guard what comes in.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:  # noqa: TID251
        for name, data in members:
            info = zipfile.ZipInfo(name, packed_at.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            file.writestr(info, data)
    return stream.getvalue()


def takeout_zip(files: Sequence[Member], scores: bytes, person: str, packed_at: datetime) -> bytes:
    """An export in the newer layout, with members that carry no sleep beside those that do."""
    members = [(NEW_LAYOUT + name, data) for name, data in files]
    members += [(NEW_SCORES, scores), *_bystanders(NEW_LAYOUT, packed_at.date())]
    members += [
        ("Takeout/Fitbit/Sleep Score/README.txt", b"Sleep score: one row per main sleep.\n"),
        (
            "Takeout/Fitbit/Your Profile/Profile.csv",
            f"id,full_name,date_of_birth\nSYNTH1,{person},1990-01-01\n".encode(),
        ),
        ("Takeout/archive_browser.html", f"<html><title>Archive of {person}</title></html>\n".encode()),
    ]
    return pack(sorted(members), packed_at)


def old_takeout_zip(files: Sequence[Member], scores: bytes, person: str, packed_at: datetime) -> bytes:
    """An export in the older layout, whose paths hold the person's name."""
    home = f"Fitbit/{person}/"
    members = [(home + "user-site-export/" + name, data) for name, data in files]
    members += [(home + "Sleep Score/sleep_score.csv", scores)]
    members += _bystanders(home + "user-site-export/", packed_at.date())
    members += [
        (home + "README.txt", f"Data of {person}\n".encode()),
        ("archive_browser.html", f"<html><title>{person}</title></html>\n".encode()),
    ]
    return pack(sorted(members), packed_at)


def _bystanders(folder: str, day: date) -> list[Member]:
    stamp = f"{day:%m/%d/%y} 08:00:05"
    rate = f'[{{\n  "dateTime" : "{stamp}",\n  "value" : {{\n    "bpm" : 61,\n    "confidence" : 2\n  }}\n}}]'
    steps = f'[{{\n  "dateTime" : "{stamp}",\n  "value" : "12"\n}}]'
    return [(f"{folder}heart_rate-{day}.json", rate.encode()), (f"{folder}steps-{day}.json", steps.encode())]

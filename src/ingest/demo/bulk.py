"""Many Takeout files in little time, for benchmarks: nights from a few moulds, with other dates and ids."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from functools import cache

from numpy.random import PCG64, Generator

from ingest.demo.fitbit_takeout import BLOCK_DAYS, Member, SleepLog, render_log
from ingest.demo.hypnogram import classic_runs, staged_runs

_MOULDS = 64
_EVENING, _MORNING, _ID = "1901-01-01", "1901-01-02", "10000000000"
_FIRST_LOG_ID = 20_000_000_000


def takeout_files(nights: int, start: date, rng: Generator, first_log_id: int = _FIRST_LOG_ID) -> list[Member]:
    """(name, bytes) of `sleep-*.json` of BLOCK_DAYS nights each, from the evening of `start`, without gaps.

    About 3.7 kB a night, in Takeout's printing; one main sleep a night, one in sixteen without stages. The
    last night of a file stands again in the next. Ids count up from `first_log_id` in steps of up to a
    thousand: give each export its own range of 1000 * nights.
    """
    rendered = [_night(start + timedelta(days=k), first_log_id + 1000 * k, rng) for k in range(nights)]
    files = []
    for begin in range(0, nights, BLOCK_DAYS):
        block = rendered[max(begin - 1, 0) : begin + BLOCK_DAYS]
        name = f"sleep-{start + timedelta(days=max(begin, 1))}.json"
        files.append((name, ("[" + ",".join(reversed(block)) + "]").encode()))
    return files


def _night(evening: date, log_id: int, rng: Generator) -> str:
    mould = _moulds()[int(rng.integers(0, _MOULDS))]
    morning = evening + timedelta(days=1)
    text = mould.replace(_ID, str(log_id + int(rng.integers(0, 1000))), 1)
    return text.replace(_EVENING, evening.isoformat()).replace(_MORNING, morning.isoformat())


@cache
def _moulds() -> tuple[str, ...]:
    rng = Generator(PCG64(1))
    return tuple(render_log(_mould(rng, classic=i % 16 == 15), {}) for i in range(_MOULDS))


def _mould(rng: Generator, classic: bool) -> SleepLog:
    start = datetime.fromisoformat(f"{_EVENING}T22:00") + timedelta(seconds=30 * int(rng.integers(0, 230)))
    if classic:
        return SleepLog(int(_ID), start, classic_runs(rng, int(rng.integers(380, 460)), 24), "classic", 1)
    asleep, awake = int(rng.integers(560, 665)), int(rng.integers(28, 44))
    runs = staged_runs(rng, asleep, awake, int(rng.integers(0, 16)), int(rng.integers(0, 8)))
    return SleepLog(int(_ID), start, runs)

"""One fault each, done to a copy of a study; what comes back is what then differs from a study without it.

Killed at a change of a file, at an instant, at a system call; two runs at once, one of them paused or late.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from faults.small import FROZEN, Forked, Whole, broken, copied, dies_at, differences, ran, run_frozen, survives, whole
from ingest._core import files as core_files

PRESENT = datetime.now(UTC).replace(microsecond=0)
"""The clock of runs that go on at once: what one of them is writing is not old."""
SYSTEM_CALLS = {"pwrite64": 300, "fsync": 140, "mkdir": 120, "write": 110, "unlink": 90, "rename": 60, "fdatasync": 60}
"""Calls that change files, of Python as of DuckDB and SQLite, and about how many of each a run makes."""
_COMMAND = """
import sys
from datetime import datetime
from ingest._core import clock
at = datetime.fromisoformat(sys.argv.pop(1))
clock.now = lambda: at
from ingest.cli import main
sys.argv[0] = "ingest"
main()
"""


@dataclass(frozen=True)
class Start:
    """A study before a run, and what it is after one that nothing disturbed, by the clock it ran with."""

    root: Path
    wanted: dict[datetime, Whole]


@dataclass(frozen=True)
class Outcome:
    """How many processes were killed or ran at once, and what was lost, doubled or differs afterwards."""

    kills: int
    pairs: int
    problems: list[str]


def start_of(root: Path, folder: Path) -> Start:
    """`root` as a start: run once undisturbed with each clock, in copies below `folder`."""
    wanted = {}
    for name, at in (("frozen", FROZEN), ("present", PRESENT)):
        copy = copied(root, folder / name)
        ran(copy, at)
        assert broken(copy) == []
        wanted[at] = whole(copy)
        shutil.rmtree(copy)
    return Start(root, wanted)


@contextmanager
def _copy(start: Start, folder: Path) -> Iterator[Path]:
    root = copied(start.root, folder / f"{os.getpid()}-{random.getrandbits(40):x}")
    try:
        yield root
    finally:
        shutil.rmtree(root)


def killed_at_event(start: Start, folder: Path, nth: int) -> Outcome:
    """Killed just before its n-th change of a file."""
    with _copy(start, folder) as root:
        process = Forked(lambda: (dies_at(nth), run_frozen(root)))
        code = process.wait()
        problems = [] if code in (0, -signal.SIGKILL) else [f"ended with {code}: {process.said[-500:]}"]
        return Outcome(int(code < 0), 0, problems + survives(root, start.wanted[FROZEN]))


def command_line(root: Path, at: datetime = FROZEN) -> list[str]:
    """The real command of one run, by a clock that stands still."""
    return [sys.executable, "-c", _COMMAND, at.isoformat(), "--study", str(root), "run"]


def length_of(start: Start, folder: Path) -> float:
    """Seconds the real command takes here and now."""
    with _copy(start, folder) as root:
        began = time.monotonic()
        subprocess.run(command_line(root), check=True, capture_output=True)
        return time.monotonic() - began


def killed_at_instant(start: Start, folder: Path, length: float, seed: int) -> Outcome:
    """The real command, its whole process group killed at a random instant before its end."""
    moments = random.Random(seed)
    with _copy(start, folder) as root:
        process = subprocess.Popen(command_line(root), start_new_session=True, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            process.wait(timeout=moments.uniform(0, length))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Outcome(int(process.returncode == -signal.SIGKILL), 0, survives(root, start.wanted[FROZEN]))


def killed_at_call(start: Start, folder: Path, call: str, nth: int) -> Outcome:
    """The real command, killed as it enters its n-th system call of a kind, of libraries written in C too."""
    with _copy(start, folder) as root:
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={nth}"]
        done = subprocess.run(["strace", "-f", "-qq", "-o", os.devnull, *inject, *command_line(root)],
                              capture_output=True, text=True, check=False)  # fmt: skip
        problems = [] if done.returncode in (0, -9, 137) else [f"strace ended with {done.returncode}: {done.stderr}"]
        return Outcome(int(done.returncode != 0), 0, problems + survives(root, start.wanted[FROZEN]))


def _together(start: Start, folder: Path, works: list[Callable[[Path], object]], lags: list[float]) -> Outcome:
    """Processes that begin their work at one sign, each after its lag."""
    with _copy(start, folder) as root:
        ready, sign = os.pipe()

        def begin(work: Callable[[Path], object], lag: float) -> None:
            os.close(sign)
            os.read(ready, 1)  # Comes back once nobody holds the other end any more.
            time.sleep(lag)
            work(root)

        both = [Forked(partial(begin, work, lag)) for work, lag in zip(works, lags, strict=True)]
        os.close(ready)
        os.close(sign)
        codes = [process.wait() for process in both]
        return Outcome(0, 1, _ended(both, codes) + _again(root, start))


def _ended(both: list[Forked], codes: list[int]) -> list[str]:
    """A run that finds the other at work may say so and end as Transient; nothing else is allowed."""
    return [f"ended with {code}: {process.said[-2000:]}" for process, code in zip(both, codes, strict=True)
            if code not in (0, 4) or (code == 4 and "run again" not in process.said)]  # fmt: skip


def _again(root: Path, start: Start) -> list[str]:
    held = [f"after both, {each}" for each in broken(root)]
    ran(root, PRESENT)
    return held + differences(root, start.wanted[PRESENT]) + broken(root)


def _run(root: Path) -> object:
    return run_frozen(root, PRESENT)


def _impatient(root: Path) -> object:
    """A run that waits two seconds for what another holds, not ten minutes."""
    core_files.LOCK_WAIT_S = 2
    return _run(root)


def two_runs(start: Start, folder: Path, seed: int) -> Outcome:
    """Two runs over the same landing, the second a little late."""
    return _together(start, folder, [_run, _run], [0, random.Random(seed).choice([0, 0, 0.02, 0.1, 0.4])])


def backfill(what: str, root: Path) -> None:
    """`ingest backfill` over all that is there, in this process."""
    from ingest._core import clock
    from ingest.cli import app

    clock.now = lambda: PRESENT  # type: ignore[assignment]
    span = ["2026-01-01", "2027-12-31"]
    app(["--study", str(root), "backfill", f"--{what}", *span], standalone_mode=False)


def two_backfills(start: Start, folder: Path, seed: int) -> Outcome:
    """Overlapping backfills, or a backfill and a run, at once."""
    chosen = random.Random(seed)
    works = chosen.sample([partial(backfill, "arrived"), partial(backfill, "nights"), _run], 2)
    return _together(start, folder, works, [0, chosen.choice([0, 0.02, 0.1, 0.4])])


def paused(start: Start, folder: Path, nth: int) -> Outcome:
    """One run stops at its n-th change of a file; another goes the whole way meanwhile; the first then goes on."""
    with _copy(start, folder) as root:
        first = Forked(lambda: (dies_at(nth, signal.SIGSTOP), _run(root)))
        _, status = os.waitpid(first.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), status
        second = Forked(partial(_impatient, root))
        codes = [second.wait()]
        first.kill(signal.SIGCONT)
        codes.append(first.wait())
        return Outcome(0, 1, _ended([second, first], codes) + _again(root, start))

"""A study of two people and a handful of nights from several sources, and runs of it that end badly.

All runs are forked from a parent that has everything imported, so that one costs a fraction of a second. Their
clock stands still, a month ahead of the machine's: two runs can be compared byte by byte, and what a killed run
left is old enough to be swept by the next one.
"""

from __future__ import annotations

import io
import json
import os
import random
import select
import shutil
import signal
import sys
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from ingest import pipeline
from ingest._core import clock
from ingest._core.contract import published_tables
from ingest._core.errors import IngestError
from ingest._core.files import storage_error
from ingest._core.study import open_study
from ingest.lake import parquet
from ingest.report.verify import verify
from studies import PROJECT, SAY_WHEN, as_json, files, fitbit_nights, land, make_study, silent, write_roster

FROZEN = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
REFS = ("K01", "K02")
_HANGS_AFTER_S = 300
OLD, NEW = datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 4, 20, tzinfo=UTC)
_LOG = "participant_ref,substance,taken_at,amount,unit,product_form,route,reason\n"
_FIXTURES = PROJECT / "tests" / "fixtures"
_CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "os.link", "os.symlink",
             "shutil.copyfile", "shutil.copymode", "sqlite3.connect"}  # fmt: skip


def _zip(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name, (2026, 3, 20, 8, 0, 0)), data)
    return stream.getvalue()


def _uses(*rows: str) -> str:
    return _LOG + "".join(f"{row},2,g,powder,oral,\n" for row in rows)


def small_study(root: Path, **settings: Any) -> Path:
    """The study before its first run: two sources, a personal log, a log of the whole study, a file of no use."""
    make_study(root, refs=REFS, **settings)
    (root / "identity" / "key").write_text("5a" * 32 + "\n")
    first = _zip(**{"Takeout/Fitbit/Global Export Data/sleep-2026-03-01.json": _nights(1, 2)})
    land(root, "K01/takeout.zip", first, OLD)
    land(root, "K01/logs/log.csv", _uses("K01,kratom,2026-03-01T21:00", "K01,kratom,2026-03-02T20:00"), OLD)
    land(root, "K02/watch/sleep-2026-03-01.json", _nights(1, 2, log_id=2000), OLD)
    land(root, "K02/ring/trends.csv", (_FIXTURES / "oura" / "broken-rows" / "trends.csv").read_bytes(), OLD)
    land(root, "K02/broken/takeout.zip", first[: len(first) // 2], OLD)
    land(root, "_logs/all.csv", _uses("K01,caffeine,2026-03-01T09:00", "K02,caffeine,2026-03-02T09:00"), OLD)
    return root


def _nights(day: int, count: int, log_id: int = 1000, month: int = 3) -> bytes:
    return as_json(fitbit_nights(datetime(2026, month, day, 23), count, log_id))


def change(root: Path) -> None:
    """What arrives after the first run: a folder that grew, a longer log of the whole study, a mended roster."""
    land(root, "K02/watch/sleep-2026-04-01.json", _nights(1, 1, 3000, 4), NEW)
    land(root, "_logs/all-2.csv", _uses("K01,caffeine,2026-03-01T09:00", "K02,caffeine,2026-03-02T09:00",
                                        "K02,caffeine,2026-03-03T09:00"), NEW)  # fmt: skip
    land(root, "K01/logs/log.csv", _uses("K01,kratom,2026-03-01T21:30"), NEW)
    write_roster(root, {"K01": "Europe/Oslo", "K02": "Europe/Berlin"})


def copied(root: Path, to: Path) -> Path:
    """A copy with the times of the files."""
    shutil.copytree(root, to, symlinks=True)
    return to


def run_frozen(root: Path, at: datetime = FROZEN) -> pipeline.Run:
    """`ingest run` in this process, with a clock that stands still; only for processes of their own."""
    clock.now = lambda: at  # type: ignore[assignment]
    pa.set_cpu_count(1)  # type: ignore[no-untyped-call]
    return pipeline.run(open_study(root), silent)


class Forked:
    """`work` in a forked process of its own group; what it printed is kept."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._out = os.memfd_create("out")
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                os.setpgid(0, 0)
                os.dup2(self._out, 1)
                os.dup2(self._out, 2)
                code = _code_of(work)
            finally:
                os._exit(code)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal."""
        os.kill(self.pid, how)

    def wait(self) -> int:
        """The exit code; negative where a signal ended it, as SIGABRT does where it hangs."""
        with os.fdopen(os.pidfd_open(self.pid)) as ended:
            if not select.select([ended], [], [], _HANGS_AFTER_S)[0]:
                self.kill(signal.SIGABRT)
                self.kill(signal.SIGCONT)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        size = os.lseek(self._out, 0, os.SEEK_CUR)
        self.said = os.pread(self._out, size, 0).decode(errors="replace")
        os.close(self._out)
        return code


def _code_of(work: Callable[[], object]) -> int:
    """As the command ends: errors of this package as one line and their exit code."""
    try:
        work()
    except (IngestError, OSError) as error:
        told = storage_error(error) if isinstance(error, OSError) else error
        os.write(2, f"ingest: {told}\n".encode() if isinstance(told, IngestError) else traceback.format_exc().encode())
        return told.exit_code if isinstance(told, IngestError) else 70
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        os.write(2, traceback.format_exc().encode())
        return 70
    return 0


def ran(root: Path, at: datetime = FROZEN) -> None:
    """One undisturbed run in a process of its own, which must end well."""
    process = Forked(lambda: run_frozen(root, at))
    code = process.wait()
    assert code == 0, process.said[-3000:]


def dies_at(nth: int, by: signal.Signals = signal.SIGKILL, count: Callable[[int], None] = lambda seen: None) -> None:
    """Have this process killed just before its n-th change of a file, or sent another signal; `count` is told of each.

    fsync raises no audit event, so it is wrapped: there the bytes stand in the file and are not yet safe.
    """
    seen = 0

    def next_event() -> None:
        nonlocal seen
        seen += 1
        count(seen)
        if seen == nth:
            os.kill(os.getpid(), by)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in _CHANGING:
            next_event()

    fsync = os.fsync

    def synced(descriptor: int) -> None:
        next_event()
        fsync(descriptor)

    os.fsync = synced  # type: ignore[assignment]
    sys.addaudithook(hook)


def events_of(root: Path) -> int:
    """How many changes of files an undisturbed run of this study makes; the study is run."""
    total, end = os.pipe()

    def counted() -> None:
        last = [0]
        dies_at(-1, count=lambda seen: last.__setitem__(0, seen))
        run_frozen(root)
        os.write(end, str(last[0]).encode())

    assert Forked(counted).wait() == 0
    found = int(os.read(total, 20))
    os.close(total)
    os.close(end)
    return found


def tables_of(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the warehouse but when they were published, sorted."""
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True, config={"threads": 1}) as connection:
        connection.execute("set timezone = 'UTC'")
        return {name: connection.execute(f'select * from "{name}" order by all').fetchall()
                for name in published_tables() if name not in SAY_WHEN}  # fmt: skip


def leftovers(root: Path) -> list[str]:
    """Temporary files, wherever they are."""
    return [str(path.relative_to(root)) for path in root.rglob(".tmp-*")]


@dataclass(frozen=True)
class Whole:
    """A study as it is after runs that nothing disturbed: its lake and landing byte by byte (of encrypted files the
    hash of their rows), the warehouse's rows.
    """

    lake: dict[str, bytes]
    landing: dict[str, bytes]
    tables: dict[str, list[tuple[Any, ...]]]


def whole(root: Path) -> Whole:
    """A study as it stands."""
    return Whole(comparable(root), files(root / "landing"), tables_of(root))


def comparable(root: Path) -> dict[str, bytes]:
    """The lake's files by name; of encrypted ones, which differ each time, what tells their rows."""
    lake = open_study(root).lake

    def said(name: str, data: bytes) -> bytes:
        if not parquet.is_encrypted(data):
            return data
        folder, _, file = name.partition("/")
        return parquet.hash_of(lake, Path(file).stem if folder == "_cohort" else folder, data).encode()

    return {name: said(name, data) for name, data in files(root / "lake").items()}


def differences(root: Path, wanted: Whole) -> list[str]:
    """Names of files and tables in which a study is another than `wanted`, and temporary files it was left with."""
    now = whole(root)
    found = [f"lake/{name}" for name in now.lake.keys() | wanted.lake.keys()
             if now.lake.get(name) != wanted.lake.get(name)]  # fmt: skip
    found += [f"landing/{name}" for name in now.landing.keys() | wanted.landing.keys()
              if now.landing.get(name) != wanted.landing.get(name)]  # fmt: skip
    found += [f"table {name}" for name in wanted.tables if now.tables[name] != wanted.tables[name]]
    return sorted([*found, *leftovers(root)])


def broken(root: Path) -> list[str]:
    """What `ingest verify` finds, asked in a process of its own so that no file stays open in this one."""
    told, end = os.pipe()

    def ask() -> None:
        found = [f"{each.invariant}: {each.where}" for each in verify(open_study(root))]
        os.write(end, json.dumps(found).encode())

    process = Forked(ask)
    code = process.wait()
    assert code == 0, process.said[-3000:]
    found: list[str] = json.loads(os.read(told, 1 << 16))
    os.close(told)
    os.close(end)
    return found


def survives(root: Path, wanted: Whole) -> list[str]:
    """After a fault: what `verify` finds, then, once the run is repeated, what differs from a study without fault."""
    found = [f"after the fault, {each}" for each in broken(root)]
    ran(root)
    return [*found, *differences(root, wanted), *broken(root)]


def sample(total: int, count: int, seed: int) -> Sequence[int]:
    """`count` of 1..total, one at random from each of as many equal stretches, so that every phase has some."""
    moments = random.Random(seed)
    edges = [round(total * part / count) for part in range(count + 1)]
    return [moments.randint(low + 1, high) for low, high in pairwise(edges) if high > low]

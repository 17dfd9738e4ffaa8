"""Study folders for tests, made by the package's own `init`, and ways to look at what became of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ingest import pipeline
from ingest._core.contract import arrow_schema, published_tables
from ingest._core.new_study import make_study_folder
from ingest._core.study import open_study
from ingest.harmonise.identity import make_key, people
from ingest.report.quarantine import Line, lines

PROJECT = Path(__file__).resolve().parents[1]
SAMPLES = PROJECT.parent / "shared" / "samples"
COMMAND = Path(sys.executable).parent / "ingest"
# `ingest` with a clock that stands still, so that two studies can be compared byte by byte.
_FROZEN = """
import sys
from datetime import UTC, datetime
from ingest._core import clock
clock.now = lambda: datetime(2026, 11, 1, 9, tzinfo=UTC)
from ingest.cli import main
sys.argv[0] = "ingest"
main()
"""
SAY_WHEN = ("publication", "ops_run")
"""Tables that tell of the program, not of the study: two runs of the same give other rows."""
COUNTS = ("read", "kept", "duplicate", "ignored", "quarantined")


def make_study(
    root: Path,
    zone: str | None = "Europe/Oslo",
    logs: Sequence[dict[str, Any]] = (),
    refs: Sequence[str] = ("K01",),
    **settings: Any,
) -> Path:
    """A new study in `root` whose roster names `refs`, all in `zone`; landing files settle at once."""
    make_study_folder(root)
    path = root / "study.yaml"
    chosen = {**yaml.safe_load(path.read_text()), "quiet_seconds": 0, "logs": list(logs), **settings}
    path.write_text(yaml.safe_dump(chosen, sort_keys=False))
    write_roster(root, dict.fromkeys(refs, zone))
    make_key(open_study(root))
    return root


def write_roster(root: Path, zones: Mapping[str, str | None]) -> None:
    """roster.csv with a row for each ref."""
    rows = [f"{ref},{zone or ''}" for ref, zone in zones.items()]
    (root / "roster.csv").write_text("\n".join(["participant_ref,time_zone", *rows]) + "\n")


def change_settings(root: Path, **settings: Any) -> None:
    """Keys of study.yaml set anew."""
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}, sort_keys=False))


def land(root: Path, name: str, data: bytes | str, modified: datetime | None = None) -> Path:
    """A file at landing/<name>, with a modification time if one is given."""
    path = root / "landing" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    if modified is not None:
        os.utime(path, (modified.timestamp(), modified.timestamp()))
    return path


@contextmanager
def _no_bar(title: str, total: int) -> Iterator[Any]:
    yield lambda: None


def silent(title: str, total: int) -> AbstractContextManager[Any]:
    """No progress bar."""
    return _no_bar(title, total)


def run(root: Path) -> pipeline.Run:
    """The whole way, in this process."""
    return pipeline.run(open_study(root), silent)


def command(*words: str | Path, frozen: bool = False, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; `frozen` stops its clock."""
    return subprocess.run(arguments(*words, frozen=frozen), capture_output=True, text=True, check=False,
                          timeout=120, **options)  # fmt: skip


def arguments(*words: str | Path, frozen: bool = False) -> list[str]:
    """The command line of `command`."""
    start = [sys.executable, "-c", _FROZEN] if frozen else [str(COMMAND)]
    return [*start, *map(str, words)]


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without temporary ones."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".tmp-")}  # fmt: skip


def pid(root: Path, ref: str = "K01") -> str:
    """participant_id of a ref."""
    return people(open_study(root))[ref].participant_id


def rows(root: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the warehouse, instants in UTC."""
    with duckdb.connect(str(root / "warehouse.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.execute(sql).fetchall()


def warehouse(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables of the warehouse but those that say when."""
    return {name: rows(root, f'select * from "{name}" order by all') for name in published_tables()
            if name not in SAY_WHEN}  # fmt: skip


def lake_table(root: Path, table: str) -> pa.Table:
    """All rows of a lake or mart table; none where no export has any."""
    parts = sorted((root / "lake" / table).rglob("[!.]*.parquet"))
    return pa.concat_tables([pq.ParquetFile(path).read() for path in parts] or [arrow_schema(table).empty_table()])


def quarantine(root: Path) -> list[Line]:
    """Everything that could not be used."""
    return lines(open_study(root))


def check_counts(root: Path) -> None:
    """Every export's counts reconcile."""
    for name, *counts in rows(root, f"select source_file_id, records_read, {', '.join(COUNTS[1:])} from source_file"):
        if counts[0] is not None:
            assert counts[0] == sum(counts[1:]), name


def told(root: Path) -> str:
    """Every text cell of lake and warehouse, every manifest and every file name of both."""
    found = list(files(root / "lake"))
    for path in (root / "lake").rglob("[!.]*"):
        if path.suffix == ".json":
            found.append(path.read_text())
        elif path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            for column in table.columns:
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                    found += [text for text in column.unique().to_pylist() if text]
    for table in warehouse(root).values():
        found += [cell for row in table for cell in row if isinstance(cell, str)]
    return "\n".join(found)


def fitbit_log(log_id: int, start: datetime, hours: float = 8, main: bool = True, **other: Any) -> dict[str, Any]:
    """A Fitbit log with stages: wake, light, deep and REM in this order, in whole half minutes."""
    half_minutes = round(hours * 120)
    parts = {"wake": half_minutes // 20, "deep": half_minutes // 5, "rem": half_minutes // 4}
    parts = {"wake": parts["wake"], "light": half_minutes - sum(parts.values()), **parts}
    data, at = [], start
    for level in ("wake", "light", "deep", "rem"):
        data.append({"dateTime": _clock(at), "level": level, "seconds": parts[level] * 30})
        at += timedelta(seconds=parts[level] * 30)
    summary = {level: {"count": 1, "minutes": parts[level] // 2} for level in parts}
    return {
        "logId": log_id, "dateOfSleep": f"{at:%Y-%m-%d}", "startTime": _clock(start), "endTime": _clock(at),
        "duration": half_minutes * 30_000, "minutesToFallAsleep": 0,
        "minutesAsleep": (half_minutes - parts["wake"]) // 2,
        "minutesAwake": parts["wake"] // 2, "timeInBed": half_minutes // 2, "efficiency": 94, "type": "stages",
        "mainSleep": main, "levels": {"summary": summary, "data": data, "shortData": []}, **other,
    }  # fmt: skip


def fitbit_nights(first: datetime, count: int, log_id: int = 1000) -> list[dict[str, Any]]:
    """A log each evening at the hour of `first`."""
    return [fitbit_log(log_id + n, first + timedelta(days=n)) for n in range(count)]


def as_json(logs: object) -> bytes:
    """As an export writes them."""
    return json.dumps(logs).encode()


def _clock(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.000")

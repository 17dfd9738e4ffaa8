"""Fitbit Takeout to lake and lake to `night`, against the least that such work can cost.

    python benchmarks/fitbit.py [--exports N]

Each line of the result is a process of its own. The floors are well-made minimal programs: the same files,
typed decoding and Parquet, but no checks, no ids, no repeats removed, no short wakes laid over stages.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parent))

from _measure import Cost, cpu_seconds, in_own_process, machine, part, run_part, table

FILES, NIGHTS_PER_FILE = 30, 30
PANDAS_SHARE = 10
_QUIET_S = 3600


class Segment(msgspec.Struct, gc=False):
    """The floor's stretch."""

    dateTime: str  # noqa: N815
    level: str
    seconds: int


class Levels(msgspec.Struct):
    """The floor's stretches."""

    data: list[Segment] = []
    shortData: list[Segment] = []  # noqa: N815


class Log(msgspec.Struct):
    """The floor's night."""

    logId: int  # noqa: N815
    startTime: str  # noqa: N815
    endTime: str  # noqa: N815
    duration: int
    minutesAsleep: int  # noqa: N815
    minutesAwake: int  # noqa: N815
    efficiency: int
    type: str
    mainSleep: bool  # noqa: N815
    levels: Levels


@part
def generate(root: str, exports: int) -> dict[str, Any]:
    """A study with one loose export of 30 files per participant."""
    from numpy.random import PCG64, Generator

    from ingest._core.new_study import make_study_folder
    from ingest._core.study import open_study
    from ingest.demo.bulk import takeout_files
    from ingest.harmonise.identity import make_key

    study = Path(root)
    make_study_folder(study)
    refs = [f"b{number:03d}" for number in range(exports)]
    start, size = date(2022, 1, 3), 0
    lines = ["participant_ref,time_zone,enrolled_on", *(f"{ref},Europe/Oslo,{start}" for ref in refs)]
    (study / "roster.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    nights = FILES * NIGHTS_PER_FILE
    for number, ref in enumerate(refs):
        folder = study / "landing" / ref / "Takeout" / "Fitbit" / "Global Export Data"
        folder.mkdir(parents=True)
        first_id = 20_000_000_000 + number * 1000 * nights
        rng = Generator(PCG64(number))
        for name, data in takeout_files(nights, start + timedelta(days=number), rng, first_id):
            path = folder / name
            path.write_bytes(data)
            settled = path.stat().st_mtime - _QUIET_S
            os.utime(path, (settled, settled))
            size += len(data)
    make_key(open_study(study))
    return {"bytes": size, "nights": exports * nights}


def _exports(root: str) -> Iterator[list[Path]]:
    for folder in sorted((Path(root) / "landing").iterdir()):
        yield sorted(folder.rglob("sleep-*.json"))


@part
def floor(root: str, to: str) -> dict[str, Any]:
    """Typed decoding into two Parquet files, a row group an export."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    instant = pa.timestamp("us")
    session_schema = pa.schema([
        ("log_id", pa.int64()), ("start", instant), ("end", instant), ("duration", pa.int64()),
        ("asleep", pa.int32()), ("awake", pa.int32()), ("efficiency", pa.int32()), ("type", pa.string()),
        ("main", pa.bool_()),
    ])  # fmt: skip
    stage_schema = pa.schema([("log_id", pa.int64()), ("start", instant), ("level", pa.string()),
                              ("seconds", pa.int32()), ("short", pa.bool_())])  # fmt: skip
    decoder = msgspec.json.Decoder(list[Log])
    sessions = pq.ParquetWriter(Path(to) / "sessions.parquet", session_schema, compression="zstd")
    stages = pq.ParquetWriter(Path(to) / "stages.parquet", stage_schema, compression="zstd")
    n = segments = 0
    with sessions, stages:
        for files in _exports(root):
            logs = [log for file in files for log in decoder.decode(file.read_bytes())]
            sessions.write_table(pa.table([
                pa.array([log.logId for log in logs]),
                pa.array([log.startTime for log in logs]).cast(instant),
                pa.array([log.endTime for log in logs]).cast(instant),
                pa.array([log.duration for log in logs]),
                pa.array([log.minutesAsleep for log in logs], pa.int32()),
                pa.array([log.minutesAwake for log in logs], pa.int32()),
                pa.array([log.efficiency for log in logs], pa.int32()),
                pa.array([log.type for log in logs]),
                pa.array([log.mainSleep for log in logs]),
            ], schema=session_schema))  # fmt: skip
            ids: list[int] = []
            clocks: list[str] = []
            levels: list[str] = []
            seconds: list[int] = []
            shorts: list[bool] = []
            for log in logs:
                for short, data in ((False, log.levels.data), (True, log.levels.shortData)):
                    ids += [log.logId] * len(data)
                    shorts += [short] * len(data)
                    clocks += [segment.dateTime for segment in data]
                    levels += [segment.level for segment in data]
                    seconds += [segment.seconds for segment in data]
            stages.write_table(pa.table([
                pa.array(ids, pa.int64()), pa.array(clocks, pa.string()).cast(instant),
                pa.array(levels, pa.string()), pa.array(seconds, pa.int32()), pa.array(shorts, pa.bool_()),
            ], schema=stage_schema))  # fmt: skip
            n, segments = n + len(logs), segments + len(ids)
    return {"logs": n, "segments": segments}


@part
def ours(root: str) -> dict[str, Any]:
    """Plan and load, as `ingest run` does them."""
    from ingest._core.study import open_study
    from ingest.lake.load import load_batch
    from ingest.lake.plan import plan

    study = open_study(Path(root))
    before = cpu_seconds()
    tokens = [arrival.token for arrival in plan(study).wanted]
    planned = cpu_seconds()
    result = load_batch(study, tokens)
    return {"plan_cpu_s": planned - before, "load_cpu_s": cpu_seconds() - planned, **result.counts()}


@part
def pandas_sample(root: str, share: int) -> dict[str, Any]:
    """json_normalize of every `share`-th export's segments."""
    import json

    import pandas as pd

    chosen = list(_exports(root))[::share]
    segments = 0
    for files in chosen:
        frames = []
        for file in files:
            logs = json.loads(file.read_bytes())
            for name in ("data", "shortData"):
                for log in logs:
                    log["levels"].setdefault(name, [])
                frames.append(pd.json_normalize(logs, ["levels", name], ["logId"]))
            pd.json_normalize(logs, max_level=0)
        stages = pd.concat(frames)
        stages["dateTime"] = pd.to_datetime(stages["dateTime"])
        stages.to_parquet(io.BytesIO(), compression="zstd")
        segments += len(stages)
    return {"exports": len(chosen), "segments": segments}


@part
def grouping(root: str) -> dict[str, Any]:
    """DuckDB: minutes by stage of every session, straight from the lake's stretches."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    before = cpu_seconds()
    rows = connection.execute(
        "select session_id, min(start_utc), max(end_utc), count(*),"
        " sum(date_diff('second', start_utc, end_utc)) filter (stage = 'awake') / 60,"
        " sum(date_diff('second', start_utc, end_utc)) filter (stage = 'light') / 60,"
        " sum(date_diff('second', start_utc, end_utc)) filter (stage = 'deep') / 60,"
        " sum(date_diff('second', start_utc, end_utc)) filter (stage = 'rem') / 60"
        " from read_parquet(?, hive_partitioning = false) group by session_id",
        [f"{root}/lake/sleep_stage/*/*.parquet"]).fetchnumpy()  # fmt: skip
    return {"nights": len(rows["session_id"]), "build_cpu_s": cpu_seconds() - before}


@part
def nights(root: str) -> dict[str, Any]:
    """`night` and all other marts of every participant, one after the other, from the lake's files."""
    from ingest._core.contract import arrow_schema
    from ingest._core.study import open_study
    from ingest.lake.store import manifests, participants, read_all
    from ingest.mart.participant import build
    from ingest.mart.person import PersonSettings

    study = open_study(Path(root))
    no_files = arrow_schema("source_file").empty_table()
    before, found = cpu_seconds(), 0
    for participant in participants(study.lake):
        lake = read_all(study.lake, manifests(study.lake, participant))
        person = PersonSettings(participant, "Europe/Oslo", date(2022, 1, 3))
        found += len(build(lake, no_files, {participant: person}, study.settings, {})["night"])
    return {"nights": found, "build_cpu_s": cpu_seconds() - before}


def measure(exports: int) -> tuple[list[dict[str, str]], list[dict[str, str]], dict[str, Cost]]:
    """Rows of both tables, and the costs they were made from."""
    script = str(Path(__file__).resolve())
    with TemporaryDirectory() as folder:
        root = str(Path(folder) / "study")
        costs = {"generate": in_own_process(script, "generate", root=root, exports=exports)}
        costs["floor"] = in_own_process(script, "floor", root=root, to=folder)
        costs["ours"] = in_own_process(script, "ours", root=root)
        costs["pandas"] = in_own_process(script, "pandas_sample", root=root, share=PANDAS_SHARE)
        costs["grouping"] = in_own_process(script, "grouping", root=root)
        costs["nights"] = in_own_process(script, "nights", root=root)
    scale = exports / costs["pandas"]["exports"]
    least = costs["floor"]
    lake = [
        _lake_row("floor: msgspec to two Parquet files", least, least),
        _lake_row("ours: plan + decode + harmonise + lake", costs["ours"], least),
        _lake_row(f"pandas json_normalize, x {scale:g}", costs["pandas"], least, scale),
    ]
    night = [
        _night_row("floor: DuckDB grouping", costs["grouping"], costs["grouping"]),
        _night_row("ours: lake to all marts", costs["nights"], costs["grouping"]),
    ]
    return lake, night, costs


def _lake_row(name: str, cost: Cost, floor_cost: Cost, scale: float = 1) -> dict[str, str]:
    start = cost["cpu_s"] - cost["work_cpu_s"]
    cpu = start + cost["work_cpu_s"] * scale
    return {
        "landing to lake": name,
        "CPU s": f"{cpu:.2f}",
        "without start": f"{cost['work_cpu_s'] * scale:.2f}",
        "ratio": f"{cpu / floor_cost['cpu_s']:.2f}",
        "peak MB": f"{cost['peak_mb']:.0f}",
        "above floor MB": f"{cost['peak_mb'] - floor_cost['peak_mb']:.0f}",
    }


def _night_row(name: str, cost: Cost, floor_cost: Cost) -> dict[str, str]:
    pace, floor_pace = (each["nights"] / each["build_cpu_s"] for each in (cost, floor_cost))
    return {
        "lake to night": name,
        "CPU s": f"{cost['build_cpu_s']:.2f}",
        "nights": f"{cost['nights']}",
        "nights per CPU s": f"{pace:,.0f}",
        "ratio": f"{floor_pace / pace:.1f}",
        "peak MB": f"{cost['peak_mb']:.0f}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exports", type=int, default=100, help="exports of 30 files of 30 nights each")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    lake, night, costs = measure(given.exports)
    print(machine(("msgspec", "pyarrow", "numpy", "pandas", "duckdb")))
    made, loaded = costs["generate"], costs["ours"]
    print(
        f"{given.exports} exports, {given.exports * FILES} files, {made['bytes'] / 1e6:.0f} MB, "
        f"{made['nights']} nights, {costs['floor']['logs']} logs, {costs['floor']['segments']} segments\n"
    )
    print(table(lake))
    share = loaded["plan_cpu_s"] / (loaded["plan_cpu_s"] + loaded["load_cpu_s"])
    print(
        f"\nof ours: looking at landing, hashing and planning {loaded['plan_cpu_s']:.2f} s ({share:.0%}), "
        f"decoding to committed lake {loaded['load_cpu_s']:.2f} s; {loaded['kept']} sessions kept\n"
    )
    print(table(night))


if __name__ == "__main__":
    main()

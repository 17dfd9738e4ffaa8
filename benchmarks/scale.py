"""Studies of growing size, from landing to the warehouse, then one more night of one person.

    python benchmarks/scale.py [--people N ...] [--nights N] [--workers N]

Each study has N people with a year of nights in Takeout files (about 40 stage intervals each) and three doses a day
in a CSV. Every step is a process of its own that shares the work out to as many processes as `--workers` says
(`engine: processes`). CPU is of all of them, memory the most that all held at once. The floor of a study is the one
before it, made as many times larger: a ratio of 1 is linear. The increment's ratio is against the increment before it:
1 is flat.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _measure import Cost, in_own_process, machine, part, run_part, table

FIRST = date(2025, 1, 6)
DOSE_HOURS = (8, 14, 20)
QUIET_S = 3600
SUBSTANCE = "kratom"
STEPS = ("decode", "marts", "publish")
MOST_S, MOST_GB = 600, 4
"""Wanted of 5,000 people with 365 nights each, from lake to marts on two cores."""


@part
def generate(root: str, people: int, nights: int, workers: int) -> dict[str, Any]:
    """The study with all its files in landing."""
    from numpy.random import PCG64, Generator

    from ingest._core.new_study import make_study_folder
    from ingest._core.study import open_study
    from ingest.demo.bulk import takeout_files
    from ingest.harmonise.identity import make_key

    study = Path(root)
    make_study_folder(study)
    refs = [f"s{number:05d}" for number in range(people)]
    rows = [f"{ref},Europe/Oslo,{FIRST}" for ref in refs]
    (study / "roster.csv").write_text("\n".join(["participant_ref,time_zone,enrolled_on", *rows]) + "\n")
    settings = (study / "study.yaml").read_text()
    for old, new in (
        ("  substances: []", f"  substances: [{SUBSTANCE}]"),
        ("half_lives_h: {}", f"half_lives_h: {{{SUBSTANCE}: 24}}"),
        ("dose_bands: {}", f"dose_bands: {{{SUBSTANCE}: {{unit: g, edges: [0, 3, 6]}}}}"),
    ):
        settings = settings.replace(old, new)
    (study / "study.yaml").write_text(f"{settings}\nengine: processes\nworkers: {workers}\n")
    (study / "identity").mkdir(mode=0o700)
    (study / "identity" / "key").write_text("b7" * 32 + "\n")
    make_key(open_study(study))
    size = 0
    for number, ref in enumerate(refs):
        rng = Generator(PCG64(number))
        files = takeout_files(nights, FIRST, rng, 10**12 + number * 10**7)
        size += land(study / "landing" / ref / "export", files)
        size += land(study / "landing" / ref, [("doses.csv", doses(nights, rng).encode())])
    return {"landing_bytes": size}


def doses(nights: int, rng: Any) -> str:
    """A log of three doses a day."""
    lines = ["substance,taken_at,amount,unit"]
    for day in range(nights):
        for hour, minute, half_grams in zip(DOSE_HOURS, rng.integers(0, 60, 3), rng.integers(2, 12, 3), strict=True):
            lines.append(f"{SUBSTANCE},{FIRST + timedelta(days=day)}T{hour:02d}:{minute:02d},{half_grams / 2},g")
    return "\n".join(lines) + "\n"


def land(folder: Path, files: list[tuple[str, bytes]]) -> int:
    """Write files that are long settled; returns their bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files:
        path = folder / name
        path.write_bytes(data)
        settled = path.stat().st_mtime - QUIET_S
        os.utime(path, (settled, settled))
    return sum(len(data) for _, data in files)


@part
def decode(root: str) -> dict[str, Any]:
    """Landing to lake."""
    from ingest._core.study import open_study
    from ingest.engine.engine import engine_of
    from ingest.lake.plan import plan

    study = open_study(Path(root))
    with _watched() as cost, engine_of(study) as engine:
        found = plan(study)
        done = engine.load(study, found.wanted, lambda: None)
    return {**cost, "done": done.counts()["loaded"]}


@part
def marts(root: str) -> dict[str, Any]:
    """Lake to marts, all participants."""
    from ingest._core.study import open_study
    from ingest.engine.engine import engine_of
    from ingest.mart.rebuild import stale

    study = open_study(Path(root))
    with _watched() as cost, engine_of(study) as engine:
        done = engine.rebuild(study, stale(study), lambda: None)
    return {**cost, "done": done.nights}


@part
def publish(root: str) -> dict[str, Any]:
    """Marts to the warehouse."""
    from ingest._core.study import open_study
    from ingest.publish.warehouse import publish_study

    with _watched() as cost:
        done = publish_study(open_study(Path(root)))
    return {**cost, "done": sum(done.rows.values()), "bytes": done.warehouse_bytes}


@part
def increment(root: str, nights: int) -> dict[str, Any]:
    """One more night of the first person, from landing to the warehouse."""
    from numpy.random import PCG64, Generator

    from ingest._core.study import open_study
    from ingest.demo.bulk import takeout_files
    from ingest.pipeline import run, silent

    day = FIRST + timedelta(days=nights)
    land(Path(root) / "landing" / "s00000" / "later", takeout_files(1, day, Generator(PCG64(7)), 9 * 10**12))
    with _watched() as cost:
        done = run(open_study(Path(root)), silent)
    return {**cost, "done": len(done.published.published)}


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Fills in seconds, CPU seconds of this process and its children, and the most memory they held at once, in MB."""
    cost: dict[str, float] = {"most_mb": 0.0}
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.25):
            cost["most_mb"] = max(cost["most_mb"], _resident_mb(os.getpid()))

    watcher = threading.Thread(target=look)
    watcher.start()
    begun, before = perf_counter(), _all_cpu_s()
    try:
        yield cost
    finally:
        cost["s"], cost["all_cpu_s"] = perf_counter() - begun, _all_cpu_s() - before
        ended.set()
        watcher.join()
    cost["most_mb"] = max(cost["most_mb"], _resident_mb(os.getpid()))


def _all_cpu_s() -> float:
    return sum(
        of.ru_utime + of.ru_stime for of in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _resident_mb(pid: int) -> float:
    """Proportional set size of a process and all below it: pages that several share count once."""
    total, waiting = 0.0, [pid]
    while waiting:
        each = waiting.pop()
        try:
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii")
            total += int(rollup.split("\nPss:")[1].split()[0]) * 1024 / 1e6
            for children in Path(f"/proc/{each}/task").glob("*/children"):
                waiting += [int(child) for child in children.read_text(encoding="ascii").split()]
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue  # it has ended meanwhile
    return total


def measure(folder: str, people: int, nights: int, workers: int) -> dict[str, Cost]:
    """Cost of each step for a study of this size."""
    script, root = str(Path(__file__).resolve()), f"{folder}/of{people}"
    costs = {"landing": in_own_process(script, "generate", root=root, people=people, nights=nights, workers=workers)}
    for step in STEPS:
        costs[step] = in_own_process(script, step, root=root)
    costs["increment"] = in_own_process(script, "increment", root=root, nights=nights)
    assert costs["decode"]["done"] == 2 * people, "both exports of everybody are loaded"
    assert costs["marts"]["done"] == nights * people, "every night is there"
    assert costs["increment"]["done"] == 1, "one person is published"
    costs["lake"] = {"bytes": sum(path.stat().st_size for path in Path(root, "lake").rglob("*") if path.is_file())}
    return costs


def _rows(
    people: int, nights: int, costs: dict[str, Cost], smaller: tuple[int, dict[str, Cost]] | None
) -> list[dict[str, str]]:
    rows = []
    for step in (*STEPS, "increment"):
        cost, ratio = costs[step], ""
        if smaller is not None:
            times = 1 if step == "increment" else people / smaller[0]
            ratio = f"{cost['all_cpu_s'] / smaller[1][step]['all_cpu_s'] / times:.2f}"
        rows.append({
            "step": f"{people:,} people: {step}",
            "s": f"{cost['s']:.1f}",
            "CPU s": f"{cost['all_cpu_s']:.1f}",
            "CPU ms a person": "" if step == "increment" else f"{1000 * cost['all_cpu_s'] / people:.1f}",
            "nights a CPU s": "" if step == "increment" else f"{people * nights / cost['all_cpu_s']:,.0f}",
            "most MB": f"{cost['most_mb']:.0f}",
            "ratio to the smaller": ratio,
        })  # fmt: skip
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[50, 500, 5000])
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    found: list[tuple[int, dict[str, Cost]]] = []
    for people in sorted(given.people):
        with TemporaryDirectory() as folder:
            found.append((people, measure(folder, people, given.nights, given.workers)))
    print(machine(("duckdb", "pyarrow", "numpy")))
    print(f"{given.nights} nights and {given.nights * len(DOSE_HOURS)} doses a person, {given.workers} processes\n")
    print(table([row for place, (people, costs) in enumerate(found)
                 for row in _rows(people, given.nights, costs, found[place - 1] if place else None)]))  # fmt: skip
    print()
    print(table([{"bytes": f"{people:,} people", "landing MB": f"{costs['landing']['landing_bytes'] / 1e6:.0f}",
                  "lake MB": f"{costs['lake']['bytes'] / 1e6:.0f}",
                  "warehouse MB": f"{costs['publish']['bytes'] / 1e6:.0f}",
                  "warehouse rows": f"{costs['publish']['done']:,}"} for people, costs in found]))  # fmt: skip
    people, costs = found[-1]
    memory_gb = costs["marts"]["most_mb"] / 1000
    print(f"\nlake to marts of {people:,} people: {costs['marts']['s']:.0f} s, {memory_gb:.1f} GB")
    print(f"wanted of 5,000 people: at most {MOST_S} s, {MOST_GB} GB")


if __name__ == "__main__":
    main()

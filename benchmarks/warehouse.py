"""From the lake to the warehouse: a full build, then one new night of one person, as a share of it.

    python benchmarks/warehouse.py [--people N] [--nights N] [--repeats N]

The full build makes the marts of everybody and publishes them. The increment is a whole run: one more export of one
night lands for one person, is found among everybody's exports, decoded, built and published. It is measured in a
study of N people and in one of a tenth of them; of several the median counts. Each is a process of its own, imports
included. A warehouse in a DuckDB file is copied before it is changed, so the copy of the file is reported beside.
The exposure mart is measured from Arrow tables in memory, on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _warehouse_lake as lake
from _measure import Cost, cpu_seconds, in_own_process, machine, part, run_part, table

FEWER = 10
EXPOSURE_TARGET, INCREMENT_TARGET_PCT, MORE_TARGET_PCT = 50_000, 3, 25
STEPS = ("looking at landing", "decoding exports", "building nights", "publishing")


class _Timed:
    """Seconds by step, as a progress bar would see them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        begun = perf_counter()
        yield lambda: None
        self.seconds[title] = perf_counter() - begun


@part
def generate(root: str, people: int, nights: int) -> dict[str, Any]:
    """The study; its exports in landing are in the lake, too."""
    from ingest._core.study import open_study
    from ingest.lake.load import load_batch
    from ingest.lake.plan import plan

    lake.make(Path(root), people, nights)
    study = open_study(Path(root))
    loaded = load_batch(study, [each.token for each in plan(study).wanted])
    return {"exports": loaded.counts()["loaded"]}


@part
def full(root: str) -> dict[str, Any]:
    """Marts and publication of everybody."""
    from ingest._core.study import open_study
    from ingest.pipeline import refresh

    steps = _Timed()
    rebuilt, published = refresh(open_study(Path(root)), steps)
    return {"nights": rebuilt.nights, "published": len(published.published), "bytes": published.warehouse_bytes,
            "rows": sum(published.rows.values()), "steps": steps.seconds}  # fmt: skip


@part
def increment(root: str, number: int, after: int) -> dict[str, Any]:
    """One more night of one person, from landing to the warehouse."""
    from ingest._core.study import open_study
    from ingest.pipeline import run

    lake.land_night(Path(root), f"b{number:04d}", number, after)
    steps = _Timed()
    done = run(open_study(Path(root)), steps)
    return {"exports": done.loaded.counts()["loaded"], "rebuilt": len(done.rebuilt.participants),
            "published": len(done.published.published), "steps": steps.seconds}  # fmt: skip


@part
def copied(root: str) -> dict[str, Any]:
    """The DuckDB file, copied and synced as a publication does it."""
    from ingest._core.files import copy_file

    source = Path(root) / "warehouse.duckdb"
    begun = perf_counter()
    copy_file(source, source.with_suffix(".copy"))
    return {"copy_s": perf_counter() - begun, "bytes": source.stat().st_size}


@part
def exposures(root: str) -> dict[str, Any]:
    """`night_exposure` of everybody, person by person, from tables in memory."""
    import pyarrow.parquet as pq

    from ingest._core.study import open_study
    from ingest.harmonise.identity import entries_by_id
    from ingest.harmonise.substances import class_and_unit
    from ingest.lake.store import manifests, read
    from ingest.mart.exposure import night_exposure
    from ingest.mart.rebuild import person_settings
    from ingest.mart.record_versions import current_records

    study = open_study(Path(root))
    registry, settings = class_and_unit(study.settings.substances), study.settings.exposure
    nights = rows = 0
    spent = 0.0
    for pid, entry in entries_by_id(study).items():
        night = pq.ParquetFile(study.lake / "night" / f"participant_id={pid}" / "part.parquet").read()
        uses = current_records("use_version", read(study.lake, "substance_use", manifests(study.lake, pid)))
        people = {pid: person_settings(study, pid, entry)}
        before = cpu_seconds()
        rows += len(night_exposure(night, uses, people, settings, registry))
        spent += cpu_seconds() - before
        nights += len(night)
    return {"nights": nights, "rows": rows, "build_cpu_s": spent}


def measure(root: str, people: int, nights: int, repeats: int) -> dict[str, Any]:
    """Cost of the full build and of each increment, each of another person."""
    script = str(Path(__file__).resolve())
    made = in_own_process(script, generate.__name__, root=root, people=people, nights=nights)
    assert made["exports"] == people, "every export in landing is loaded"
    whole = in_own_process(script, full.__name__, root=root)
    assert (whole["nights"], whole["published"]) == (people * (nights + 1), people), "everybody's nights are there"
    each = [in_own_process(script, increment.__name__, root=root, number=number % people, after=nights + 1 + number)
            for number in range(repeats)]  # fmt: skip
    assert all((one["exports"], one["rebuilt"], one["published"]) == (1, 1, 1) for one in each), "one person each"
    return {"full": whole, "increments": each, "increment_s": median(one["wall_s"] for one in each),
            "increment_cpu_s": median(one["work_cpu_s"] for one in each),
            "copied": in_own_process(script, copied.__name__, root=root)}  # fmt: skip


def _rows(people: int, found: dict[str, Any]) -> Iterator[dict[str, str]]:
    whole, copy = found["full"], found["copied"]
    for name, wall, cpu, steps in (
        (f"{people} people: full build", whole["wall_s"], whole["work_cpu_s"], whole["steps"]),
        (f"{people} people: one new night", found["increment_s"], found["increment_cpu_s"], _middle(found)),
    ):
        yield {
            "lake to warehouse": name,
            "s": f"{wall:.2f}",
            "CPU s": f"{cpu:.2f}",
            **{step.split()[0]: f"{steps.get(step, 0):.2f}" for step in STEPS},
            "of the full build": f"{100 * wall / whole['wall_s']:.2f} %",
            "copy of the file s": f"{copy['copy_s']:.2f}",
        }


def _middle(found: dict[str, Any]) -> dict[str, float]:
    return {step: median(one["steps"].get(step, 0.0) for one in found["increments"]) for step in STEPS}


def _print(few: int, people: int, costs: dict[int, dict[str, Any]], speed: Cost) -> None:
    many = costs[people]
    print(table([row for size in (people, few) for row in _rows(size, costs[size])]))
    for unit, whole, more in (("time", "wall_s", "increment_s"), ("CPU time", "work_cpu_s", "increment_cpu_s")):
        share = 100 * many[more] / many["full"][whole]
        against = 100 * (many[more] / costs[few][more] - 1)
        print(f"\n{unit}: one new night of {people} people is {share:.2f} % of the full build (at most "
              f"{INCREMENT_TARGET_PCT}); on {people} people against {few} {against:+.0f} % (at most {MORE_TARGET_PCT})",
              end="")  # fmt: skip
    seconds = {size: costs[size]["increment_s"] - costs[size]["copied"]["copy_s"] for size in costs}
    print(f"\nwithout the copy of the file {100 * (seconds[people] / seconds[few] - 1):+.0f} % in time")
    pace = speed["nights"] / speed["build_cpu_s"]
    print(f"exposure mart, both anchors: {pace:,.0f} nights and {speed['rows'] / speed['build_cpu_s']:,.0f} rows "
          f"a second and core ({EXPOSURE_TARGET:,} rows wanted)")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=5, help="increments, of which the median counts")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    few = max(1, given.people // FEWER)
    with TemporaryDirectory() as folder:
        costs = {size: measure(str(Path(folder) / f"of{size}"), size, given.nights, given.repeats)
                 for size in sorted({few, given.people})}  # fmt: skip
        root = str(Path(folder) / f"of{given.people}")
        speed = in_own_process(str(Path(__file__).resolve()), exposures.__name__, root=root)
    whole = costs[given.people]["full"]
    print(machine(("duckdb", "pyarrow", "numpy")))
    print(f"{given.people} people, {whole['nights']} nights of {lake.STAGES_PER_NIGHT} stages, {lake.DOSES_PER_DAY} "
          f"doses a day, {whole['rows']} rows published, {whole['bytes'] / 1e6:.0f} MB\n")  # fmt: skip
    _print(few, given.people, costs, speed)


if __name__ == "__main__":
    main()

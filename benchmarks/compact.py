"""What a compaction saves: files, bytes, and the time of reading, rebuilding and planning, before and after.

    python benchmarks/compact.py [--people N] [--nights N]

Each of N people hands in an export of sleep (40 stages a night) and a log (3 doses a day) every day, so that the lake
has five files a day and person: three of rows, two manifests. Each part is a process of its own, of which the work
counts, not the imports. In an object store every file is a request.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _warehouse_lake as lake
from _measure import Cost, cpu_seconds, in_own_process, machine, part, run_part, table

_EACH = {"sleep_session": 1, "sleep_stage": lake.STAGES_PER_NIGHT, "substance_use": lake.DOSES_PER_DAY}


@part
def generate(root: str, people: int, nights: int) -> dict[str, Any]:
    """The study, each person's two exports in the lake taken apart into two a day."""
    import pyarrow as pa
    from msgspec.structs import replace as changed

    from ingest._core.files import digest
    from ingest._core.study import open_study
    from ingest.lake.store import commit, manifests, participants, read_all, retire

    lake.make(Path(root), people, nights)
    study = open_study(Path(root))
    for person in participants(study.lake):
        for whole in manifests(study.lake, person):
            rows = {name: found for name, found in read_all(study.lake, [whole]).items() if name in whole.files}
            retire(study.lake, whole)
            for day in range(nights):
                export = digest(whole.source_file_id, str(day))
                of_day = {}
                for name, found in rows.items():
                    some = found.slice(day * _EACH[name], _EACH[name])
                    at = some.schema.get_field_index("source_file_id")
                    ids = pa.array([export] * len(some), some.schema.field(at).type)
                    of_day[name] = some.set_column(at, some.schema.field(at), ids)
                commit(study.lake, changed(whole, source_file_id=export, inputs_hash=export[:16], files={}), of_day)
    return {}


@part
def use(root: str) -> dict[str, Any]:
    """Files and bytes of rows, and CPU seconds of what is done with them."""
    from ingest._core.contract import LAKE, tables
    from ingest._core.study import open_study
    from ingest.lake.plan import plan
    from ingest.lake.store import manifests, participants, read_all
    from ingest.mart.rebuild import rebuild

    study = open_study(Path(root))
    files = [path for name in tables(LAKE) for path in (Path(root) / "lake" / name).rglob("*.parquet")]
    people = participants(study.lake)
    read_all(study.lake, manifests(study.lake, people[0]))  # what is imported only now
    spent = {}
    for name, work in (
        ("read", lambda: [read_all(study.lake, manifests(study.lake, person)) for person in people]),
        ("rebuild", lambda: rebuild(study, people)),
        ("plan", lambda: plan(study)),
    ):
        before = cpu_seconds()
        work()
        spent[name] = cpu_seconds() - before
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files), **spent}


@part
def pack(root: str) -> dict[str, Any]:
    """The compaction."""
    from ingest._core.study import open_study
    from ingest.lake.pack import compact

    return compact(open_study(Path(root))).counts()


def measure(people: int, nights: int) -> dict[str, Cost]:
    """The costs before and after, and of the compaction."""
    script = str(Path(__file__).resolve())
    with TemporaryDirectory() as folder:
        root = str(Path(folder) / "study")
        in_own_process(script, generate.__name__, root=root, people=people, nights=nights)
        before = in_own_process(script, use.__name__, root=root)
        packing = in_own_process(script, pack.__name__, root=root)
        return {"before": before, "packing": packing, "after": in_own_process(script, use.__name__, root=root)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    costs = measure(given.people, given.nights)
    before, after = costs["before"], costs["after"]
    print(machine(("pyarrow", "msgspec")))
    print(f"{given.people} people, {given.nights} nights, two exports a day\n")
    shown = (("files of rows", "files", "{:,.0f}"), ("kB of rows", "bytes", "{:,.0f}"),
             ("CPU s to read all rows", "read", "{:.2f}"), ("CPU s to rebuild the marts", "rebuild", "{:.2f}"),
             ("CPU s to plan a run", "plan", "{:.2f}"))  # fmt: skip
    per = {"bytes": 1e3}
    print(table([
        {"of the lake": name, "before": form.format(before[key] / per.get(key, 1)),
         "after": form.format(after[key] / per.get(key, 1)), "of before": f"{after[key] / before[key]:.2f}"}
        for name, key, form in shown
    ]))  # fmt: skip
    cpu = costs["packing"]["work_cpu_s"]
    print(f"\nthe compaction: {cpu:.2f} CPU s, {cpu / before['read']:.1f} of reading all rows once before, "
          f"{costs['packing']['peak_mb']:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()

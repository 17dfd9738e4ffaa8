"""What an encrypted lake costs: writing and reading the same tables, and publishing them, against the plain one.

    python benchmarks/encryption.py [--people N] [--nights N]

The lake of N people as other benchmarks have it (40 stages a night, 3 doses a day) is made plain, read, coded anew and
published, then rewritten encrypted by `ingest encryption`, and the same is done. Reading is with the check against the
manifest, of bytes or of rows.
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

_SAME = "rows"


@part
def generate(root: str, people: int, nights: int) -> dict[str, Any]:
    """The study, with its marts."""
    from ingest._core.study import open_study
    from ingest.mart.rebuild import rebuild, stale

    lake.make(Path(root), people, nights)
    study = open_study(Path(root))
    rebuild(study, stale(study))
    return {}


@part
def encrypt(root: str) -> dict[str, Any]:
    """The whole lake rewritten, by study.yaml from now on."""
    from ingest._core.study import open_study
    from ingest.encryption import settle_encryption

    with (Path(root) / "study.yaml").open("a", encoding="utf-8") as settings:
        settings.write("\nlake_encryption: true\n")
    before = cpu_seconds()
    return {"files": settle_encryption(open_study(Path(root))), "cpu": cpu_seconds() - before}


@part
def use(root: str) -> dict[str, Any]:
    """Bytes of the lake, rows of it, and CPU seconds of what is done with them."""
    from ingest._core import clock
    from ingest._core.study import open_study
    from ingest.harmonise.identity import entries_by_id
    from ingest.lake.parquet import coded
    from ingest.lake.store import manifests, participants, read_all
    from ingest.publish.warehouse import publish

    study = open_study(Path(root))
    people = participants(study.lake)
    read_all(study.lake, manifests(study.lake, people[0]))  # what is imported only now
    spent = {}
    began = cpu_seconds()
    found = [read_all(study.lake, manifests(study.lake, person)) for person in people]
    spent["read"] = cpu_seconds() - began
    began = cpu_seconds()
    for of_person in found:
        for name, rows in of_person.items():
            coded(study.lake, name, rows)
    spent["write"] = cpu_seconds() - began
    (Path(root) / "warehouse.duckdb").unlink(missing_ok=True)
    began = cpu_seconds()
    publish(study, entries_by_id(study), clock.now())
    spent["publish"] = cpu_seconds() - began
    files = list((Path(root) / "lake").rglob("*.parquet"))
    return {"bytes": sum(path.stat().st_size for path in files), "files": len(files),
            _SAME: sum(len(rows) for each in found for rows in each.values()), **spent}  # fmt: skip


def measure(people: int, nights: int) -> dict[str, Cost]:
    """The costs of the plain lake, of rewriting it, and of the encrypted one."""
    script = str(Path(__file__).resolve())
    with TemporaryDirectory() as folder:
        root = str(Path(folder) / "study")
        in_own_process(script, generate.__name__, root=root, people=people, nights=nights)
        plain = in_own_process(script, use.__name__, root=root)
        rewriting = in_own_process(script, encrypt.__name__, root=root)
        return {"plain": plain, "rewriting": rewriting, "encrypted": in_own_process(script, use.__name__, root=root)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    costs = measure(given.people, given.nights)
    plain, encrypted = costs["plain"], costs["encrypted"]
    assert (plain[_SAME], plain["files"]) == (encrypted[_SAME], encrypted["files"]), "the same rows in as many files"
    assert costs["rewriting"]["files"] == plain["files"], "every file was rewritten"
    print(machine(("pyarrow", "duckdb")))
    print(f"{given.people} people, {given.nights} nights, {plain['files']} files, {plain[_SAME]:,} rows of records\n")
    shown = (("kB of the lake", "bytes", 1e3, "{:,.0f}"), ("CPU s to read all records", "read", 1, "{:.2f}"),
             ("CPU s to code all records", "write", 1, "{:.2f}"),
             ("CPU s to publish all", "publish", 1, "{:.2f}"))  # fmt: skip
    print(table([{"of the lake": name, "plain": form.format(plain[key] / per),
                  "encrypted": form.format(encrypted[key] / per), "of plain": f"{encrypted[key] / plain[key]:.2f}"}
                 for name, key, per, form in shown]))  # fmt: skip
    print(f"\nrewriting the whole lake: {costs['rewriting']['cpu']:.2f} CPU s, "
          f"{costs['rewriting']['cpu'] / plain['read']:.1f} of reading all records once")  # fmt: skip


if __name__ == "__main__":
    main()

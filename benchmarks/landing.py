"""Looking at a landing of many small files and sharing them out in batches, against walking and hashing them.

    python benchmarks/landing.py [--files N]

Each line is a process of its own: the first look, which reads every file, and the second, which finds nothing changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _measure import Cost, in_own_process, machine, part, run_part, table

PEOPLE = 100
HEADER = "substance,taken_at,amount,unit\n"


@part
def generate(root: str, files: int) -> dict[str, Any]:
    """A study of 100 people with `files` logs of one row."""
    from ingest._core.new_study import make_study_folder

    study = Path(root)
    make_study_folder(study)
    settings = (study / "study.yaml").read_text(encoding="utf-8").replace("quiet_seconds: 60", "quiet_seconds: 0")
    (study / "study.yaml").write_text(settings, encoding="utf-8")
    rows = [f"b{number:03d},Europe/Oslo" for number in range(PEOPLE)]
    (study / "roster.csv").write_text("\n".join(["participant_ref,time_zone", *rows, ""]), encoding="utf-8")
    for number in range(files):
        folder = study / "landing" / f"b{number % PEOPLE:03d}"
        folder.mkdir(exist_ok=True)
        day, amount = number // PEOPLE % 28 + 1, 1 + number // PEOPLE
        text = f"{HEADER}kratom,2026-03-{day:02d}T21:30,{amount},g\n"
        (folder / f"log-{number}.csv").write_text(text, encoding="utf-8")
    return {}


@part
def floor(root: str) -> dict[str, Any]:
    """Every file found, stat'ed and hashed."""
    import hashlib
    import os

    count = 0
    for folder, _, names in os.walk(Path(root) / "landing"):
        for name in names:
            path = os.path.join(folder, name)
            os.stat(path)
            with open(path, "rb") as file:
                hashlib.file_digest(file, "sha256")
            count += 1
    return {"files": count, "batches": 0}


@part
def ours(root: str) -> dict[str, Any]:
    """`plan_batches`, as the DAG calls it."""
    from ingest._core.study import open_study
    from ingest.lake.load import plan_batches

    batches = plan_batches(open_study(Path(root)))
    return {"files": sum(map(len, batches)), "batches": len(batches)}


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--part"]:
        run_part(sys.argv[2], sys.argv[3])
        return
    parser = argparse.ArgumentParser(description="Planning a landing of many small files.")
    parser.add_argument("--files", type=int, default=100_000)
    files = parser.parse_args().files
    print(machine(("msgspec", "pyarrow")))
    with TemporaryDirectory() as root:
        study = str(Path(root) / "study")
        in_own_process(__file__, "generate", root=study, files=files)
        costs: dict[str, Cost] = {
            "floor: walk, stat, SHA-256": in_own_process(__file__, "floor", root=study),
            "ours: first look": in_own_process(__file__, "ours", root=study),
            "ours: second look": in_own_process(__file__, "ours", root=study),
        }
    base = costs["floor: walk, stat, SHA-256"]["work_cpu_s"]
    print(f"{files} files of one row, {PEOPLE} people")
    print(table([
        {"": name, "files": str(each["files"]), "batches": str(each["batches"]), "cpu s": f"{each['work_cpu_s']:.1f}",
         "ratio": f"{each['work_cpu_s'] / base:.1f}", "peak MB": f"{each['peak_mb']:.0f}"}
        for name, each in costs.items()
    ]))  # fmt: skip


if __name__ == "__main__":
    main()

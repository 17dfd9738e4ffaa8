"""A use log of a whole study, from its CSV file to the lake's Parquet, against pandas.read_csv on the same file.

    python benchmarks/logs.py [--rows N]

Each line of the result is a process of its own. The floor reads the file and does nothing else: no times, no
units, no ids, no checks, no repeats removed, nothing written. The lines after it do a part of what a load has to do,
with nothing round it: the cells as text into one Parquet file, and a hash of each row besides.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import date
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _measure import Cost, cpu_seconds, in_own_process, machine, part, run_part, table

PEOPLE, DOSES_PER_DAY = 50, 4
_QUIET_S = 3600
_COLUMNS = "participant_ref,event_id,substance,taken_at,amount,unit,route,reason,no_use"
_DOSES = (
    ("kratom", (1.5, 2.0, 2.5, 3.0, 3.7, 5.0), "g", "oral", "pain"),
    ("caffeine", (40.0, 80.0, 95.0, 160.0), "mg", "oral", ""),
    ("nicotine", (1.0, 1.2, 2.0), "mg", "smoked", "craving"),
    ("ethanol", (8.0, 14.0, 20.5), "g", "oral", "social;sleep"),
    ("oxycodone", (5.0, 10.0), "mg", "oral", "pain"),
)


@part
def generate(root: str, rows: int) -> dict[str, Any]:
    """A study of PEOPLE whose uses lie in one canonical log in landing/_logs, by person, then by time."""
    from numpy.random import PCG64, Generator

    from ingest._core.new_study import make_study_folder
    from ingest._core.study import open_study
    from ingest.harmonise.identity import make_key

    study = Path(root)
    make_study_folder(study)
    refs = [f"b{number:03d}" for number in range(PEOPLE)]
    start = date(2005, 1, 3)
    lines = ["participant_ref,time_zone,enrolled_on", *(f"{ref},Europe/Oslo,{start}" for ref in refs)]
    (study / "roster.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = study / "landing" / "_logs" / "doses.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = Generator(PCG64(7))
    shares = [rows // PEOPLE + (number < rows % PEOPLE) for number in range(PEOPLE)]
    with path.open("w", encoding="utf-8") as file:
        file.write(_COLUMNS + "\n")
        for ref, share in zip(refs, shares, strict=True):
            file.writelines(_doses(ref, share, start.toordinal(), rng))
    settled = path.stat().st_mtime - _QUIET_S
    os.utime(path, (settled, settled))
    make_key(open_study(study))
    return {"bytes": path.stat().st_size, "rows": rows}


def _doses(ref: str, n: int, first_day: int, rng: Any) -> list[str]:
    """Lines of one person: a dose in each quarter of each day, one row in twenty a stated no."""
    kinds = rng.integers(0, len(_DOSES), n).tolist()
    picks = rng.random(n).tolist()
    minutes = rng.integers(0, 24 * 60 // DOSES_PER_DAY, n).tolist()
    none = (rng.random(n) < 0.05).tolist()
    lines = []
    for i in range(n):
        substance, amounts, unit, route, reason = _DOSES[kinds[i]]
        minute = i % DOSES_PER_DAY * (24 * 60 // DOSES_PER_DAY) + minutes[i]
        day = date.fromordinal(first_day + i // DOSES_PER_DAY)
        if none[i]:
            lines.append(f"{ref},{ref}-{i},{substance},{day},,,,,yes\n")
        else:
            amount = amounts[int(picks[i] * len(amounts))]
            clock = f"{minute // 60:02d}:{minute % 60:02d}"
            lines.append(f"{ref},{ref}-{i},{substance},{day}T{clock},{amount},{unit},{route},{reason},\n")
    return lines


def _log(root: str) -> Path:
    return Path(root) / "landing" / "_logs" / "doses.csv"


@part
def floor(root: str) -> dict[str, Any]:
    """pandas.read_csv with nothing said."""
    import pandas as pd

    before = cpu_seconds()
    rows = len(pd.read_csv(_log(root)))
    return {"rows": rows, "read_cpu_s": cpu_seconds() - before}


@part
def written(root: str, hashed: bool) -> dict[str, Any]:
    """The cells as text, read by Arrow, with the SHA-256 of each row's id if `hashed`, and one Parquet file, zstd."""
    import pandas as pd  # noqa: F401
    import pyarrow as pa
    from pyarrow import csv, parquet

    before = cpu_seconds()
    names = _COLUMNS.split(",")
    cells = csv.read_csv(
        _log(root),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, null_values=[]
        ),
    )
    if hashed:
        ids = [sha256(text.encode()).hexdigest()[:20] for text in cells["event_id"].to_pylist()]
        cells = cells.append_column("id", pa.array(ids))
    different = [name for name in cells.column_names if name not in ("event_id", "taken_at", "id")]
    parquet.write_table(cells, Path(root) / "cells.parquet", compression="zstd", use_dictionary=different)
    return {"rows": len(cells), "read_cpu_s": cpu_seconds() - before}


@part
def ours(root: str) -> dict[str, Any]:
    """The log decoded, harmonised and committed to the lake, as `ingest run` does it once it is planned."""
    # Arrow loads pandas with the first array it is given; what loading it costs is not counted for the floor either.
    import pandas as pd  # noqa: F401

    from ingest._core.study import open_study
    from ingest.lake.load import load_batch
    from ingest.lake.plan import plan

    study = open_study(Path(root))
    before = cpu_seconds()
    tokens = [arrival.token for arrival in plan(study).wanted]
    planned = cpu_seconds()
    result = load_batch(study, tokens)
    return {"plan_cpu_s": planned - before, "read_cpu_s": cpu_seconds() - planned, **result.counts()}


def measure(rows: int) -> tuple[list[dict[str, str]], dict[str, Cost]]:
    """Rows of the table, and the costs they were made from."""
    script = str(Path(__file__).resolve())
    with TemporaryDirectory() as folder:
        root = str(Path(folder) / "study")
        costs = {"generate": in_own_process(script, "generate", root=root, rows=rows)}
        costs["floor"] = in_own_process(script, "floor", root=root)
        costs["parquet"] = in_own_process(script, "written", root=root, hashed=False)
        costs["hashes"] = in_own_process(script, "written", root=root, hashed=True)
        costs["ours"] = in_own_process(script, "ours", root=root)
    least = costs["floor"]
    names = {
        "floor: pandas.read_csv alone": least,
        "Arrow's reader + one Parquet": costs["parquet"],
        "the same + a SHA-256 a row": costs["hashes"],
        "ours: decode + harmonise + lake": costs["ours"],
    }
    return [_row(name, cost, least, rows) for name, cost in names.items()], costs


def _row(name: str, cost: Cost, least: Cost, rows: int) -> dict[str, str]:
    return {
        "log to lake": name,
        "CPU s": f"{cost['read_cpu_s']:.2f}",
        "whole process": f"{cost['cpu_s']:.2f}",
        "rows per CPU s": f"{rows / cost['read_cpu_s']:,.0f}",
        "ratio": f"{cost['read_cpu_s'] / least['read_cpu_s']:.2f}",
        "whole ratio": f"{cost['cpu_s'] / least['cpu_s']:.2f}",
        "peak MB": f"{cost['peak_mb']:.0f}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the log")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    rows, costs = measure(given.rows)
    print(machine(("pyarrow", "numpy", "pandas")))
    made, loaded = costs["generate"], costs["ours"]
    print(f"{made['rows']} rows of {PEOPLE} participants, {made['bytes'] / 1e6:.0f} MB, {loaded['kept']} uses kept\n")
    print(table(rows))
    print(f"\nbeside ours: looking at landing, hashing and planning {loaded['plan_cpu_s']:.2f} s")


if __name__ == "__main__":
    main()

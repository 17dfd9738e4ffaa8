"""Publishing to PostgreSQL, as a ratio to a plain COPY of the same rows into the same tables.

    python benchmarks/postgres.py [--people N] [--nights N] [--repeats N]

A private server is started for it. The publication reads the lake, copies every table, makes keys and views and looks
at the rows for the planner (ANALYZE). Floor: binary COPY of what it wrote, from files, into empty tables of the same
shape, in one transaction; without keys, and with the same keys made afterwards. Both run by turns; of several the
median counts.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import _warehouse_lake as lake
from _measure import in_own_process, machine, part, run_part, table

TARGET = 2
BLOCK = 1 << 20


@part
def build(root: str, people: int, nights: int) -> dict[str, Any]:
    """The study's lake and marts."""
    from ingest._core.study import open_study
    from ingest.mart.rebuild import rebuild, stale

    lake.make(Path(root), people, nights)
    study = open_study(Path(root))
    return {"nights": rebuild(study, stale(study)).nights}


@part
def published(root: str, url: str) -> dict[str, Any]:
    """A first publication, timed without imports."""
    from ingest._core.study import open_study
    from ingest.publish import postgres_warehouse  # noqa: F401 - which publishing would import
    from ingest.publish.warehouse import publish_study

    study = open_study(Path(root))
    study = replace(study, settings=study.settings.model_copy(update={"warehouse": url}))
    begun = perf_counter()
    done = publish_study(study)
    return {"s": perf_counter() - begun, "rows": sum(done.rows.values())}


@part
def written(url: str, folder: str) -> dict[str, Any]:
    """What was published, as files for a binary COPY."""
    import psycopg

    from ingest._core.contract import published_tables

    size = 0
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        for name in published_tables():
            with (
                (Path(folder) / name).open("wb") as file,
                connection.cursor().copy(f"COPY {name} TO STDOUT (FORMAT binary)") as copy,
            ):
                for block in copy:
                    file.write(block)
                size += file.tell()
    return {"bytes": size}


@part
def copied(root: str, url: str, folder: str) -> dict[str, Any]:
    """The floor: the files into empty tables, then the keys."""
    import psycopg

    from ingest._core.contract import published_tables
    from ingest._core.study import open_study
    from ingest.publish import migrate
    from ingest.publish.postgres_warehouse import key_statement
    from ingest.publish.shape import POSTGRESQL

    settings = open_study(Path(root)).settings
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        begun = perf_counter()
        for statement in migrate.creation(POSTGRESQL, settings):
            connection.execute(statement)
        for name in published_tables():
            with (
                (Path(folder) / name).open("rb") as file,
                connection.cursor().copy(f"COPY {name} FROM STDIN (FORMAT binary)") as copy,
            ):
                while block := file.read(BLOCK):
                    copy.write(block)
        plain = perf_counter() - begun
        for name in published_tables():
            connection.execute(key_statement(name))
        connection.commit()
        return {"s": plain, "with_keys_s": perf_counter() - begun}


def measure(server: Any, root: str, folder: str, people: int, nights: int, repeats: int) -> dict[str, Any]:
    """Seconds of publication and floor, and what was published."""
    script = str(Path(__file__).resolve())
    built = in_own_process(script, build.__name__, root=root, people=people, nights=nights)
    ours, floors = [], []
    for _ in range(repeats):
        url = server.url(server.database())
        ours.append(in_own_process(script, published.__name__, root=root, url=url))
        if not floors:
            size = in_own_process(script, written.__name__, url=url, folder=folder)["bytes"]
        floor_url = server.url(server.database())
        floors.append(in_own_process(script, copied.__name__, root=root, url=floor_url, folder=folder))
    return {"nights": built["nights"], "rows": ours[0]["rows"], "bytes": size, "ours": median(o["s"] for o in ours),
            "floor": median(f["s"] for f in floors), "with_keys": median(f["with_keys_s"] for f in floors)}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--nights", type=int, default=365)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs=2, metavar=("NAME", "ARGUMENTS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.part)
        return
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from servers import start_postgres

    server = start_postgres()
    try:
        with TemporaryDirectory() as root, TemporaryDirectory() as folder:
            found = measure(server, f"{root}/study", folder, given.people, given.nights, given.repeats)
    finally:
        server.close()
    print(machine(("duckdb", "psycopg", "adbc-driver-postgresql")))
    print(f"{given.people} people, {found['nights']} nights, {found['rows']} rows, {found['bytes'] / 1e6:.0f} MB\n")
    print(table([{"to PostgreSQL": name, "s": f"{found[key]:.2f}", "rows/s": f"{found['rows'] / found[key]:,.0f}",
                  "of a plain COPY": f"{found[key] / found['floor']:.2f}",
                  "of COPY and keys": f"{found[key] / found['with_keys']:.2f}"}
                 for name, key in (("floor: COPY", "floor"), ("floor: COPY, then keys", "with_keys"),
                                   ("ours: publication", "ours"))]))  # fmt: skip
    print(f"\nat most {TARGET} times a plain COPY is wanted")


if __name__ == "__main__":
    main()

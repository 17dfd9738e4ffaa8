"""Nights per second of every sleep source, against no more than parsing the same bytes.

    python benchmarks/formats.py [--nights N] [--only SOURCE]

An export of N invented nights (benchmarks/_formats_writers.py) is decoded and harmonised into the lake's tables, in
memory. The floor is a plain parser over the same bytes: json.loads, csv.reader, fitdecode, ElementTree.iterparse,
sqlite3 with `select *`. It keeps nothing: no times, no checks, no repeats removed, no stages laid over each other.
All are measured in one process by its CPU clock; each has one turn that does not count, then the least of several.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sqlite3
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from posixpath import splitext
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).parent))

from _formats_writers import WRITERS, Files, source_of
from _measure import Cost, cpu_seconds, machine, table

if TYPE_CHECKING:
    from ingest._core.settings import Settings

TURNS = 3
_WHEN = datetime(2026, 2, 1, tzinfo=UTC)


def _json(data: bytes) -> int:
    return len(json.loads(data))


def _csv(data: bytes) -> int:
    return sum(1 for _ in csv.reader(io.StringIO(data.decode(), newline="")))


def _xml(data: bytes) -> int:
    count = 0
    for _, element in ET.iterparse(io.BytesIO(data)):
        count += 1
        element.clear()
    return count


def _fit(data: bytes) -> int:
    import fitdecode

    with fitdecode.FitReader(io.BytesIO(data), processor=None) as reader:
        return sum(1 for _ in reader)


def _sqlite(data: bytes) -> int:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "export.db"
        path.write_bytes(data)
        database = sqlite3.connect(path)
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        count = sum(len(database.execute(f'select * from "{name}"').fetchall()) for name in names)
        database.close()
        return count


PARSERS: Mapping[str, tuple[str, Callable[[bytes], int]]] = {
    ".json": ("json.loads", _json),
    ".csv": ("csv.reader", _csv),
    ".xml": ("iterparse", _xml),
    ".fit": ("fitdecode", _fit),
    ".db": ("sqlite3", _sqlite),
}


def _opener(data: bytes) -> Callable[[], io.BytesIO]:
    return lambda: io.BytesIO(data)


def _turns(work: Callable[[], Any]) -> tuple[float, Any]:
    """Least CPU seconds of TURNS turns, and what the last gave; one turn before them is not counted."""
    costs, result = [], work()
    for _ in range(TURNS):
        before = cpu_seconds()
        result = work()
        costs.append(cpu_seconds() - before)
    # The clock of a process moves in steps; no work is free.
    return max(min(costs), 1e-6), result


def one(layout: str, nights: int, settings: Settings) -> Cost:
    """CPU seconds of the floor and of ours over one layout's export. Raises ValueError where a night is lost."""
    from ingest.decode.model import ExportFacts, Head, Member
    from ingest.decode.registry import claims, decoder
    from ingest.harmonise.person import Person
    from ingest.harmonise.sessions import harmonise_sleep

    source = source_of(layout)
    write, stretches = WRITERS[layout]
    files = write(nights)
    members = []
    for ordinal, (name, data) in enumerate(sorted(files.items()), start=1):
        roles = claims(Head(name, len(data), data), settings)
        if list(roles) != [source]:
            raise ValueError(f"{layout}: expected one claim by {source}, got {sorted(roles)}")
        members.append(Member(ordinal, name, roles[source], _opener(data)))
    facts = ExportFacts("0" * 20, source, _WHEN, _WHEN)
    person = Person("0" * 20, "b1", "Africa/Lagos", "roster", "0" * 32)

    def ours() -> tuple[int, int, int]:
        decoded = decoder(source).decode(members, settings)
        lake = harmonise_sleep(decoded, facts, person)
        return len(lake["sleep_session"]), len(lake["sleep_stage"]), len(decoded.tally.refusals)

    least, _ = _turns(lambda: _parse(files))
    cost, (kept, stages, refusals) = _turns(ours)
    if kept != nights or refusals or not stretches * nights <= stages <= 60 * nights:
        raise ValueError(f"{layout}: {nights} nights in, {kept} kept with {stages} stages, {refusals} lines refused")
    return {"kept": kept, "stages": stages, "files": len(files), "bytes": sum(map(len, files.values())),
            "parser": PARSERS[_ending(files)][0], "floor_cpu_s": least, "ours_cpu_s": cost}  # fmt: skip


def _ending(files: Files) -> str:
    (ending,) = {splitext(name)[1] for name in files}
    return ending


def _parse(files: Files) -> int:
    _, parse = PARSERS[_ending(files)]
    return sum(parse(data) for data in files.values())


def without_writer() -> set[str]:
    """Sleep sources that no writer stands for, and writers that stand for no source."""
    from ingest.decode.registry import decoders

    return {each.source for each in decoders() if each.kind == "sleep"} ^ {source_of(layout) for layout in WRITERS}


def measure(nights: int, only: str | None) -> list[tuple[str, Cost]]:
    """Cost by layout, the slowest night first."""
    from ingest._core.new_study import make_study_folder
    from ingest._core.study import open_study

    with TemporaryDirectory() as folder:
        make_study_folder(Path(folder, "study"))
        settings = open_study(Path(folder, "study")).settings
    costs = [(layout, one(layout, nights, settings)) for layout in WRITERS if only in (None, source_of(layout))]
    return sorted(costs, key=lambda pair: -pair[1]["ours_cpu_s"])


def _row(layout: str, cost: Cost, nights: int) -> dict[str, str]:
    return {
        "export to lake tables": layout,
        "files": f"{cost['files']}",
        "MB": f"{cost['bytes'] / 1e6:.2f}",
        "stages/night": f"{cost['stages'] / nights:.0f}",
        "nights per CPU s": f"{nights / cost['ours_cpu_s']:,.0f}",
        "floor": cost["parser"],
        "floor's nights per CPU s": f"{nights / cost['floor_cpu_s']:,.0f}",
        "ratio": f"{cost['ours_cpu_s'] / cost['floor_cpu_s']:.1f}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nights", type=int, default=1000, help="nights of each export")
    parser.add_argument("--only", metavar="SOURCE", help="this source alone")
    given = parser.parse_args()
    missing = without_writer()
    if missing:
        raise SystemExit(f"no writer, or a writer too many: {', '.join(sorted(missing))}")
    costs = measure(given.nights, given.only)
    if not costs:
        raise SystemExit(f"no source {given.only}; there are: {', '.join(sorted(map(source_of, WRITERS)))}")
    print(machine(("msgspec", "pyarrow", "numpy", "fitdecode")))
    print(f"{given.nights} nights of each of {len(costs)} layouts, all kept\n")
    print(table([_row(layout, cost, given.nights) for layout, cost in costs]))


if __name__ == "__main__":
    main()

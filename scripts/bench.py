"""Every benchmark in one run: docs/benchmarks.md with the machine, the date and what each printed, and what got slower.

    python scripts/bench.py [--small] [--only NAME ...] [--to FOLDER]

Ratios stand in benchmarks.json, too; one that is more than a fifth above that of the run before, in the same size, is
shown. A benchmark that was left out keeps what it printed last.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
BENCHMARKS = PROJECT / "benchmarks"
MORE = 1.2
SMALL: dict[str, tuple[str, ...]] = {
    "apple": ("--records", "200000", "--times", "0"),
    "compact": ("--people", "3"),
    "encryption": ("--people", "5"),
    "fitbit": ("--exports", "20"),
    "formats": ("--nights", "200"),
    "landing": ("--files", "10000"),
    "logs": ("--rows", "200000"),
    "nights": ("--people", "20"),
    "pages": ("--people", "50"),
    "postgres": ("--people", "20", "--repeats", "1"),
    "roles": ("--repeats", "3"),
    "takeout": ("--small",),
    "warehouse": ("--people", "50", "--repeats", "3"),
    "scale": ("--people", "10", "50"),
}
"""Sizes that take minutes all together; without --small each takes the size it was made for, and that takes hours."""
_HEAD = """# Benchmarks

`make bench` writes this page. Each line is a ratio to a floor, or to a peer, that ran on the same input in the same
run: a machine's speed cancels out, mostly. CPU seconds are user and system time of the process that did the work.
"""


def names() -> list[str]:
    """Every benchmark."""
    return sorted(path.stem for path in BENCHMARKS.glob("[a-z]*.py"))


def measured(name: str, small: bool) -> dict[str, Any]:
    """Run one: what it printed, and its ratios by table, line and column."""
    arguments = SMALL.get(name, ()) if small else ()
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "tables.jsonl"
        words = [sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments]
        environment = {**os.environ, "BENCHMARK_TABLES": str(tables)}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            sys.exit(f"benchmarks/{name}.py {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        found = [json.loads(line) for line in tables.read_text().splitlines()]
    return {"arguments": list(arguments), "date": datetime.now(UTC).date().isoformat(), "printed": done.stdout.strip(),
            "ratios": dict(each for rows in found for each in ratios(rows))}  # fmt: skip


def ratios(rows: list[dict[str, str]]) -> list[tuple[str, float]]:
    """The ratios of a table: columns whose name says so, by the line's first cell."""
    found = []
    for row in rows:
        (label, *_), columns = row.values(), list(row)[1:]
        for column in columns:
            number = re.match(r"-?[\d.,]+", row[column])
            if number and ("ratio" in column or column.startswith("of ")):
                found.append((f"{label} | {column}", float(number[0].replace(",", ""))))
    return found


def slower(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Lines about ratios that rose by more than a fifth, of benchmarks that ran in the same size both times."""
    lines = []
    for name, found in now.items():
        old = before.get(name, {})
        if old.get("arguments") != found["arguments"]:
            continue
        for what, ratio in found["ratios"].items():
            was = old["ratios"].get(what)
            if was is not None and was > 0 and ratio > MORE * was:
                lines.append(f"{name}: {what}: {was:g} -> {ratio:g} (+{100 * (ratio / was - 1):.0f} %)")
    return lines


def page(found: dict[str, Any], regressions: list[str]) -> str:
    """docs/benchmarks.md."""
    told = "\n".join(f"- {line}" for line in regressions) or "None against the run before."
    parts = [_HEAD, f"## More than a fifth above the run before\n\n{told}\n"]
    for name, each in sorted(found.items()):
        command = " ".join(["python", f"benchmarks/{name}.py", *each["arguments"]])
        parts.append(f"## {name}\n\n`{command}`, {each['date']}\n\n```text\n{each['printed']}\n```\n")
    return "\n".join(parts)


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="sizes that take minutes all together")
    parser.add_argument("--only", nargs="+", choices=names(), default=names(), help="these benchmarks alone")
    parser.add_argument("--to", type=Path, default=PROJECT / "docs", help="folder of benchmarks.md and benchmarks.json")
    given = parser.parse_args()
    held = given.to / "benchmarks.json"
    before: dict[str, Any] = json.loads(held.read_text()) if held.exists() else {}
    now = {}
    for name in given.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        now[name] = measured(name, given.small)
    regressions = slower(before, now)
    found = {**before, **now}
    held.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (given.to / "benchmarks.md").write_text(page(found, regressions), encoding="utf-8")
    print("\n".join(regressions) or "No ratio rose by more than a fifth.")


if __name__ == "__main__":
    main()

"""What a piece of work costs: CPU and memory of a process of its own."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

PARTS: dict[str, Callable[..., dict[str, Any]]] = {}
Cost = dict[str, Any]


def part(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Make a function callable by `in_own_process`, under its name."""
    PARTS[function.__name__] = function
    return function


def in_own_process(script: str, name: str, **arguments: object) -> Cost:
    """What the part returns, and of its whole process: `cpu_s`, `wall_s`, `peak_mb`.

    `cpu_s` is user + system time over all threads, start of Python and imports included; `work_cpu_s` leaves
    out what passed before the part was called.
    """
    words = [sys.executable, script, "--part", name, json.dumps(arguments)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    cost: Cost = json.loads(done.stdout.splitlines()[-1])
    return cost


def run_part(name: str, arguments: str) -> None:
    """The other end of `in_own_process`: do the part, print its result and cost as one line of JSON."""
    before, begun = cpu_seconds(), perf_counter()
    result = PARTS[name](**json.loads(arguments))
    wall = perf_counter() - begun
    cpu = cpu_seconds()
    cost = {**result, "cpu_s": cpu, "work_cpu_s": cpu - before, "wall_s": wall, "peak_mb": peak_mb()}
    print(json.dumps(cost))


def cpu_seconds() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Highest resident memory of this process, MB (10^6 bytes)."""
    try:
        # ru_maxrss of a child begins with its parent's peak on Linux; VmHWM is the process's own.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (FileNotFoundError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def machine(packages: tuple[str, ...]) -> str:
    """One line: processor, cores, system, Python and the packages' versions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (FileNotFoundError, StopIteration):
        model = platform.processor() or platform.machine()
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {versions}"


def table(rows: list[Mapping[str, str]]) -> str:
    """Rows as a plain table, the first column to the left; also a line of JSON in the file BENCHMARK_TABLES names."""
    if to := os.environ.get("BENCHMARK_TABLES"):
        with Path(to).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(rows) + "\n")
    names = list(rows[0])
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    lines = [{name: name for name in names}, *rows]
    return "\n".join("  ".join(line[name].ljust(width[name]) if name == names[0] else line[name].rjust(width[name])
                               for name in names).rstrip() for line in lines)  # fmt: skip

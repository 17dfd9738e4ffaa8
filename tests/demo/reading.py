"""Readers of the demo study that share nothing with its writer."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

SLEEP_WORDS = {"light", "deep", "rem", "asleep"}


def sleep_texts(root: Path, exports: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(name without folders, text) of every sleep-*.json of a person's readable exports."""
    for export in exports:
        path = root / export
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as file:
                for name in sorted(file.namelist()):
                    if name.split("/")[-1].startswith("sleep-"):
                        yield name.split("/")[-1], file.read(name).decode()
        elif path.name.startswith("sleep-"):
            yield path.name, path.read_text()


def logs_of(root: Path, exports: tuple[str, ...]) -> dict[int, dict[str, Any]]:
    """Fitbit logs by id."""
    return {log["logId"]: log for _, text in sleep_texts(root, exports) for log in json.loads(text)}


def kratom_log(root: Path, ref: str) -> list[dict[str, str]]:
    with (root / f"landing/{ref}/logs/kratom-log.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def painted(log: dict[str, Any]) -> list[str]:
    """The level of every half-minute, short wakes laid over."""
    start = datetime.fromisoformat(log["startTime"])
    cells: list[str] = []
    for segment in log["levels"]["data"]:
        assert datetime.fromisoformat(segment["dateTime"]) - start == timedelta(seconds=30 * len(cells))
        cells += [segment["level"]] * (segment["seconds"] // 30)
    for wake in log["levels"].get("shortData", []):
        at = int((datetime.fromisoformat(wake["dateTime"]) - start).total_seconds()) // 30
        for i in range(at, at + wake["seconds"] // 30):
            cells[i] = wake["level"]
    return cells


def asleep_and_waso(log: dict[str, Any]) -> tuple[float, float]:
    """Minutes asleep, and minutes awake between the first and the last sleep."""
    cells = painted(log)
    asleep = [i for i, level in enumerate(cells) if level in SLEEP_WORDS]
    inside = cells[asleep[0] : asleep[-1] + 1]
    return len(asleep) / 2, (len(inside) - len(asleep)) / 2


def exposure_day(taken_at: str) -> date:
    """The day a row of the log speaks of: a bare date itself, a clock the day that runs from five to five."""
    moment = datetime.fromisoformat(taken_at)
    return (moment if len(taken_at) == 10 else moment - timedelta(hours=5)).date()


def is_bad(row: dict[str, str]) -> bool:
    """True for the rows that are wrong on purpose."""
    try:
        datetime.fromisoformat(row["taken_at"])
    except ValueError:
        return True
    return row["unit"] == "handful"


def kratom_rows(root: Path, ref: str) -> list[dict[str, str]]:
    """The good kratom rows of a person's log."""
    return [row for row in kratom_log(root, ref) if row["substance"] == "kratom" and not is_bad(row)]

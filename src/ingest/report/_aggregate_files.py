"""The files of an aggregate release: its tables, and what explains them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest._core.settings import Settings
from ingest.report._aggregate_cells import ALL
from ingest.report._release_files import settle_times, sums, write_sums, write_table
from ingest.report._release_package import released_settings
from ingest.report._small_cells import Key
from ingest.report.safe_tables import SUPPRESSED, Limits

_TEXT, _COUNT, _NUMBER = "string", "integer", "number"
_KINDS = {_TEXT: pa.string(), _COUNT: pa.int64(), _NUMBER: pa.float64()}
_BASIS = ("basis", _TEXT, "Who tells of the night: the `wearable` or the `diary`.")
_PHASE = ("phase", _TEXT, "Phase of the study, `none` outside of all; NULL over all.")
_WEEK = ("week", _TEXT, "Weeks since enrolled_on, 0 the first, `unknown` without that date; NULL over all.")
_MEASURE = "`all`: how many participants and rows there are; else what mean and sd are of."
_LAST = [
    ("participants", _COUNT, "Participants in the cell, rounded."),
    ("status", _TEXT, "`shown`, `suppressed`, or `held`: the value of an earlier release."),
]
TABLES: Mapping[str, tuple[str, list[tuple[str, str, str]]]] = {
    "cohort_nights": (
        "Nights by phase, week since enrolment and the day's dose band",
        [
            _BASIS, ("measure", _TEXT, _MEASURE + " tst, waso and sol in minutes, se in per cent of time in bed."),
            _PHASE, _WEEK, ("substance", _TEXT, "Whose dose band; NULL over all bands."),
            ("unit", _TEXT, "Unit of the band."),
            ("dose_band", _TEXT, "Band of the day's amount, `unknown` without one; NULL over all."),
            ("rows", _COUNT, "Nights in the cell, rounded."),
            ("mean", _NUMBER, "Mean over nights for which the measure is known, rounded."),
            ("sd", _NUMBER, "Their standard deviation (n - 1), rounded."), *_LAST,
        ],
    ),
    "cohort_coverage": (
        "Share of dates with a night, a diary, a log",
        [
            ("measure", _TEXT, "`all`: participants and dates; else what mean is the share of, in per cent."),
            _PHASE, _WEEK, ("rows", _COUNT, "Dates in the cell, rounded."),
            ("mean", _NUMBER, "Dates that have it, in per cent, rounded."), *_LAST,
        ],
    ),
    "cohort_states": (
        "States of the insomnia symptoms by week since enrolment",
        [_BASIS, _WEEK, ("state", _TEXT, "State after the week as in insomnia_week; NULL over all."), *_LAST],
    ),
}  # fmt: skip


def row_of(basis: str, measure: str, key: Key, values: Mapping[str, Any] | None, status: str) -> dict[str, Any]:
    """One row, with what its table has columns for."""
    row: dict[str, Any] = {"basis": basis, "measure": measure, "status": status, **(values or {})}
    for name, value in key:
        if name.startswith("dose_band/"):
            _, row["substance"], row["unit"] = name.split("/")
            row["dose_band"] = value
        else:
            row[name] = value
    return row


def write_aggregates(
    folder: Path, settings: Settings, name: str, rows: Mapping[str, Sequence[Mapping[str, Any]]], limits: Limits
) -> dict[str, int]:
    """All files of the release; returns the number of rows by table."""
    counts, resources = {}, []
    for table, (title, columns) in TABLES.items():
        if table in rows:
            schema = pa.schema([pa.field(column, _KINDS[kind]) for column, kind, _ in columns])
            picked = [{column: row.get(column) for column in schema.names} for row in rows[table]]
            counts[table], _ = write_table(folder, table, schema, [pa.Table.from_pylist(picked, schema=schema)])
            resources.append(_resource(folder, table, title, columns))
    package = {
        "name": f"{settings.study}-{name}".lower(), "title": f"Study {settings.study}, aggregates {name}",
        "version": name, "profile": "data-package", "resources": resources,
    }  # fmt: skip
    about = {
        "release": name, "kind": "aggregates", "study": settings.study, "package_version": version("sleep-ingest"),
        "tables": counts, "settings": released_settings(settings),
    }  # fmt: skip
    _write(folder / "datapackage.json", _json(package))
    _write(folder / "release.json", _json(about))
    _write(folder / "README.txt", _readme(settings, name, counts, limits))
    write_sums(folder)
    settle_times(folder)
    return counts


def _resource(folder: Path, table: str, title: str, columns: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    hashes = sums(folder)
    fields = [{"name": name, "type": kind, "description": text} for name, kind, text in columns]
    path, parquet = f"csv/{table}.csv", f"parquet/{table}.parquet"
    return {
        "name": table.replace("_", "-"), "title": title, "type": "table", "path": path, "format": "csv",
        "mediatype": "text/csv", "encoding": "utf-8", "hash": f"sha256:{hashes[path]}",
        "bytes": (folder / path).stat().st_size, "parquet": {"path": parquet, "hash": f"sha256:{hashes[parquet]}"},
        "schema": {"fields": fields, "missingValues": [""]},
    }  # fmt: skip


def _readme(settings: Settings, name: str, counts: Mapping[str, int], limits: Limits) -> str:
    listed = "\n".join(f"  {table:<16}{rows:>8,}  {TABLES[table][0]}" for table, rows in counts.items())
    said = [
        "Aggregates over participants who agreed to releases; no row is about one person. They show what goes with "
        "what, never causes.",
        f"A cell of fewer than {limits.min_participants} participants is {SUPPRESSED}, and so are as many others as it "
        "takes that none follows from what is shown here or was shown in an earlier release; its numbers are NULL, "
        "never 0. `held` has the value of an earlier release, since too few people tell it from today's.",
        f"Counts are rounded to multiples of {limits.round_to}, other numbers to {limits.digits} significant digits. "
        f"A mean is of the nights that have the measure, of {limits.min_participants} participants or more; "
        f"participants and rows stand in the rows of measure `{ALL}`.",
    ]
    parts = [f"Study {settings.study}, aggregates {name}", *(textwrap.fill(text, 100) for text in said),
             f"Tables, with their rows\n{listed}"]  # fmt: skip
    if settings.part2:
        parts.append(f"NOTICE (42 CFR Part 2)\n{(settings.part2_notice or '').strip()}")
    return "\n\n".join(parts) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


def _json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

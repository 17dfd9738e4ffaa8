"""What stands beside the tables of a release: datapackage.json, release.json, README.txt, dictionary and SQL."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ingest._core import contract
from ingest._core.clock import tzdata_version
from ingest._core.dictionary import render
from ingest._core.settings import Settings
from ingest.mart.sql import statements
from ingest.publish import views
from ingest.publish.contents import Field
from ingest.report._release_choice import Chosen, stage
from ingest.report._release_files import sums

RELEASED_SETTINGS = {
    "study", "time_zone", "history", "source_priority", "bounds", "samples", "nights", "trend", "exposure", "phases",
    "association", "insomnia", "journals", "publish", "scales", "release", "small_cells", "part2", "substances",
    "safety", "logs",
}  # fmt: skip
WITHHELD_SETTINGS = {
    "quiet_seconds",
    "batch_bytes",
    "decode_memory_mb",
    "warehouse",
    "allow_shared",
    "monitor",
    "part2_notice",
}
WITHHELD_SETTINGS |= {"landing", "lake", "object_storage"}  # addresses, with names of buckets
WITHHELD_SETTINGS |= {"audit", "access", "lake_encryption"}  # how the study is kept, not what its rows are
_WITHIN = {"safety": {"contact", "protocol"}, "logs": {"__all__": {"files"}}}
_FIELD_KEYS = ("name", "type", "description", "unit", "source", "basis", "constraints")
_KEYS_ELSEWHERE = (
    (("participant_id",), "participant", ("participant_id",)),
    (("participant_id", "main_session_id"), "night_source", ("participant_id", "session_id")),
    (("source_file_id", "participant_id"), "source_file", ("source_file_id", "participant_id")),
)
_FORMULA_NOTE = (
    "Of CSV: a text that begins with = + - @, their full-width forms, a tab, a line end or a NUL has an apostrophe "
    "before it, so that no spreadsheet takes it for a formula. Numbers are as they are, and so are the Parquet files."
)


@dataclass(frozen=True)
class Contents:
    """What a release holds: its name, fields and rows by table, who, and what made it.

    `empty_texts` are the columns of each table in which a text is empty, which a CSV does not tell from NULL.
    """

    name: str
    fields: dict[str, list[Field]]
    rows: dict[str, int]
    empty_texts: dict[str, set[str]]
    people: Chosen
    definitions: list[str]
    decoders: list[dict[str, Any]]


def write_beside(folder: Path, settings: Settings, columns: views.Columns, of: Contents) -> None:
    """All files of the release but its tables and SHA256SUMS."""
    said = released_settings(settings)
    for name, text in {
        **{f"sql/marts/{mart}.sql": text for mart, text in statements().items()},
        **{f"sql/views/{view}.sql": views.select(view, columns) for view in contract.tables(contract.VIEW)},
        "dictionary.md": render("md"),
        "dictionary.csv": render("csv"),
        "release.json": _json(_release(settings, said, of)),
        "README.txt": readme(settings, of),
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    package = _json(data_package(settings, of, folder))
    (folder / "datapackage.json").write_text(package, encoding="utf-8", newline="")


def released_settings(settings: Settings) -> dict[str, Any]:
    """The settings as they apply, without paths, URLs, contacts, and what only tells files apart."""
    include = dict.fromkeys(RELEASED_SETTINGS, True)
    exclude: Any = _WITHIN if settings.safety is not None else {"logs": _WITHIN["logs"]}
    return settings.model_dump(mode="json", include=include, exclude=exclude, by_alias=True)


def _release(settings: Settings, said: dict[str, Any], of: Contents) -> dict[str, Any]:
    return {
        "release": of.name,
        "study": settings.study,
        "package_version": version("sleep-ingest"),
        "definitions_version": ", ".join(of.definitions),
        "tzdata_version": tzdata_version(),
        "decoders": of.decoders,
        "participants": {"released": len(of.people.ids), "left_out": of.people.left_out},
        "tables": of.rows,
        "settings": said,
    }


def data_package(settings: Settings, of: Contents, folder: Path) -> dict[str, Any]:
    """The Frictionless data package: a resource for each table's CSV, which names the Parquet file of the same rows."""
    hashes = sums(folder)
    resources = []
    for table, fields in of.fields.items():
        path, parquet = f"csv/{table}.csv", f"parquet/{table}.parquet"
        resources.append(
            {
                "name": table,
                "title": contract.schemas()[table]["title"],
                "description": contract.schemas()[table]["description"],
                "type": "table",
                "path": path,
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "hash": f"sha256:{hashes[path]}",
                "bytes": (folder / path).stat().st_size,
                "parquet": {"path": parquet, "hash": f"sha256:{hashes[parquet]}"},
                "schema": _schema(table, fields, of),
            }
        )
    return {
        "name": f"{settings.study}-{of.name}".lower(),
        "title": f"Study {settings.study}, release {of.name}",
        "description": _FORMULA_NOTE,
        "version": of.name,
        "profile": "data-package",
        "resources": resources,
    }


def _schema(table: str, fields: list[Field], of: Contents) -> dict[str, Any]:
    names = {field["name"] for field in fields}
    keys = [
        {"fields": list(here), "reference": {"resource": other, "fields": list(there)}}
        for here, other, there in _KEYS_ELSEWHERE
        if other in of.fields and other != table and stage(table) != contract.COHORT and set(here) <= names
    ]
    return {
        "fields": [_field(field, of.empty_texts[table]) for field in fields],
        "primaryKey": contract.primary_key(table),
        **({"foreignKeys": keys} if keys else {}),
        "missingValues": [""],
    }


def _field(field: Field, empty: set[str]) -> dict[str, Any]:
    found = {key: field[key] for key in _FIELD_KEYS if key in field}
    if field["name"] in empty:
        found["constraints"] = {name: limit for name, limit in found["constraints"].items() if name != "required"}
    return found


def readme(settings: Settings, of: Contents) -> str:
    """README.txt: what the set is, how to open it, and what may be done with it."""
    listed = "\n".join(f"  {table:<16}{rows:>12,}  {_title(table)}" for table, rows in of.rows.items())
    left = "".join(f"\n  left out, {reason}: {count}" for reason, count in of.people.left_out.items())
    parts = [
        f"Study {settings.study}, release {of.name}",
        _wrapped(
            "A frozen set of the study's tables. It shows what goes with what, never causes; it is a monitoring aid "
            "and no diagnosis. It holds health records of people: keep it where only those can read it who may."
        ),
        f"Participants\n  released: {len(of.people.ids)}{left}",
        f"Tables, with their rows\n{listed}",
        _HOW_TO_OPEN,
        "\n".join(_wrapped(text) for text in _notes(settings, of)),
    ]
    if settings.part2:
        parts.append(f"NOTICE (42 CFR Part 2)\n{(settings.part2_notice or '').strip()}")
    return "\n\n".join(parts) + "\n"


_HOW_TO_OPEN = """\
How to open it
  sha256sum -c SHA256SUMS                                          nothing was changed
  Python   pandas.read_parquet("parquet/night.parquet")
  R        arrow::read_parquet("parquet/night.parquet")
  SQL      duckdb -c "SELECT * FROM 'parquet/night.parquet' LIMIT 5"
  else     csv/ has the same rows; datapackage.json says each column's type, unit, definition and allowed values
  sql/ is the SQL of marts and views; dictionary.md describes every table; release.json says what made the set"""


def _notes(settings: Settings, of: Contents) -> list[str]:
    notes = [
        "NULL, in CSV an empty cell, means that the value is not known or does not apply, never 0. Names that end in "
        "_utc or _at are instants in UTC, those in _local local clocks; durations are minutes.",
        _FORMULA_NOTE,
        "consents.csv has the scopes that each participant has granted, and until when.",
    ]
    if settings.release.participant_ids == "release":
        notes.append("The participants' ids are this release's own and name nobody in another one.")
    if settings.release.dates == "shifted":
        notes.append(
            "Dates and local clocks are shifted, for each participant by a number of whole weeks of its own; weekdays "
            "are true, seasons and years are not. Instants are left out."
        )
    if of.people.left_out and any(stage(table) == contract.COHORT for table in of.rows):
        notes.append("Rows of the whole cohort are left out, since people are whose nights went into them.")
    return notes


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100)


def _title(table: str) -> str:
    return str(contract.schemas()[table]["title"])


def _json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"

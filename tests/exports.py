"""Every fixture that can be decoded, of every decoder, with the settings it is read with; and the way from its bytes
to rows of the lake without a study around it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pyarrow as pa

from decode.log import diary_cases, workbooks
from fixtures import make
from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.claim import UNKNOWN, File, sort_out
from ingest.decode.model import Decoded, ExportFacts, Tally
from ingest.decode.registry import decoder
from ingest.harmonise.person import Person
from ingest.lake.load import harmonised

MADE = datetime(2026, 5, 1, tzinfo=UTC)
PEOPLE = {ref: Person(f"p{number:020d}", ref, "Europe/Oslo", "roster", f"5ec{number}")
          for number, ref in enumerate(("P01", "P02"), start=1)}  # fmt: skip
_SCALES: dict[str, Any] = {
    "name": "evening",
    "layout": "scale",
    "date": {"column": "day"},
    "record_id": "id",
    "date_means": "use_day",
    "scale": {"instrument": "DAILY", "items": {"anxiety": "anx"}},
}


@dataclass(frozen=True)
class Export:
    """The files of one fixture by name, of one decoder, and the settings of a study as study.yaml has them."""

    source: str
    situation: str
    files: Mapping[str, bytes]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def with_file(self, name: str, data: bytes) -> Export:
        """The same with one file replaced."""
        return Export(self.source, self.situation, {**self.files, name: data}, self.settings)


@cache
def exports() -> tuple[Export, ...]:
    """Every fixture, in the order of sources and situations, none of them refused as a whole."""
    return tuple(each for each in (*_of_sleep(), *_of_logs()) if each.files)


def _of_sleep() -> Iterator[Export]:
    for source in make.sources():
        for name in sorted(make.situations(source)):
            if not make.expected(source, name)["refused"]:
                yield Export(source, name, make.members(source, name))


def _of_logs() -> Iterator[Export]:
    for group in ("csv_log", "redcap", "tlfb", "kratom_tracker", "psychonaut_journal", "whoop_journal"):
        source = "csv_log" if group in ("redcap", "tlfb") else group
        for path in sorted((make.FIXTURES / group).glob("*/expected.json")):
            said = json.loads(path.read_text(encoding="utf-8"))
            settings = said.get("settings") or {"logs": said.get("logs", [])}
            yield Export(source, f"{group}/{path.parent.name}", make.members(group, path.parent.name), settings)
    diary = f"{diary_cases.HEADER}\n{diary_cases.line()}\n{diary_cases.line('2026-03-03')}\n".encode()
    yield Export("csv_log", "diary", {"diary.csv": diary}, {"logs": [diary_cases.mapping()]})
    scale = {"scale.csv": b"id,day,anx\n1,2026-03-02,2\n2,2026-03-03,1\n"}
    yield Export("csv_log", "scale", scale, {"logs": [_SCALES]})
    plain = make.members("csv_log", "canonical-long-log")["log.csv"].decode("utf-8-sig")
    book = workbooks.workbook({"log": list(csv.reader(io.StringIO(plain)))})
    yield Export("csv_log", "workbook", {"log.xlsx": book})


@cache
def _settings(text: str) -> Settings:
    return Settings.model_validate({"study": "exports", **json.loads(text)})


def settings_of(export: Export) -> Settings:
    """The study's settings, typed."""
    return _settings(json.dumps(export.settings, sort_keys=True))


@dataclass
class Came:
    """What became of an export: rows by table, what was refused, which source took it; `decoded` as it came."""

    tables: dict[str, list[pa.Table]] = field(default_factory=dict)
    tallies: list[Tally] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    decoded: list[Decoded] = field(default_factory=list)


def taken(export: Export, archived: bool = False) -> Came:
    """Claimed, decoded and harmonised as a load does it; errors other than Refused go on."""
    settings = settings_of(export)
    files = [File(name, len(data), lambda data=data: io.BytesIO(data))  # type: ignore[misc]
             for name, data in export.files.items()]  # fmt: skip
    came = Came()
    for claimed in sort_out(files, settings, archived):
        came.refused += [refused for _, refused in claimed.refused]
        came.sources.append(claimed.source)
        if claimed.source == UNKNOWN or not claimed.members:
            continue
        facts = ExportFacts("f" * 64, claimed.source, MADE, MADE)
        try:
            decoded = decoder(claimed.source).decode(claimed.members, settings)
            came.decoded.append(decoded)
            came.tallies.append(decoded.tally)
            for of_one in harmonised(decoded, facts, "P01", PEOPLE, settings.substances).values():
                for name, table in of_one.items():
                    came.tables.setdefault(name, []).append(table)
        except Refused as refused:
            came.refused.append(refused)
    return came

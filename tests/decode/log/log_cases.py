"""Reading logs in tests: the fixtures with what they must give, and logs written in the test itself."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest._core.settings import Settings
from ingest.decode.log.csv_log import DECODER
from ingest.decode.model import HEAD_BYTES, Decoded, ExportFacts, Head, Member
from ingest.harmonise.person import Person
from ingest.harmonise.uses import harmonise_uses

FIXTURES = Path(__file__).parents[2] / "fixtures" / "csv_log"
ARRIVED = datetime(2026, 5, 1, tzinfo=UTC)
FACTS = ExportFacts("f" * 64, "csv_log", ARRIVED, datetime(2026, 4, 30, 12, tzinfo=UTC))
PEOPLE = {
    "P01": Person("p00000000000000000001", "P01", "Europe/Oslo", "roster", "5ec1"),
    "P02": Person("p00000000000000000002", "P02", "America/New_York", "roster", "5ec2"),
}


@dataclass(frozen=True)
class Situation:
    """A fixture: the file's bytes, the settings it is read with, what must come of it."""

    name: str
    data: bytes
    settings: Settings
    expected: dict[str, Any]


def situations() -> list[Situation]:
    """Every folder of tests/fixtures/csv_log."""
    return [_situation(folder) for folder in sorted(FIXTURES.iterdir()) if folder.is_dir()]


def settings_with(*mappings: dict[str, Any]) -> Settings:
    """Settings of a study with these entries of `logs`."""
    return Settings.model_validate({"study": "tests", "logs": list(mappings)})


def role_of(data: bytes, settings: Settings | None = None, name: str = "log.csv") -> str | None:
    """The role the decoder gives a file."""
    return DECODER.claim(Head(name, len(data), data[:HEAD_BYTES]), settings or settings_with())


def decode(data: bytes | str, settings: Settings | None = None, name: str = "log.csv") -> Decoded:
    """One file decoded in the role the decoder gives it."""
    settings = settings or settings_with()
    raw = data.encode() if isinstance(data, str) else data
    role = role_of(raw, settings, name)
    assert role is not None, "no decoder claims this log"
    return DECODER.decode([Member(1, name, role, lambda: io.BytesIO(raw))], settings)


def harmonise(decoded: Decoded, only: str | None = "P01", facts: ExportFacts = FACTS) -> pa.Table:
    """The uses of everybody, one table after the other by participant_id."""
    assert decoded.uses is not None
    shares = harmonise_uses(decoded.uses, decoded.tally, facts, PEOPLE, only)
    assert list(shares) == sorted(shares)
    return pa.concat_tables(shares.values()) if shares else pa.table({"use_id": pa.array([], pa.string())})


def uses_of(data: bytes | str, settings: Settings | None = None, only: str | None = "P01") -> list[dict[str, Any]]:
    """Rows of substance_use of one file."""
    rows: list[dict[str, Any]] = harmonise(decode(data, settings), only).to_pylist()
    return rows


def lines_of(decoded: Decoded, kind: str) -> list[list[str]]:
    """Locator and reason of the refusals of one kind, in their order."""
    return [[each.locator, each.reason] for each in decoded.tally.refusals if each.kind == kind]


def _situation(folder: Path) -> Situation:
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    settings = settings_with(*expected.get("logs", []))
    return Situation(folder.name, (folder / expected["file"]).read_bytes(), settings, expected)

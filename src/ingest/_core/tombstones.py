"""identity/tombstones.csv: who was erased, as keyed hashes that say nothing and let nobody return."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from ingest._core.errors import Terminal
from ingest._core.files import write_bytes
from ingest._core.keys import former_keys, stored_key
from ingest._core.pseudonyms import participant_id, read_key, tombstone_of

TOMBSTONES = "tombstones.csv"
_COLUMNS = ("tombstone", "erased_on")


@dataclass(frozen=True)
class Tombstones:
    """The days of erasure by tombstone, and the keys they are made with: the present one and those before."""

    days: dict[str, date] = field(default_factory=dict)
    key: bytes = b""
    former: tuple[bytes, ...] = ()

    def holds(self, ref: str) -> bool:
        """True if whoever has this ref was erased, under whatever key of the study that was."""
        keys = (self.key, *self.former) if self.days else ()
        return any(tombstone_of(key, participant_id(key, ref)) in self.days for key in keys)

    def holds_id(self, pid: str) -> bool:
        """The same of a participant_id."""
        return bool(self.days) and tombstone_of(self.key, pid) in self.days

    def among(self, ids: Iterable[str]) -> list[str]:
        """Those of the participant_ids that were erased, sorted."""
        return sorted(pid for pid in ids if self.holds_id(pid))


def tombstones(identity: Path) -> Tombstones:
    """Those of a study; none where there is no file. Raises Terminal where it is damaged, or its key is gone."""
    path = identity / TOMBSTONES
    if not path.exists():
        return Tombstones()
    try:
        header, *rows = csv.reader(io.StringIO(path.read_bytes().decode()))
        days = {stone: date.fromisoformat(day) for stone, day in rows}
        if tuple(header) != _COLUMNS or any(len(stone) != 64 for stone in days):
            raise ValueError
    except ValueError as error:
        raise Terminal("identity/tombstones.csv is damaged; restore it from your backup") from error
    key = stored_key(identity / "key")
    return Tombstones(days, key, former_keys(identity, key))


def add_tombstone(identity: Path, pid: str, on: date) -> None:
    """Let the participant_id not return; one that stands keeps its day."""
    key = read_key(identity / "key")
    days = {tombstone_of(key, pid): on} | tombstones(identity).days
    lines = [",".join(_COLUMNS), *(f"{stone},{day.isoformat()}" for stone, day in sorted(days.items()))]
    write_bytes(identity / TOMBSTONES, ("\n".join(lines) + "\n").encode(), 0o600)

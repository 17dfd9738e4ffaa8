"""identity/aggregates/: what aggregate releases have shown, and of whom, as keyed hashes.

A file for each release, kept for good: without it the next release could be subtracted from it. The hashes are made
with a key of their own from the participant's ref, so that they outlive a change of the study's key; who was erased
stays in them as such a hash, from which neither ref nor participant_id follows.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingest._core.errors import Terminal, WrongUse
from ingest._core.files import write_bytes
from ingest._core.pseudonyms import KEY_BYTES, keyed
from ingest._core.study import Study
from ingest.harmonise.identity import read_links
from ingest.report._aggregate_between import Earlier
from ingest.report._aggregate_cells import Contribution, Universe
from ingest.report._small_cells import Key

_DIGITS = 16


@dataclass(frozen=True)
class Told:
    """Of one universe of a release: everybody behind its cells, and the values it showed."""

    people: Mapping[Key, Mapping[str, str]]
    values: Mapping[Key, Mapping[str, Any]]

    @property
    def earlier(self) -> Earlier:
        """As what a later release is held against."""
        return Earlier(self.people, frozenset(self.values))


@dataclass(frozen=True)
class Record:
    """One release: its place among all, and its universes by name."""

    release: str
    number: int
    told: Mapping[str, Told]


class Tokens:
    """Keyed hashes of people and of what they contribute."""

    def __init__(self, study: Study) -> None:
        self._key = _key(study)
        self._refs = read_links(study)

    def people(self, universe: Universe) -> dict[Key, dict[str, str]]:
        """By cell: who, and what they contribute."""
        who = {pid: self._person(pid) for pid in set().union(*universe.cells.values())}
        return {
            key: {who[pid]: self._what(universe.name, given) for pid, given in contributions.items()}
            for key, contributions in universe.cells.items()
        }

    def among(self, people: Iterable[str]) -> set[str]:
        """Of these participant_ids."""
        return {self._person(pid) for pid in people}

    def _person(self, pid: str) -> str:
        return keyed(self._key, "person", self._refs[pid])[:_DIGITS]

    def _what(self, universe: str, given: Contribution) -> str:
        return keyed(self._key, "contribution", universe, *(repr(number) for number in given))[:_DIGITS]


def records(study: Study) -> list[Record]:
    """Those of all aggregate releases, in their order; raises Terminal where one cannot be read."""
    found = [_read(path) for path in sorted(_folder(study).glob("*.json"))]
    return sorted(found, key=lambda record: record.number)


def before(study: Study, name: str) -> tuple[list[Record], Record | None]:
    """The releases before `name`, and its own record where it was made already."""
    found = records(study)
    own = next((record for record in found if record.release == name), None)
    return [record for record in found if own is None or record.number < own.number], own


def keep(study: Study, record: Record, own: Record | None) -> None:
    """Write the record of a release, before anything of it can be seen.

    Raises WrongUse where a release of that name has shown other cells.
    """
    text = _text(record)
    if own is None:
        write_bytes(_folder(study) / f"{record.release}.json", text.encode(), 0o600)
    elif _text(own) != text:
        raise WrongUse(f"aggregates were released as {record.release} with other values; choose another name")


def next_number(found: Iterable[Record]) -> int:
    """The place of a release after all of those."""
    return 1 + max((record.number for record in found), default=0)


def _folder(study: Study) -> Path:
    return study.identity / "aggregates"


def _key(study: Study) -> bytes:
    path = _folder(study) / "key"
    if not path.exists():
        if any(_folder(study).glob("*.json")):
            raise Terminal("identity/aggregates/key is missing; restore it from your backup")
        _folder(study).mkdir(mode=0o700, exist_ok=True)
        write_bytes(path, (secrets.token_hex(KEY_BYTES) + "\n").encode(), 0o600)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Terminal("identity/aggregates/key is damaged; restore it from your backup")
    return key


def _read(path: Path) -> Record:
    try:
        said = json.loads(path.read_bytes())
        told = {
            name: Told(
                {_key_of(cell): people for cell, people in each["people"].items()},
                {_key_of(cell): values for cell, values in each["values"].items()},
            )
            for name, each in said["told"].items()
        }
        return Record(said["release"], int(said["number"]), told)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Terminal(f"identity/aggregates/{path.name} is damaged; restore it from your backup") from error


def _text(record: Record) -> str:
    told = {
        name: {
            "people": {_text_of(key): dict(sorted(people.items())) for key, people in each.people.items()},
            "values": {_text_of(key): dict(values) for key, values in each.values.items()},
        }
        for name, each in record.told.items()
    }
    return json.dumps({"release": record.release, "number": record.number, "told": told}, sort_keys=True) + "\n"


def _text_of(key: Key) -> str:
    return json.dumps(sorted(key))


def _key_of(text: str) -> Key:
    return frozenset((name, value) for name, value in json.loads(text))

"""Which decoder takes which file of a unit: exactly one, or the file is quarantined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO

from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.model import HEAD_BYTES, IGNORED, Head, Member
from ingest.decode.registry import claims, decoder, decoders

UNKNOWN = "unknown"
_READABLE = {".json", ".csv", ".tsv", ".txt", ".xml", ".db", ".sqlite", ".fit", ""}


@dataclass(frozen=True)
class File:
    """A file of a unit as decoders may see it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


@dataclass
class Claimed:
    """What one decoder takes from a unit; `members` is empty where it only knows files without data."""

    source: str
    members: list[Member] = field(default_factory=list)
    known_names: list[str] = field(default_factory=list)
    classes: Counter[str] = field(default_factory=Counter)
    refused: list[tuple[int, Refused]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of the claimed files; where there are none, of those known to hold nothing for us."""
        return [member.name for member in self.members] or self.known_names


def sort_out(files: Sequence[File], settings: Settings, archived: bool) -> list[Claimed]:
    """The exports of a unit, by source.

    Files nobody claims are counted in an archive that somebody claims (by the ending of their names); loose
    ones are exports of their own, of source `unknown`, with the reason. A file that two decoders claim is
    refused, and both are named.
    """
    taken: dict[str, Claimed] = {}
    foreign: list[Claimed] = []
    other: Counter[str] = Counter()
    for ordinal, file in enumerate(sorted(files, key=lambda f: f.name), start=1):
        member = Member(ordinal, file.name, "", file.open)
        try:
            source, role = _claim(file, settings)
        except Refused as refused:
            if refused.reason == "no_decoder":
                other[f"other {PurePosixPath(file.name).suffix.lower() or 'without ending'}"] += 1
            foreign.append(Claimed(UNKNOWN, [member], refused=[(ordinal, refused)]))
            continue
        claimed = taken.setdefault(source, Claimed(source))
        if role.startswith(IGNORED):
            claimed.classes[role.removeprefix(IGNORED)] += 1
            claimed.known_names.append(file.name)
        else:
            claimed.members.append(Member(ordinal, file.name, role, file.open))
    if archived:
        return _one_archive(taken, foreign, other)
    return [each for claimed in taken.values() for each in _split(claimed)] + foreign


def _claim(file: File, settings: Settings) -> tuple[str, str]:
    if file.size == 0:
        raise Refused("empty_file", "expected data, got a file of 0 bytes; copy or export it again")
    known = ", ".join(each.source for each in decoders())
    nobody = Refused(
        "no_decoder",
        f"no decoder recognises this file (there are: {known}); see docs/formats.md, "
        "or map it under `logs:` in study.yaml if it is a log",
    )
    if PurePosixPath(file.name).suffix.lower() not in _READABLE:
        raise nobody
    found = claims(Head(file.name, file.size, lambda: _start(file)), settings)
    if not found:
        raise nobody
    if len(found) > 1:
        raise Refused("two_decoders", f"{' and '.join(sorted(found))} both recognise this file; expected one")
    return next(iter(found.items()))


def _start(file: File) -> bytes:
    with file.open() as stream:
        return stream.read(HEAD_BYTES)


def _one_archive(taken: dict[str, Claimed], foreign: list[Claimed], other: Counter[str]) -> list[Claimed]:
    if not taken:
        problem = Refused(
            "no_decoder",
            f"no decoder recognises a file in this archive ({len(foreign)} files); see docs/formats.md",
        )
        only = [each.refused[0][1] for each in foreign]
        return [Claimed(UNKNOWN, refused=[(0, only[0] if len(only) == 1 else problem)])]
    first = min(taken.values(), key=lambda claimed: claimed.source)
    first.classes += other
    first.refused = [pair for each in foreign for pair in each.refused if pair[1].reason != "no_decoder"]
    return list(taken.values())


def _split(claimed: Claimed) -> list[Claimed]:
    if decoder(claimed.source).together or not claimed.members:
        return [claimed]
    alone = [Claimed(claimed.source, [member]) for member in claimed.members]
    alone[0].classes = claimed.classes
    return alone

"""What all kinds of archives have in common: members, bounds, and how damage is told."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from datetime import datetime

from ingest._core.errors import Refused
from ingest._core.settings import Bounds

GZIP_START = b"\x1f\x8b\x08"
_SMALL = 1 << 20


@dataclass(frozen=True)
class ArchiveMember:
    """One file in an archive; `packed_at` is when it was put in, None where the archive does not say."""

    name: str
    size: int
    packed_at: datetime | None


class Slice(io.RawIOBase):
    """Part of a file, read by position."""

    def __init__(self, descriptor: int, at: int, size: int) -> None:
        self._descriptor, self._at, self._left = descriptor, at, size

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Bytes from where the last ones ended."""
        data = os.pread(self._descriptor, min(len(buffer), self._left), self._at)
        self._at += len(data)
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class Budget:
    """How many bytes an archive may still unpack. Each method raises Refused beyond its bound."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._left = bounds.total_bytes

    def spend(self, count: int) -> None:
        """Unpacked bytes more, of any member."""
        self._left -= count
        if self._left < 0:
            raise _too_big(f"bounds.total_bytes ({self._bounds.total_bytes})")

    def one_member(self, unpacked: int) -> None:
        """Unpacked bytes of one member so far."""
        if unpacked > self._bounds.member_bytes:
            raise _too_big(f"bounds.member_bytes ({self._bounds.member_bytes})")

    def ratio(self, unpacked: int, packed: int) -> None:
        """Unpacked bytes so far, out of packed ones. Small amounts may be as dense as they like."""
        if unpacked > _SMALL and unpacked > self._bounds.ratio * max(packed, 1):
            raise Refused(
                "bomb",
                f"unpacks to more than {self._bounds.ratio} times its size (bounds.ratio); not a plausible export",
            )


def _too_big(bound: str) -> Refused:
    return Refused("too_big", f"more than {bound} once unpacked; raise it in study.yaml if this is a true export")


def damaged(what: str) -> Refused:
    """What is raised where bytes cannot be unpacked."""
    return Refused("damaged", f"the archive cannot be unpacked ({what}); copy or download it again")


def repeated_name() -> Refused:
    """What is raised for a member whose name another one has."""
    return Refused(
        "repeated_name",
        "several members have this name (upper and lower case and accents aside), so it is not known which one is "
        "meant; pack the folder again",
    )


def split_archive() -> Refused:
    """What is raised for one of several parts."""
    return Refused("split_archive", "one part of a zip that was split; join the parts or hand in the unpacked folder")

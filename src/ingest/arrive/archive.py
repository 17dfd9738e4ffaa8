"""The only door to archives: zip, tar, gzip and tar in gzip, within bounds, read member by member.

Nothing is extracted by name. Bounds hold while bytes are unpacked; what headers say of sizes is not believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from ingest._core.settings import Bounds
from ingest.arrive.bounded import GZIP_START, ArchiveMember, split_archive
from ingest.arrive.tar_archive import TarArchive, opened_gzip
from ingest.arrive.zip_archive import ZipArchive

START_BYTES = 512
"""So much of a file's start `is_archive` wants to see."""
_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")
_SPLIT_ZIP_START = b"PK\x07\x08"
_TAR_MARK = slice(257, 262)


class Archive(Protocol):
    """An opened archive. `members` are its files, by name; folders and files of the system are left out."""

    members: tuple[ArchiveMember, ...]

    def open(self, name: str) -> IO[bytes]:
        """A stream of the member's bytes that raises Refused where it is damaged or passes a bound."""


@contextmanager
def open_archive(path: Path, bounds: Bounds) -> Iterator[Archive]:
    """The archive at `path`, opened; raises Refused where it is cut short, too large, crafted or no export at all."""
    with path.open("rb") as stream, archive_in(stream, path.name, bounds) as archive:
        yield archive


@contextmanager
def archive_in(stream: IO[bytes], name: str, bounds: Bounds) -> Iterator[Archive]:
    """The same of a stream that is an archive called `name` from its first byte to its last."""
    start = stream.read(START_BYTES)
    stream.seek(0)
    if start.startswith(_SPLIT_ZIP_START):
        raise split_archive()
    if start.startswith(GZIP_START):
        with opened_gzip(stream, name, bounds) as archive:
            yield archive
    elif _is_tar(start):
        with TarArchive.read(stream, bounds) as archive:
            yield archive
    else:
        yield ZipArchive(stream, bounds)


def is_archive(start: bytes) -> bool:
    """True for the first START_BYTES of a zip, a tar or a gzip."""
    return start.startswith((*_ZIP_STARTS, _SPLIT_ZIP_START, GZIP_START)) or _is_tar(start)


def _is_tar(start: bytes) -> bool:
    return start[_TAR_MARK] == b"ustar"

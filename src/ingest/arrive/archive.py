"""The only door to archives: zip within bounds, read member by member, nothing extracted to disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ingest._core.errors import Refused
from ingest._core.settings import Bounds

ZIP_START = (b"PK\x03\x04", b"PK\x05\x06")
_END = b"PK\x05\x06"
_END64_LOCATOR = b"PK\x06\x07"
_LONGEST_END = 22 + 65_535
_LINK, _KIND_MASK = 0o120000, 0o170000
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class ArchiveMember:
    """One file in an archive; `packed_at` is when it was put in, None where the archive does not say."""

    name: str
    size: int
    packed_at: datetime | None


class Archive:
    """An opened zip. `members` are its files, by name; folders are left out."""

    def __init__(self, file: zipfile.ZipFile, bounds: Bounds) -> None:  # noqa: TID251
        self._file = file
        self._bounds = bounds
        self._left = bounds.total_bytes
        infos = [info for info in file.infolist() if not info.is_dir()]
        _check_names(infos)
        self._infos = {info.filename: info for info in infos}
        self.members = tuple(
            ArchiveMember(name, info.file_size, _packed_at(info)) for name, info in sorted(self._infos.items())
        )

    def open(self, name: str) -> IO[bytes]:
        """A stream of the member's bytes that raises Refused where it is damaged or passes a bound."""
        info = self._infos[name]
        if info.flag_bits & 0x1:
            raise Refused(
                "encrypted_member",
                "expected a plain zip, got a password-protected member; ask for an export without password",
            )
        try:
            return io.BufferedReader(_Bounded(self, self._file.open(info), info))
        except _DAMAGE as error:
            raise _damaged(error) from error

    def spend(self, count: int, info: zipfile.ZipInfo, so_far: int) -> None:
        """Count unpacked bytes against the bounds."""
        self._left -= count
        packed = max(info.compress_size, 1)
        if so_far > self._bounds.member_bytes or self._left < 0:
            raise Refused(
                "too_big",
                f"more than bounds.member_bytes or bounds.total_bytes once unpacked "
                f"({self._bounds.member_bytes} and {self._bounds.total_bytes}); raise them in "
                "study.yaml if this is a true export",
            )
        if so_far > 1 << 20 and so_far / packed > self._bounds.ratio:
            raise Refused(
                "bomb",
                f"unpacks to more than {self._bounds.ratio} times its size (bounds.ratio); not a plausible export",
            )


class _Bounded(io.RawIOBase):
    def __init__(self, archive: Archive, stream: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._archive, self._stream, self._info, self._count = archive, stream, info, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except _DAMAGE as error:
            raise _damaged(error) from error
        self._count += len(data)
        self._archive.spend(len(data), self._info, self._count)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def open_archive(path: Path, bounds: Bounds) -> Iterator[Archive]:
    """The zip at `path`, opened; raises Refused where it is cut short, too large or crafted."""
    with path.open("rb") as stream:
        _check_directory(stream, bounds)
        try:
            file = zipfile.ZipFile(stream)  # noqa: TID251
        except _DAMAGE as error:
            raise _damaged(error) from error
        with file:
            yield Archive(file, bounds)


def is_archive(start: bytes) -> bool:
    """True for the first bytes of a zip."""
    return start.startswith(ZIP_START)


def _check_directory(stream: IO[bytes], bounds: Bounds) -> None:
    """Entry count from the end record: a directory of millions is refused before it costs memory."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _LONGEST_END))
    tail = stream.read()
    stream.seek(0)
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < 22:
        raise Refused(
            "cut_short",
            "expected a whole zip, got one without its directory at the end; copy or download it again",
        )
    entries: int = struct.unpack_from("<H", tail, at + 10)[0]
    directory_bytes: int = struct.unpack_from("<I", tail, at + 12)[0]
    if entries == 0xFFFF or tail.rfind(_END64_LOCATOR, 0, at) >= 0:
        at64 = tail.rfind(b"PK\x06\x06", 0, at)
        if at64 < 0 or at - at64 < 56:
            raise Refused("cut_short", "the zip's 64-bit directory is not where it should be; download it again")
        entries, directory_bytes = struct.unpack_from("<QQ", tail, at64 + 32)
    if entries > bounds.entries or directory_bytes > bounds.entries * 1024:
        raise Refused("too_many_members", f"{entries} members, at most {bounds.entries} (bounds.entries)")


def _check_names(infos: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for ordinal, info in enumerate(infos, start=1):
        name = info.orig_filename
        parts = name.split("/")
        unsafe = (
            name.startswith("/")
            or "\\" in name
            or "\0" in name
            or ".." in parts
            or (len(name) > 1 and name[1] == ":")
            or not name.isprintable()
        )
        if unsafe:
            raise Refused(
                "unsafe_name",
                f"member {ordinal} has a name that leaves the archive or hides; not the export of a vendor",
            )
        if (info.external_attr >> 16) & _KIND_MASK == _LINK:
            raise Refused("link_member", f"member {ordinal} is a link; not the export of a vendor")
        if name.casefold() in seen:
            raise Refused("repeated_name", f"member {ordinal} has the name of an earlier one; pack it again")
        seen.add(name.casefold())


def _packed_at(info: zipfile.ZipInfo) -> datetime | None:
    # 1980-01-01 is what packers write that know no time.
    try:
        packed = datetime(*info.date_time, tzinfo=UTC)
    except ValueError:
        return None
    return packed if packed.year > 1980 else None


def _damaged(error: BaseException) -> Refused:
    return Refused("damaged", f"the zip cannot be unpacked here ({type(error).__name__}); copy or download it again")

"""Tars and gzips: read once from front to end into one unnamed temporary file, and from there by position.

Only regular files and folders are known. Everything else a tar can hold (links, devices, sparse files) is
refused.
"""

from __future__ import annotations

import errno
import io
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from tempfile import TemporaryFile
from typing import IO

from ingest._core.errors import Refused, Transient
from ingest._core.settings import Bounds
from ingest.arrive.bounded import GZIP_START, ArchiveMember, Budget, Slice, damaged, repeated_name
from ingest.arrive.member_names import check_name, is_system_file, repeated

_BLOCK = 512
_CHUNK = 1 << 18
_LONGEST_NOTE = 1 << 16
_FILES, _FOLDER = (b"0", b"\0", b"7"), b"5"
_GLOBAL_NOTE, _NOTE, _LONG_NAME, _LONG_LINK = b"g", b"x", b"L", b"K"
_NOTES = (_GLOBAL_NOTE, _NOTE, _LONG_NAME)
_REFUSED_KINDS = {
    b"1": ("link_member", "a link"), b"2": ("link_member", "a link"), _LONG_LINK: ("link_member", "a link"),
    b"3": ("device_member", "a device or pipe"), b"4": ("device_member", "a device or pipe"),
    b"6": ("device_member", "a device or pipe"), b"S": ("sparse_member", "a file with holes"),
}  # fmt: skip
_NOTED = re.compile(rb"([0-9]{1,7}) ([^=\n]{1,100})=")


@dataclass(frozen=True)
class _Place:
    at: int
    size: int
    packed_at: datetime | None


class TarArchive:
    """An opened tar; see Archive."""

    def __init__(self, spool: IO[bytes], places: dict[str, _Place], several: set[str]) -> None:
        self._spool, self._places, self._repeated = spool, places, several
        self.members = tuple(ArchiveMember(name, place.size, place.packed_at) for name, place in sorted(places.items()))

    @classmethod
    @contextmanager
    def read(cls, stream: IO[bytes], bounds: Bounds) -> Iterator[TarArchive]:
        """A tar that is not compressed."""
        with _tar(_Source(iter(lambda: stream.read(_CHUNK), b"")), bounds) as archive:
            yield archive

    def open(self, name: str) -> IO[bytes]:
        """As Archive.open."""
        if name in self._repeated:
            raise repeated_name()
        place = self._places[name]
        return io.BufferedReader(Slice(self._spool.fileno(), place.at, place.size), _CHUNK)


@contextmanager
def opened_gzip(stream: IO[bytes], name: str, bounds: Bounds) -> Iterator[TarArchive]:
    """The tar in a gzip; or its one file, called as the gzip without the ending."""
    budget = Budget(bounds)
    source = _Source(_gunzipped(stream, budget))
    if source.peek(_BLOCK)[257:262] == b"ustar":
        with _tar(source, bounds) as archive:
            yield archive
        return
    with TemporaryFile() as spool:
        size = 0
        with _room():
            for data in source.rest():
                size += len(data)
                budget.one_member(size)
                spool.write(data)
            spool.flush()
        base = re.sub(r"(?i)\.t?gz$", "", name)
        yield TarArchive(spool, {base: _Place(0, size, _gzip_time(stream))}, set())


@contextmanager
def _tar(source: _Source, bounds: Bounds) -> Iterator[TarArchive]:
    """All of a tar's files, in a temporary file that has no name and is gone with the process."""
    with TemporaryFile() as spool:
        with _room():
            found = list(_members(source, spool, bounds))
            spool.flush()
        yield TarArchive(spool, dict(found), repeated(name for name, _ in found))


class _Source:
    """Bytes that come in pieces, taken in the amounts that are wanted."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._held, self._at = pieces, b"", 0

    def peek(self, count: int) -> bytes:
        """The next bytes, fewer at the end; they stay."""
        while len(self._held) - self._at < count:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._held = self._held[self._at :] + piece
            self._at = 0
        return self._held[self._at : self._at + count]

    def take(self, count: int) -> bytes:
        """The next bytes, fewer at the end."""
        found = self.peek(count)
        self._at += len(found)
        return found

    def rest(self) -> Iterator[bytes]:
        """All that is left, in pieces."""
        while piece := self.take(len(self._held) - self._at) or self.take(_CHUNK):
            yield piece


def _gunzipped(stream: IO[bytes], budget: Budget) -> Iterator[bytes]:
    """What a gzip holds, in pieces of bounded size; raises Refused where it is cut, damaged or a bomb."""
    packed = unpacked = 0
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    held = b""
    while True:
        if not held:
            held = stream.read(_CHUNK)
            packed += len(held)
            if not held:
                if not inflate.eof:
                    raise Refused("cut_short", "the gzip ends before its data does; copy or download it again")
                return
        if inflate.eof:
            held = held.lstrip(b"\0")  # Gzips may be padded, and several may stand in one file.
            if not held:
                continue
            if not GZIP_START.startswith(held[:3]):
                raise Refused("trailing_bytes", "bytes stand after the end of the gzip; download it again")
            inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            data = inflate.decompress(held, _CHUNK)
        except zlib.error as error:
            raise damaged("the gzip does not inflate") from error
        held = inflate.unconsumed_tail or inflate.unused_data
        unpacked += len(data)
        budget.spend(len(data))
        budget.ratio(unpacked, packed)
        if data:
            yield data


def _gzip_time(stream: IO[bytes]) -> datetime | None:
    return _time(int.from_bytes(os.pread(stream.fileno(), 4, 4), "little"))


def _members(source: _Source, spool: IO[bytes], bounds: Bounds) -> Iterator[tuple[str, _Place]]:
    """Name and place in the spool of each file."""
    budget, at = Budget(bounds), 0
    for name, size, when in _headers(source, 2 * bounds.entries):
        wanted = not name.endswith("/") and not is_system_file(name)
        _copy(source, spool if wanted else None, size, budget)
        if wanted:
            yield name, _Place(at, size, when)
            at += size
    for piece in source.rest():
        if piece.strip(b"\0"):
            raise Refused("trailing_bytes", "bytes stand after the end of the tar; download it again")


def _headers(source: _Source, most: int) -> Iterator[tuple[str, int, datetime | None]]:
    """Name (of a folder with a slash at its end), size and time of each member; its data come next in `source`."""
    long_name: str | None = None
    notes: dict[bytes, bytes] = {}
    for ordinal, block in enumerate(_header_blocks(source), start=1):
        kind, size = block[156:157], _checked_size(block)
        if ordinal > most:
            raise Refused("too_many_members", f"more than {most} members and headers (2 bounds.entries)")
        if kind in _NOTES:
            text = _note(source, size)
            long_name = _text(text.rstrip(b"\0")) if kind == _LONG_NAME else long_name
            notes = _noted(text) if kind == _NOTE else notes
            continue
        _check_kind(kind, notes, ordinal)
        name = _text(notes[b"path"]) if b"path" in notes else long_name or _name(block)
        # Packing the folder `.` is how tars are made, so this one prefix means nothing.
        name = name.removeprefix("./") or "./"
        check_name(name, ordinal)
        size = _number(notes[b"size"]) if b"size" in notes else size
        long_name, notes = None, {}
        yield name.rstrip("/") + "/" if kind == _FOLDER else name, size, _time(_octal(block[136:148]))


def _header_blocks(source: _Source) -> Iterator[bytes]:
    while (block := source.take(_BLOCK)).rstrip(b"\0"):
        if len(block) < _BLOCK:
            break
        yield block
    if len(block) < _BLOCK:
        raise Refused("cut_short", "the tar ends before its last mark; copy or download it again")


def _check_kind(kind: bytes, notes: dict[bytes, bytes], ordinal: int) -> None:
    sparse = any(key.startswith(b"GNU.sparse") for key in notes)
    if kind in _REFUSED_KINDS or sparse:
        reason, what = _REFUSED_KINDS[b"S" if sparse else kind]
        raise Refused(reason, f"member {ordinal} is {what}; not the export of a vendor")
    if kind not in (*_FILES, _FOLDER):
        raise Refused("unknown_member", f"member {ordinal} is neither a file nor a folder; pack it as a zip")


def _copy(source: _Source, spool: IO[bytes] | None, size: int, budget: Budget) -> None:
    budget.one_member(size)
    left = size
    while left:
        data = source.take(min(left, _CHUNK))
        if not data:
            raise Refused("cut_short", "the tar ends inside a file; copy or download it again")
        left -= len(data)
        if spool is not None:
            budget.spend(len(data))
            spool.write(data)
    source.take(-size % _BLOCK)


def _note(source: _Source, size: int) -> bytes:
    if size > _LONGEST_NOTE:
        raise Refused("unsafe_name", "a member's name or notes are longer than any export's; pack it as a zip")
    text = source.take(size)
    source.take(-size % _BLOCK)
    return text


def _noted(text: bytes) -> dict[bytes, bytes]:
    """Keys and values of a pax header: each `length key=value` and a line end."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        match = _NOTED.match(text, at)
        end = at + int(match[1]) if match else 0
        if match is None or end <= match.end() or text[end - 1 : end] != b"\n":
            raise damaged("a header of the tar is none")
        found[match[2]] = text[match.end() : end - 1]
        at = end
    return found


def _checked_size(block: bytes) -> int:
    stated = _octal(block[148:156])
    if stated != sum(block) - sum(block[148:156]) + 8 * 32:
        raise damaged("a header of the tar is none")
    return _octal(block[124:136])


def _octal(field: bytes) -> int:
    """A number of a tar header: octal digits, or binary where the first bit is set."""
    if field[:1] >= b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits or b"0", 8) if digits.isdigit() or not digits else _no_number()
    except ValueError:
        return _no_number()


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 20 else _no_number()


def _no_number() -> int:
    raise damaged("a header of the tar is none")


def _name(block: bytes) -> str:
    name, prefix = (part.split(b"\0")[0] for part in (block[:100], block[345:500]))
    # Only the standard's own layout has a prefix; GNU's keeps times there.
    return _text(prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name)


def _text(name: bytes) -> str:
    return name.decode("utf-8", errors="surrogateescape")


def _time(seconds: int) -> datetime | None:
    # 1980 as with zips: what is older was written by a packer that knows no time.
    return datetime.fromtimestamp(seconds, UTC) if 347_155_200 <= seconds < 1 << 33 else None


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Transient("no room to unpack a tar in the temporary folder; free some, or set TMPDIR") from error
        raise

"""What was fetched from an object store: bytes of one version, in a file without a name."""

from __future__ import annotations

import io
import os
import shutil
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from ingest._core.errors import Changed
from ingest._core.files import CHUNK_BYTES
from ingest._core.objects import denied, errors_told
from ingest.arrive.bounded import Slice

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_BLOCK = 8 << 20


class Fetched:
    """Objects, each fetched once when it is first opened, in one temporary file that goes with its last user.

    The file has no name, so nobody else opens it and nothing is left behind by a process that is killed.
    """

    def __init__(self, fs: S3FileSystem, what: str) -> None:
        self._fs, self._what = fs, what
        self._spool: IO[bytes] | None = None
        self._places: dict[str, int] = {}

    def open(self, path: str, size: int, etag: str) -> io.BufferedReader:
        """A stream of the object's bytes, of this version.

        Raises Changed where there is another one, FileNotFoundError where there is none, Denied and Unreachable.
        """
        if path not in self._places:
            self._places[path] = self._fetch(path, size, etag)
        assert self._spool is not None
        return io.BufferedReader(_Part(self._spool, self._places[path], size), CHUNK_BYTES)

    def _fetch(self, path: str, size: int, etag: str) -> int:
        try:
            with errors_told(self._what):
                if self._spool is None:
                    self._spool = TemporaryFile()  # noqa: SIM115 - it ends with its last user
                at = self._spool.seek(0, os.SEEK_END)
                # Every block is asked for by the version that is opened here.
                with self._fs.open(path.removeprefix("s3://"), "rb", block_size=_BLOCK) as stream:
                    if (stream.details["size"], etag_of(stream.details)) != (size, etag):
                        raise _changed()
                    _copy(stream, self._spool)
        except PermissionError:
            raise denied(self._what) from None
        if self._spool.tell() - at != size:
            raise _changed()
        return at


class _Part(Slice):
    """Keeps the file open as long as it is read; may be read from any place."""

    def __init__(self, spool: IO[bytes], at: int, size: int) -> None:
        super().__init__(spool.fileno(), at, size)
        self._spool, self._start, self._end = spool, at, at + size

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        self._at = max(self._start, base + offset)
        self._left = max(0, self._end - self._at)
        return self._at - self._start

    def tell(self) -> int:
        return self._at - self._start

    def fileno(self) -> int:
        # Who reads by position from the file itself counts from its first byte.
        if self._start:
            raise io.UnsupportedOperation("fileno")
        return self._spool.fileno()


def _copy(stream: Any, spool: IO[bytes]) -> None:
    from s3fs.utils import FileExpired

    try:
        shutil.copyfileobj(stream, spool, CHUNK_BYTES)
    except FileExpired:
        raise _changed() from None
    spool.flush()


def _changed() -> Changed:
    return Changed("an object in landing was replaced while it was read; the next run takes it up")


def etag_of(info: dict[str, Any]) -> str:
    """What differs where an object's bytes do."""
    return str(info["ETag"]).strip('"')

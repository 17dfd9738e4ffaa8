"""The only writer. Every file appears whole or not at all: tmp, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO
from uuid import uuid4

from ingest._core.errors import Terminal, Transient

TMP_PREFIX = ".tmp-"
_TMP_FOLDER = re.compile(r"\.tmp-[0-9a-f]{32}")
_TRANSIENT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENFILE}
CHUNK_BYTES = 1 << 20
LOCK_WAIT_S = 600.0
_LOCK_ASKED_EVERY_S = 0.02


def inside(root: Path, *parts: str) -> Path:
    """The path below `root` named by `parts`; raises Terminal if it would lie elsewhere."""
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root.resolve()):
        raise Terminal("a path was built that leaves its folder; nothing was written")
    return path


def write_atomic(path: Path, write: Callable[[IO[bytes]], object], mode: int = 0o644) -> None:
    """Let `write` fill a temporary file, then put it at `path`.

    Raises Transient where the storage refuses (full, read-only, I/O error); nothing is visible then.
    """
    tmp = path.with_name(f"{TMP_PREFIX}{uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(tmp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        rename_durably(tmp, path)
    except OSError as error:
        raise storage_error(error) from error
    finally:
        tmp.unlink(missing_ok=True)


def rename_durably(tmp: Path, path: Path) -> None:
    """Rename `tmp`, already synced, to `path` and sync the folder."""
    os.replace(tmp, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """`data` at `path`, atomically."""
    write_atomic(path, lambda stream: stream.write(data), mode)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy `source` to `target` (a reflink where the file system has it) and sync it."""
    try:
        with source.open("rb") as old, target.open("wb") as new:
            _copy(old, new)
            os.fsync(new.fileno())
    except OSError as error:
        target.unlink(missing_ok=True)
        raise storage_error(error) from error


def _copy(old: IO[bytes], new: IO[bytes]) -> None:
    if not hasattr(os, "copy_file_range"):
        shutil.copyfileobj(old, new, CHUNK_BYTES)
        return
    left = os.fstat(old.fileno()).st_size
    while left and (count := os.copy_file_range(old.fileno(), new.fileno(), left)):
        left -= count


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """A temporary folder in `folder` to fill and then `put_folder`; gone at the end where it was not put.

    What others left behind is removed first: the caller holds a lock on `folder`. Raises Transient where the storage
    refuses.
    """
    for entry in list(_temporary_in(folder)):
        shutil.rmtree(entry)
    tmp = folder / f"{TMP_PREFIX}{uuid4().hex}"
    try:
        tmp.mkdir(mode=0o700, parents=True)
        yield tmp
    except OSError as error:
        raise storage_error(error) from error
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def put_folder(tmp: Path, path: Path) -> None:
    """Sync `tmp` with all that is in it and rename it to `path`, which is not there yet."""
    for folder, _, names in os.walk(tmp):
        for name in names:
            with Path(folder, name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(folder))
    os.rename(tmp, path)
    sync_folder(path.parent)


def _temporary_in(folder: Path) -> Iterator[Path]:
    # By the whole name: the folder may be somebody else's, too.
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if _TMP_FOLDER.fullmatch(path.name) and path.is_dir())


def sweep_temporary(folder: Path, before_timestamp: float) -> int:
    """Remove temporary files below `folder` older than the POSIX time given; returns how many."""
    stale = [
        entry.path for entry in _temporary(folder) if entry.stat(follow_symlinks=False).st_mtime < before_timestamp
    ]
    for path in stale:
        remove(Path(path))
    return len(stale)


def _temporary(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    # Not by rglob, which takes five times as long: every run looks through the whole lake.
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith(TMP_PREFIX):
            yield entry
        elif entry.is_dir(follow_symlinks=False):
            yield from _temporary(entry.path)


def sha256_of(stream: BufferedReader) -> str:
    """SHA-256, hexadecimal, of the rest of a stream."""
    return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(*parts: str | bytes) -> str:
    """SHA-256, hexadecimal, of the parts, each preceded by its length so that no two lists collide."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


@contextmanager
def locked(path: Path, what: str, wait: bool = False, shared: bool = False) -> Iterator[None]:
    """Hold the lock file at `path`, beside others that hold it `shared`; raises Transient if another process holds it,
    where told to `wait` only after `LOCK_WAIT_S`: a process that hangs must not hang all others.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        until = time.monotonic() + (LOCK_WAIT_S if wait else 0)
        while not _taken(stream, shared):
            if time.monotonic() >= until:
                raise Transient(f"{what} is busy in another process; run again when it has ended")
            time.sleep(_LOCK_ASKED_EVERY_S)
        yield


def _taken(stream: IO[str], shared: bool) -> bool:
    import fcntl

    try:
        fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def storage_error(error: OSError) -> Exception:
    """Transient where the storage, or the limit on open files, refuses; else the error itself."""
    if error.errno in _TRANSIENT:
        return Transient(
            f"storage refused to write ({os.strerror(error.errno or 0)}); nothing was changed, "
            "run again when there is room"
        )
    return error

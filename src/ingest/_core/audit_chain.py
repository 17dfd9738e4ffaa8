"""audit/audit.jsonl: entries that are only ever added, each with the SHA-256 of the line before it.

A line that is changed, taken out or put in breaks the chain at the line after it. What it cannot show by itself is
that lines are missing at its end, or that all of it was written anew: for that the head is kept elsewhere.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from ingest._core.errors import Terminal
from ingest._core.files import locked, sync_folder

BEGIN = "0" * 64
"""What the first line has as the hash of the line before it."""
TORN = "torn"
_BLOCK = 4096
_MAX_LINE = 1 << 20
Entry = dict[str, Any]


@dataclass
class Chain:
    """The entries with their lines, and what is wrong: `breaks` of the chain, and `torn` lines, which are none.

    `head` is the hash of the last line, `count` the number of lines.
    """

    entries: list[tuple[int, Entry]] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    torn: list[int] = field(default_factory=list)
    head: str = BEGIN
    count: int = 0
    hashes: set[str] = field(default_factory=set)


def path_of(root: Path) -> Path:
    """The file of the study in `root`."""
    return root / "audit" / "audit.jsonl"


def append(path: Path, entry: Entry) -> None:
    """Add an entry, durably; other processes wait. Costs the same however long the file is.

    A last line that a crash cut off stays, and the new entry says that it comes after one. Raises OSError where the
    storage refuses, Transient where another process has the file for long, Terminal where the file is none of ours.
    """
    new = not path.exists()
    if new:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        with locked(path, "the audit", wait=True):
            last, torn = _last_line(descriptor)
            said = {**entry, **({"after": TORN} if torn else {}), "prev": _hash(last) if last else BEGIN}
            data = (b"\n" if torn else b"") + msgspec.json.encode(said) + b"\n"
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # what was written is a torn line
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        sync_folder(path.parent)
        sync_folder(path.parent.parent)


def read(path: Path) -> Chain:
    """The whole file, looked through; without one, nothing. Raises OSError where it cannot be read."""
    chain = Chain()
    if not path.exists():
        return chain
    with path.open("rb") as stream:
        _let_others_write(stream)
        before: tuple[int, str] | None = None
        for number, line in enumerate(_lines(stream), start=1):
            whole = line.endswith(b"\n")
            entry = _entry(line)
            before = _linked(chain, number, entry, before)
            if entry is not None:
                chain.entries.append((number, entry))
            elif not whole:
                chain.torn.append(number)
                before = None
            chain.count, chain.head = number, _hash(line.rstrip(b"\n"))
            chain.hashes.add(chain.head)
        if before is not None:
            chain.breaks.append(f"line {before[0]}: expected an entry, came something else")
    return chain


def _let_others_write(stream: IO[bytes]) -> None:
    """Wait for whoever adds a line, so that it is not taken for a torn one; not for a process that hangs."""
    for _ in range(100):
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return


def _linked(chain: Chain, number: int, entry: Entry | None, odd: tuple[int, str] | None) -> tuple[int, str] | None:
    """Check a line against the one before; returns the line if only the next one can say whether it is torn."""
    follows = entry is not None and entry.get("prev") == chain.head
    if odd is not None:
        if follows and entry is not None and entry.get("after") == TORN:
            chain.torn.append(odd[0])
        else:
            chain.breaks.append(f"line {odd[0]}: expected an entry, came something else")
    if entry is None:
        return number, chain.head
    if not follows:
        chain.breaks.append(f"line {number}: it does not follow from the line before it: that line, or this one, was "
                            "changed, or lines between them are missing")  # fmt: skip
    return None


def _entry(line: bytes) -> Entry | None:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) and {"at", "action", "prev"} <= found.keys() else None


def _lines(stream: Any) -> Iterator[bytes]:
    while line := stream.readline(_MAX_LINE):
        yield line


def _last_line(descriptor: int) -> tuple[bytes, bool]:
    """The last line without its end, and whether it has none."""
    size = os.fstat(descriptor).st_size
    if not size:
        return b"", False
    tail, at = b"", size
    while at and b"\n" not in tail[:-1]:
        if len(tail) > _MAX_LINE:
            raise Terminal("audit/audit.jsonl: expected lines of some hundred bytes; put the file aside and look at it")
        step = min(_BLOCK, at)
        at -= step
        tail = os.pread(descriptor, step, at) + tail
    torn = not tail.endswith(b"\n")
    return tail.removesuffix(b"\n").rpartition(b"\n")[2], torn


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()

"""The lake's files where DuckDB reads them: in their folder or, of an object store, fetched into this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from weakref import WeakKeyDictionary

import duckdb
from fsspec.implementations.memory import MemoryFileSystem

from ingest._core.contract import LAKE
from ingest._core.errors import Terminal, Transient
from ingest._core.files import sha256_of
from ingest._core.object_files import ObjectPath
from ingest._core.places import Place, read_each
from ingest.lake.store import Manifest


@dataclass(frozen=True)
class LakeFile:
    """A file of a table; `of` is a manifest that names it, None for marts, which may have none, and `named` the hash
    it names.
    """

    table: str
    path: Place
    of: Manifest | None = None
    named: str = ""


def readable(connection: duckdb.DuckDBPyConnection, wanted: Sequence[Sequence[LakeFile]]) -> list[list[str]]:
    """Names under which `connection` reads the files, until it is asked for others; marts that are not there left out.

    Raises Terminal where a file is not the one its manifest names, Transient where it went away.
    """
    objects = [file.path for files in wanted for file in files if isinstance(file.path, ObjectPath)]
    if not objects:
        return [[str(file.path) for file in files if _stands(file)] for files in wanted]
    held = _held(connection)
    held.store.clear()
    return [list(_fetched(held, files, place)) for place, files in enumerate(wanted)]


def _stands(file: LakeFile) -> bool:
    assert isinstance(file.path, Path)
    if file.of is None:
        return file.path.exists()
    try:
        with file.path.open("rb") as stream:
            found = sha256_of(stream)
    except FileNotFoundError as error:
        raise _gone(file) from error
    _check(file, file.of, found)
    return True


def _fetched(held: _Held, files: Sequence[LakeFile], place: int) -> Iterator[str]:
    for number, (file, came) in enumerate(zip(files, read_each([file.path for file in files]), strict=True)):
        if came.data is None and file.of is not None:
            raise _gone(file)
        if came.data is not None:
            if file.of is not None:
                _check(file, file.of, sha256(came.data).hexdigest())
            name = f"/{place}-{number}/{file.path.name}"
            held.pipe_file(name, came.data)
            yield f"{held.protocol}:/{name}"


def _check(file: LakeFile, of: Manifest, found: str) -> None:
    if found != file.named:
        raise Terminal(
            f"{LAKE}/{file.table}: the file of export {of.source_file_id} is not the one its manifest names; "
            "`ingest verify` lists such files"
        )


def _gone(file: LakeFile) -> Transient:
    of = file.of.source_file_id if file.of else ""
    return Transient(f"{LAKE}/{file.table}: a file of export {of} went away; run again")


class _Held(MemoryFileSystem):  # type: ignore[misc]
    """Files in memory for one connection, whose last SELECT may still be read while another connection gets its own."""

    cachable = False

    def __init__(self, protocol: str) -> None:
        super().__init__()
        self.protocol = protocol
        self.store: dict[str, object] = {}
        self.pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.rpartition("://")[2].strip("/")


_NUMBERS = count(1)
_HELD: WeakKeyDictionary[duckdb.DuckDBPyConnection, _Held] = WeakKeyDictionary()


def _held(connection: duckdb.DuckDBPyConnection) -> _Held:
    if connection not in _HELD:
        _HELD[connection] = _Held(f"lake{next(_NUMBERS)}")
        connection.register_filesystem(_HELD[connection])
    return _HELD[connection]

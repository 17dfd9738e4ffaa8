"""The lake's files where DuckDB reads them: in their folder or, of an object store, fetched into this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import duckdb
from fsspec.implementations.memory import MemoryFileSystem

from ingest._core.contract import LAKE
from ingest._core.errors import Terminal, Transient
from ingest._core.files import sha256_of
from ingest._core.object_files import ObjectPath
from ingest._core.places import Place, read_each
from ingest.lake.parquet import is_encrypted, is_named, key_of, names_rows
from ingest.lake.store import Manifest

Parameters = list[Any]
_BEGIN = 4
_PLAIN = "read_parquet(?::VARCHAR[], hive_partitioning = false"
# DuckDB 1.5 takes a right key for a wrong one where a condition is looked at while pages are read.
_CONDITIONS_AFTERWARDS = "SET disabled_optimizers = 'filter_pushdown,join_filter_pushdown'"
_ENCRYPTED = "read_parquet(?::VARCHAR[], hive_partitioning = false, encryption_config = {footer_key_value: ?::BLOB}"


@dataclass(frozen=True)
class LakeFile:
    """A file of a table; `of` is a manifest that names it, None for marts, which may have none, and `named` the hash
    it names.
    """

    table: str
    path: Place
    of: Manifest | None = None
    named: str = ""


@dataclass
class Readable:
    """Files of one table as DuckDB reads them: names of plain and of encrypted ones, and what opens these."""

    plain: list[str] = field(default_factory=list)
    encrypted: list[str] = field(default_factory=list)
    key: bytes | None = field(default=None, repr=False)

    def relation(self, filename: bool = False) -> tuple[str, Parameters]:
        """What stands after FROM in SQL, with its parameters; the key is one of them and no part of the text.

        With `filename` each row has the name of its file.
        """
        with_name = ", filename = true" if filename else ""
        of = {_PLAIN + with_name + ")": self.plain, _ENCRYPTED + with_name + ")": self.encrypted}
        found = {sql: names for sql, names in of.items() if names}
        parameters: Parameters = [*found.values(), *([self.key] if self.encrypted else [])]
        if len(found) == 1:
            return next(iter(found)), parameters
        both = " UNION ALL BY NAME ".join(f"SELECT * FROM {sql}" for sql in found)  # noqa: S608 - constants
        return f"({both})", parameters

    def __bool__(self) -> bool:
        return bool(self.plain or self.encrypted)


def readable(
    connection: duckdb.DuckDBPyConnection, lake: Place, wanted: Sequence[Sequence[LakeFile]]
) -> list[Readable]:
    """How `connection` reads the files, until it is asked for others; marts that are not there left out.

    Raises Terminal where a file is not the one its manifest names or no key opens it, Transient where it went away.
    """
    if any(isinstance(file.path, ObjectPath) for files in wanted for file in files):
        held = _held(connection)
        held.store.clear()
        found = [_of_table(lake, files, _fetched(held, lake, files, place)) for place, files in enumerate(wanted)]
    else:
        found = [_of_table(lake, files, ((str(file.path), _stands(lake, file)) for file in files)) for files in wanted]
    if any(of.encrypted for of in found):
        connection.execute(_CONDITIONS_AFTERWARDS)
    return found


def _of_table(lake: Place, files: Sequence[LakeFile], found: Iterable[tuple[str, bytes | None]]) -> Readable:
    of = Readable()
    for name, begins in found:
        if begins is not None:
            (of.encrypted if is_encrypted(begins) else of.plain).append(name)
    if of.encrypted:
        of.key = key_of(lake, files[0].table)
    return of


def _stands(lake: Place, file: LakeFile) -> bytes | None:
    """How the file begins; None for a mart that is not there."""
    assert isinstance(file.path, Path)
    try:
        with file.path.open("rb") as stream:
            begins = stream.read(_BEGIN)
            stream.seek(0)
            if file.of is not None:
                is_plain = not is_encrypted(begins) and not names_rows(file.named)
                _check(lake, file, file.of, sha256_of(stream) if is_plain else stream.read())
    except FileNotFoundError as error:
        if file.of is None:
            return None
        raise _gone(file) from error
    return begins


def _fetched(held: _Held, lake: Place, files: Sequence[LakeFile], place: int) -> Iterator[tuple[str, bytes | None]]:
    for number, (file, came) in enumerate(zip(files, read_each([file.path for file in files]), strict=True)):
        if came.data is None and file.of is not None:
            raise _gone(file)
        if came.data is not None:
            if file.of is not None:
                _check(lake, file, file.of, came.data)
            name = f"/{place}-{number}/{file.path.name}"
            held.pipe_file(name, came.data)
            yield f"{held.protocol}:/{name}", came.data[:_BEGIN]


def _check(lake: Place, file: LakeFile, of: Manifest, found: bytes | str) -> None:
    """`found` are the file's bytes, or their hash where no more is needed."""
    if not (found == file.named if isinstance(found, str) else is_named(lake, file.table, found, file.named)):
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

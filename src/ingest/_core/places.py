"""The one door to the lake's files: a folder of this machine, or a prefix in an object store.

A folder is asked and written as `files` does it, objects as `object_files` does. No more than what stands here is done
to a lake, so that each does it with whole files only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PosixPath
from typing import Any

from ingest._core import files, object_files
from ingest._core.ciphers import Cipher
from ingest._core.object_files import NOT_THERE, ObjectPath, Version

Place = Path | ObjectPath
_AT_ONCE = 64


class Folder(PosixPath):
    """A lake that is a folder, with what opens its encrypted files; what stands below it are paths like others."""

    cipher: Cipher | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path, self.parts) if self.cipher is None else (with_cipher, (Path(*self.parts), self.cipher))


def with_cipher(lake: Place, cipher: Cipher) -> Place:
    """The lake as a place that says what opens its files."""
    if isinstance(lake, ObjectPath):
        return ObjectPath(lake.url, lake.fs, cipher)
    folder = Folder(lake)
    folder.cipher = cipher
    return folder


def cipher_of(lake: Place) -> Cipher | None:
    """What opens the encrypted files of a lake; None where the place says nothing of it."""
    return lake.cipher if isinstance(lake, Folder | ObjectPath) else None


def inside(root: Place, *parts: str) -> Place:
    """The place below `root` named by `parts`; raises Terminal if it would lie elsewhere."""
    if isinstance(root, Path):
        return files.inside(root, *parts)
    for part in parts:
        root = root / part
    return root


def names(folder: Place) -> list[str]:
    """What stands directly in a folder, sorted, without hidden names; nothing where there is no such folder."""
    if isinstance(folder, ObjectPath):
        found = object_files.names(folder)
    else:
        try:
            found = sorted(os.listdir(folder))
        except FileNotFoundError:
            found = []
    return [name for name in found if not name.startswith(".")]


def sizes(folder: Place) -> dict[str, int]:
    """Bytes of each file directly in a folder by name, without hidden ones; nothing where there is no such folder."""
    if isinstance(folder, ObjectPath):
        return {parts[0]: int(info["Size"]) for parts, info in object_files.listed(folder) if len(parts) == 1}
    return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in _entries(folder)}


def read(path: Place) -> Version:
    """A file's bytes and version; no bytes where there is none."""
    if isinstance(path, ObjectPath):
        return object_files.get(path)
    try:
        with open(path, "rb", buffering=0) as stream:
            return Version(stream.read(), "")
    except FileNotFoundError:
        return Version(None, NOT_THERE)


def read_each(paths: Sequence[Place]) -> Iterator[Version]:
    """`read` of each, in their order: one after the other from a folder, some at once from a store."""
    for at in range(0, len(paths), _AT_ONCE):
        some = paths[at : at + _AT_ONCE]
        objects = [path for path in some if isinstance(path, ObjectPath)]
        yield from object_files.get_each(objects) if objects else (read(path) for path in some)


def committed(folder: Place, ending: str = ".json") -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each whole file of this ending in a folder, by name.

    One that is taken away after it was listed is left out.
    """
    if isinstance(folder, ObjectPath):
        yield from ((name, data) for (name,), data in object_files.committed(folder, ending))
        return
    # Paths as text: pathlib would cost more than reading what stands there.
    for name in names(folder):
        if name.endswith(ending):
            try:
                with open(f"{folder}/{name}", "rb", buffering=0) as stream:
                    data = stream.read()
            except FileNotFoundError:
                continue
            yield name, data


def committed_below(folder: Place, ending: str = ".json") -> Iterator[tuple[str, list[bytes]]]:
    """Each folder in `folder` by name, with the bytes of its `committed` files; from a store in one listing."""
    if isinstance(folder, ObjectPath):
        found = object_files.committed(folder, ending, depth=2)
        for name, files_ in groupby(found, key=lambda each: each[0][0]):
            yield name, [data for _, data in files_]
        return
    for name in names(folder):
        yield name, [data for _, data in committed(folder / name, ending)]


def write(path: Place, data: bytes, over: Version | None = None) -> None:
    """The file with these bytes, whole or not at all; `over` is what it replaces, as it was read.

    Raises Transient where the storage refuses, or where a store holds another version than `over` by now.
    """
    write_each({path: data}, {} if over is None else {path: over})


def write_each(data: Mapping[Place, bytes], over: Mapping[Place, Version] | None = None) -> None:
    """`write` of each, in their order: one after the other in a folder, some at once in a store."""
    objects = {path: each for path, each in data.items() if isinstance(path, ObjectPath)}
    if objects:
        held = {path: of for path, of in (over or {}).items() if isinstance(path, ObjectPath)}
        object_files.put_each(objects, held)
    for path, each in data.items():
        if isinstance(path, Path):
            files.write_bytes(path, each)


def remove(*paths: Place) -> None:
    """Remove files, those that are there."""
    object_files.delete([path for path in paths if isinstance(path, ObjectPath)])
    for path in paths:
        if isinstance(path, Path):
            files.remove(path)


def wipe(place: Place) -> int:
    """Remove a file, or a folder with all in it, and former versions that the store keeps; how many files it were."""
    if isinstance(place, ObjectPath):
        return object_files.wipe(place)
    if not place.is_dir():
        count = int(place.exists())
        files.remove(place)
        return count
    count = sum(path.is_file() for path in place.rglob("*"))
    shutil.rmtree(place)
    files.sync_folder(place.parent)
    return count


Older = Callable[[float], bool]
"""Whether a file was written before a POSIX time; no where it is gone."""


def in_subfolders(folder: Place) -> Iterator[tuple[str, Iterable[tuple[str, Older]]]]:
    """Each folder in `folder` by name, with the names of its files; hidden ones left out."""
    if isinstance(folder, ObjectPath):
        yield from _objects_in_subfolders(folder)
        return
    for entry in _entries(folder):
        yield entry.name, ((each.name, _older(each)) for each in _entries(entry.path))


def _objects_in_subfolders(folder: ObjectPath) -> Iterator[tuple[str, list[tuple[str, Older]]]]:
    found: list[tuple[str, Older]] = []
    now = ""
    for parts, info in object_files.listed(folder):
        if len(parts) != 2:
            continue
        if parts[0] != now and found:
            yield now, found
            found = []
        now = parts[0]
        written = object_files.written_at(info)
        found.append((parts[1], lambda timestamp, written=written: written < timestamp))  # type: ignore[misc]
    if found:
        yield now, found


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []


def _older(entry: os.DirEntry[str]) -> Older:
    def asked(timestamp: float) -> bool:
        try:
            return entry.stat(follow_symlinks=False).st_mtime < timestamp
        except FileNotFoundError:
            return False  # Another run was quicker.

    return asked

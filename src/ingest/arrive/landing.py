"""What stands in landing: settled units, each an archive or the loose files of one folder.

Here is landing as a folder; `object_landing` has the same of a prefix in an object store.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from ingest._core.study import Study
from ingest.arrive.archive import START_BYTES, is_archive
from ingest.arrive.workbook_parts import ENDING, is_workbook

_SYSTEM_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_SYSTEM_FOLDERS = {"__MACOSX"}


class Landed(Protocol):
    """A file or an object of a unit: its name relative to the unit, where it is, size and time of writing."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path | str: ...
    @property
    def size(self) -> int: ...
    @property
    def mtime_ns(self) -> int: ...

    @property
    def landed_ns(self) -> int:
        """When it was last changed or put there."""

    @property
    def version(self) -> tuple[int, int, int, int | str]:
        """What differs where it was written to."""

    def unchanged(self) -> bool:
        """True if what `open` gave is what was listed."""

    def age_s(self, now_s: float) -> float:
        """Seconds since it was written to."""

    def open(self) -> BufferedReader:
        """A stream of its bytes, to be read from any place."""


class Memory(Protocol):
    """What is known of landed objects from earlier looks."""

    def archived(self, file: Landed) -> bool | None:
        """Whether this version begins like an archive; None if it was not seen yet."""

    def remember_archived(self, file: Landed, archived: bool) -> None:
        """Keep that for later looks."""


class NoMemory:
    """Knows nothing of earlier looks."""

    def archived(self, file: Landed) -> bool | None:
        """As Memory."""
        return None

    def remember_archived(self, file: Landed, archived: bool) -> None:
        """As Memory."""


@dataclass(frozen=True)
class LandedFile:
    """A regular file: name relative to its unit, and what stat says of it."""

    name: str
    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    def unchanged(self) -> bool:
        """True if the file still is what was listed."""
        try:
            now = self.path.lstat()
        except FileNotFoundError:
            return False
        return (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino) == (
            self.size,
            self.mtime_ns,
            self.ctime_ns,
            self.inode,
        )

    @property
    def landed_ns(self) -> int:
        """When it was last changed or put there."""
        return self.ctime_ns

    @property
    def version(self) -> tuple[int, int, int, int]:
        """What differs where the file was written to."""
        return self.size, self.mtime_ns, self.ctime_ns, self.inode

    def age_s(self, now_s: float) -> float:
        """Seconds since it was written to.

        A modification time in the future says nothing (copied from a machine whose clock is ahead); then the
        inode's change time decides.
        """
        age = now_s - self.mtime_ns / 1e9
        return age if age >= 0 else now_s - self.ctime_ns / 1e9

    def open(self) -> BufferedReader:
        """As `open_regular`."""
        return open_regular(self.path)


@dataclass(frozen=True)
class Unit:
    """What arrived together: an archive, or a folder's loose files.

    `folder` is the first folder level below landing; `path` is the archive, or the folder of the loose files: a path,
    or the URL of an object or of what its key begins with.
    """

    folder: str
    path: Path | str
    files: tuple[Landed, ...]
    archived: bool

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files)

    def settled(self, now_s: float, quiet_s: float) -> bool:
        """True if nothing was written for the quiet time."""
        return all(file.age_s(now_s) >= quiet_s for file in self.files)


@dataclass(frozen=True)
class NotAFile:
    """Something under landing that is no file that may be read.

    A link, a pipe, a file or folder without permission, a name that is no UTF-8; a key that no folder could hold.
    """

    folder: str
    path: Path | str


def units(study: Study, memory: Memory | None = None) -> Iterator[Unit | NotAFile]:
    """Everything in landing, by folder, settled or not.

    `memory` spares a look into objects that were there before. Of an object store raises Unreachable where it does
    not answer, Terminal where it refuses access, WrongUse where there is no such bucket.
    """
    if study.landing_url is not None:
        from ingest.arrive.object_landing import ObjectLanding  # and with it the client of the store

        yield from ObjectLanding(study, memory or NoMemory()).units()
    else:
        yield from _units_of_folder(study)


def unit_again(study: Study, folder: str, path: Path | str, memory: Memory) -> Unit | None:
    """The unit that stood at `path` of a participant's folder, as it is now; None if it is gone."""
    if study.landing_url is not None:
        from ingest.arrive.object_landing import ObjectLanding

        return ObjectLanding(study, memory).unit_at(folder, path) if isinstance(path, str) else None
    top = study.landing / folder
    return unit_at(folder, top, path) if isinstance(path, Path) and top.is_dir() else None


def folders(study: Study) -> list[str]:
    """Names of the first level of landing, sorted: participants' folders, and study-wide logs."""
    if study.landing_url is not None:
        from ingest.arrive.object_landing import first_levels

        return sorted(first_levels(study))
    return sorted(path.name for path in study.landing.iterdir()) if study.landing.is_dir() else []


def sizes_below(study: Study, folder: str) -> list[int]:
    """Bytes of each file that stands below a folder of landing's first level."""
    if study.landing_url is not None:
        from ingest.arrive.object_landing import first_levels

        return first_levels(study).get(folder, [])
    return [path.stat().st_size for path in (study.landing / folder).rglob("*") if path.is_file()]


def open_place(study: Study, place: Path | str) -> BufferedReader:
    """A file below the study, or an object, by the path or URL that `identity/arrivals` keeps.

    Raises FileNotFoundError where it is gone or landing is elsewhere by now.
    """
    if isinstance(place, Path):
        return open_regular(study.root / place)
    if study.landing_url is None or not place.startswith(f"{study.landing_url}/"):
        raise FileNotFoundError
    from ingest.arrive.object_landing import object_at

    return object_at(study, place).open()


def _units_of_folder(study: Study) -> Iterator[Unit | NotAFile]:
    if not study.landing.is_dir():
        return
    for folder in sorted(os.scandir(study.landing), key=lambda entry: entry.name):
        usable = _is_text(folder.name) and os.access(folder.path, os.R_OK | os.X_OK)
        if folder.is_dir(follow_symlinks=False) and usable:
            yield from _units_of(folder.name, Path(folder.path))
        elif folder.name not in _SYSTEM_FILES:
            yield NotAFile("", Path(folder.path))


def unit_at(folder: str, top: Path, path: Path) -> Unit | None:
    """The unit at `path`, below the participant's folder `top`, as it stands now; None if it is gone."""
    if path.is_dir():
        own = _entries(top) if path == top else _walk(path)
        found = [
            _file(path, Path(entry.path))
            for entry in own
            if _wanted(entry) and _is_text(entry.name) and entry.is_file(follow_symlinks=False)
        ]
        files = tuple(sorted((file for file in found if not _starts_as_archive(file.path)), key=lambda f: f.name))
        return Unit(folder, path, files, archived=False) if files else None
    if not path.exists():
        return None
    return Unit(folder, path, (_file(_unit_path(top, path), path),), archived=True)


def _units_of(folder: str, top: Path) -> Iterator[Unit | NotAFile]:
    loose: dict[Path, list[LandedFile]] = {}
    for entry in _walk(top):
        path = Path(entry.path)
        if not entry.is_file(follow_symlinks=False) or not _is_text(entry.name):
            yield NotAFile(folder, path)
            continue
        unit_path = _unit_path(top, path)
        try:
            file, archived = _file(unit_path, path), _starts_as_archive(path)
        except FileNotFoundError:
            continue  # It went after it was listed; there is nothing to take up.
        except PermissionError:
            yield NotAFile(folder, path)
            continue
        if archived:
            yield Unit(folder, path, (file,), archived=True)
        else:
            loose.setdefault(unit_path, []).append(file)
    for unit_path in sorted(loose):
        yield Unit(folder, unit_path, tuple(sorted(loose[unit_path], key=lambda f: f.name)), archived=False)


def _file(unit_path: Path, path: Path) -> LandedFile:
    info = path.lstat()
    name = path.relative_to(unit_path).as_posix()
    return LandedFile(name, path, info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def _unit_path(top: Path, path: Path) -> Path:
    # An unpacked export spreads over folders that belong together: the first level below the participant.
    parts = path.relative_to(top).parts
    return top if len(parts) == 1 else top / parts[0]


def unit_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The same of a key's parts, the participant's folder first."""
    return parts[:1] if len(parts) == 2 else parts[:2]


def is_system_key(parts: tuple[str, ...]) -> bool:
    """True for what systems leave behind beside true files, by the parts of a key."""
    return not _is_wanted_name(parts[-1]) or not _SYSTEM_FOLDERS.isdisjoint(parts[1:-1])


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder but folders; of these only such as may not be looked into."""
    for entry in _entries(folder):
        if not entry.is_dir(follow_symlinks=False):
            if _wanted(entry):
                yield entry
        elif entry.name not in _SYSTEM_FOLDERS:
            if _is_text(entry.name) and os.access(entry.path, os.R_OK | os.X_OK):
                yield from _walk(Path(entry.path))
            elif os.path.lexists(entry.path):
                yield entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []  # It went after it was listed.


def _is_text(name: str) -> bool:
    # Names in another encoding come as lone surrogates, which no store and no table takes.
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wanted(entry: os.DirEntry[str]) -> bool:
    return _is_wanted_name(entry.name)


def _is_wanted_name(name: str) -> bool:
    return name not in _SYSTEM_FILES and not name.startswith("._")


def _starts_as_archive(path: Path) -> bool:
    with open_regular(path) as stream:
        packed = is_archive(stream.read(START_BYTES))
        return packed and not (path.suffix.lower() == ENDING and is_workbook(stream))


def open_regular(path: Path) -> BufferedReader:
    """The file at `path`, opened without waiting; PermissionError where by now it is a link, a pipe or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise PermissionError(error.errno, "not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "not a regular file")
    return os.fdopen(descriptor, "rb")

"""Landing in an object store: a prefix whose first level are the participants' folders. It is only ever read.

An object is whole by nature. What is fetched of a unit lies in one file without a name, gone with the process, and is
of the version that was listed, or it is not used.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import BufferedReader
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ingest._core.objects import denied, errors_told, no_bucket, pages, split, store
from ingest._core.study import Study
from ingest.arrive.archive import START_BYTES, is_archive
from ingest.arrive.fetched import Fetched, etag_of
from ingest.arrive.landing import Landed, Memory, NoMemory, NotAFile, Unit, is_system_key, unit_parts
from ingest.arrive.workbook_parts import ENDING, is_workbook

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_AT_ONCE = 100


@dataclass(frozen=True)
class LandedObject:
    """An object: name relative to its unit, its URL, and what the store says of it."""

    name: str
    path: str
    size: int
    mtime_ns: int
    etag: str
    fetched: Fetched = field(repr=False, compare=False)

    @property
    def landed_ns(self) -> int:
        """When it was written."""
        return self.mtime_ns

    @property
    def version(self) -> tuple[int, int, int, str]:
        """What differs where the object was written anew."""
        return self.size, self.mtime_ns, 0, f"etag {self.etag}"

    def unchanged(self) -> bool:
        """True: what `open` gives is of the listed version; a later one is another object to the next look."""
        return True

    def age_s(self, now_s: float) -> float:
        """Seconds since it was written. Where the store's clock is ahead of ours, no less than any: it is whole."""
        age = now_s - self.mtime_ns / 1e9
        return age if age >= 0 else float("inf")

    def open(self) -> BufferedReader:
        """Its bytes. Raises Changed where by now there is another version, FileNotFoundError where there is none."""
        return self.fetched.open(self.path, self.size, self.etag)


@dataclass(frozen=True)
class _Listed:
    """An object and the parts of its key below landing, the participant's folder first."""

    parts: tuple[str, ...]
    object: LandedObject


class ObjectLanding:
    """Landing below a URL; `memory` knows which versions of objects begin like an archive."""

    def __init__(self, study: Study, memory: Memory) -> None:
        assert study.landing_url is not None
        self._url = study.landing_url
        self._fs = store(study.settings.object_storage)
        self._memory = memory

    def units(self) -> Iterator[Unit | NotAFile]:
        """Everything below the prefix, by folder in the order of keys; memory holds one participant's objects."""
        for folder, found in groupby(self._listed(self._url), key=lambda each: each.parts[0]):
            below = []
            for each in found:
                if len(each.parts) > 1:
                    below.append(each)
                elif not is_system_key(each.parts):
                    yield NotAFile("", each.object.path)
            yield from self._units_of(folder, below)

    def listed(self) -> Iterator[_Listed]:
        """Every object below the prefix."""
        return self._listed(self._url)

    def unit_at(self, folder: str, url: str) -> Unit | None:
        """The unit at `url` as it stands now; None if it is gone or lies elsewhere than in the folder."""
        top = f"{self._url}/{folder}"
        if url == top:
            found = list(self._listed(top))
        elif url.startswith(f"{top}/"):
            found = list(self._listed(url)) or self._one(url)
        else:
            return None
        units = (each for each in self._units_of(folder, found) if isinstance(each, Unit))
        return next((unit for unit in units if unit.path == url), None)

    def _one(self, url: str) -> list[_Listed]:
        found = _object_at(self._fs, self._url, url)
        return [] if found is None else [self._below(found)]

    def _below(self, found: LandedObject) -> _Listed:
        return _Listed(tuple(found.path[len(self._url) + 1 :].split("/")), found)

    def _listed(self, url: str) -> Iterator[_Listed]:
        """Every object below a URL, without those that consoles make for an empty folder."""
        listing, bucket = pages(self._fs, url), split(url)[0]
        while (info := self._next(listing)) is not None:
            path = f"s3://{bucket}/{info['Key']}"
            if not (path.endswith("/") and info["Size"] == 0):
                yield self._below(_object(self._fs, self._url, path, info))

    def _next(self, listing: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
        try:
            with errors_told(self._url):
                return next(listing, None)
        except FileNotFoundError:
            raise no_bucket(self._url) from None
        except PermissionError:
            raise denied(self._url) from None

    def _units_of(self, folder: str, found: list[_Listed]) -> Iterator[Unit | NotAFile]:
        # What a folder cannot hold: a file and a folder of one name, and parts that lead elsewhere.
        folders = {each.parts[:n] for each in found for n in range(1, len(each.parts))}
        found = [each for each in found if not is_system_key(each.parts)]
        usable = [each for each in found if is_usable(each.parts) and each.parts not in folders]
        told = {each.object.path for each in found} - {each.object.path for each in usable}
        loose: dict[tuple[str, ...], list[_Listed]] = {}
        for at in range(0, len(usable), _AT_ONCE):
            some = usable[at : at + _AT_ONCE]
            for each, packed in zip(some, self._packed([each.object for each in some]), strict=True):
                if packed is None:
                    told.add(each.object.path)
                elif packed == "gone":
                    continue
                elif packed == "archive":
                    yield self._unit(folder, each.parts, [each], archived=True)
                else:
                    loose.setdefault(unit_parts(each.parts), []).append(each)
        yield from (NotAFile(folder, path) for path in sorted(told))
        for top in sorted(loose):
            yield self._unit(folder, top, loose[top], archived=False)

    def _unit(self, folder: str, path: tuple[str, ...], of: list[_Listed], *, archived: bool) -> Unit:
        # All of a unit is fetched into one place, which goes with the unit.
        fetched = Fetched(self._fs, self._url)
        names = len(unit_parts(path) if archived else path)
        files = [replace(each.object, name="/".join(each.parts[names:]), fetched=fetched) for each in of]
        return Unit(folder, f"{self._url}/{'/'.join(path)}", tuple(sorted(files, key=lambda f: f.name)), archived)

    def _packed(self, of: list[LandedObject]) -> list[str | None]:
        """Of each object `archive`, `loose` or `gone`; None where it may not be read.

        Only the first bytes of what is new are asked for, many at once.
        """
        found = {each.path: self._memory.archived(each) for each in of}
        new = [each for each in of if found[each.path] is None and each.size]
        words: dict[str, str | None] = {}
        for each, start in zip(new, self._starts(new), strict=True):
            if isinstance(start, bytes):
                found[each.path] = is_archive(start) and not self._is_sheet(each)
                self._memory.remember_archived(each, bool(found[each.path]))
            else:
                words[each.path] = start
        return [words[each.path] if each.path in words else "archive" if found[each.path] else "loose" for each in of]

    def _starts(self, of: list[LandedObject]) -> list[bytes | str | None]:
        if not of:
            return []
        with errors_told(self._url):
            came = self._fs.cat_ranges([each.path.removeprefix("s3://") for each in of], 0, START_BYTES,
                                       on_error="return")  # fmt: skip
        return [self._start(each) for each in came]

    def _start(self, came: bytes | Exception) -> bytes | str | None:
        if isinstance(came, PermissionError):
            return None
        # Of an object that has no bytes by now no range can be had.
        if isinstance(came, FileNotFoundError) or (isinstance(came, OSError) and came.errno == errno.EINVAL):
            return "gone"
        if isinstance(came, Exception):
            with errors_told(self._url):
                raise came
        return came

    def _is_sheet(self, of: LandedObject) -> bool:
        if not of.path.lower().endswith(ENDING):
            return False
        with replace(of, fetched=Fetched(self._fs, self._url)).open() as stream:
            return is_workbook(stream)


def first_levels(study: Study) -> dict[str, list[int]]:
    """Bytes of each object by the first part of its key below landing."""
    found: dict[str, list[int]] = {}
    for each in ObjectLanding(study, NoMemory()).listed():
        if len(each.parts) > 1:
            found.setdefault(each.parts[0], []).append(each.object.size)
    return found


def object_at(study: Study, url: str) -> Landed:
    """One object of landing; raises FileNotFoundError where it is gone."""
    assert study.landing_url is not None
    found = _object_at(store(study.settings.object_storage), study.landing_url, url)
    if found is None:
        raise FileNotFoundError
    return found


def objects_below(fs: S3FileSystem, url: str) -> list[LandedObject]:
    """The object at a URL and those below it, in the order of keys; raises WrongUse where there is no such bucket."""
    try:
        with errors_told(url):
            below = [_object(fs, url, f"s3://{split(url)[0]}/{info['Key']}", info) for info in pages(fs, url)]
    except FileNotFoundError:
        raise no_bucket(url) from None
    except PermissionError:
        raise denied(url) from None
    one = _object_at(fs, url, url) if split(url)[1] else None
    return ([one] if one else []) + below


def _object_at(fs: S3FileSystem, what: str, url: str) -> LandedObject | None:
    try:
        with errors_told(what):
            info = fs.info(url.removeprefix("s3://"))
    except FileNotFoundError:
        return None
    except PermissionError:
        raise denied(what) from None
    return _object(fs, what, url, {"Size": info["size"], **info}) if info["type"] == "file" else None


def _object(fs: S3FileSystem, what: str, path: str, info: dict[str, Any]) -> LandedObject:
    written: datetime = info["LastModified"]
    # Whole seconds: listings and single answers of one store may differ below.
    mtime_ns = int(written.timestamp()) * 10**9
    return LandedObject("", path, info["Size"], mtime_ns, etag_of(info), Fetched(fs, what))


def is_usable(parts: Sequence[str]) -> bool:
    """False for a key that no folder could hold, that came in no encoding, or that s3fs takes for another object's."""
    strange = ("\0", "\ufffd", "?versionId=")
    return not any(part in ("", ".", "..") or any(each in part for each in strange) for part in parts)

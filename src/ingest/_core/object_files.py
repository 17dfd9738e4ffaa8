"""Files of an object store: what the lake does with a folder's, done with objects below a prefix.

A PUT of one request is whole or not there, so nothing temporary is ever written. Who replaces an object says which
version it read: a request that a killed process left on its way fails where somebody was quicker.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ingest._core.ciphers import Cipher
from ingest._core.errors import Terminal, Transient
from ingest._core.objects import denied, errors_told, no_bucket, pages, split

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_AT_ONCE = 64
_DELETED_AT_ONCE = 1000
_TRIES = 3
_REMEMBERED_BYTES = 64 << 20
NOT_THERE = ""
"""The version of an object that does not exist."""


class Version(NamedTuple):
    """An object as it stood when it was read: None and `NOT_THERE` where there was none."""

    data: bytes | None
    etag: str


@dataclass(frozen=True)
class ObjectPath:
    """A place in an object store, named as a path is; `url` has no slash at its end."""

    url: str
    fs: S3FileSystem = field(repr=False, compare=False)
    cipher: Cipher | None = field(default=None, repr=False, compare=False)

    def __truediv__(self, part: str) -> ObjectPath:
        if any(word in ("", ".", "..") for word in part.split("/")):
            raise Terminal("a name was built that no object may have; nothing was written")
        return ObjectPath(f"{self.url}/{part}", self.fs)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def key(self) -> str:
        """Its key in the bucket."""
        return split(self.url)[1]


def get(path: ObjectPath) -> Version:
    """An object's bytes and version. Raises Denied and Unreachable."""
    return get_each([path])[0]


def get_each(paths: Sequence[ObjectPath]) -> list[Version]:
    """`get` of several, many at once."""
    with _told(paths):
        return _all(paths, lambda path: _get(path.fs, path.url))


def listed(folder: ObjectPath) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """What the store says of each object below `folder`, with the parts of its key below it, in the order of keys."""
    skip = len(folder.key) + 1 if folder.key else 0
    found = pages(folder.fs, folder.url)
    while (info := _next(folder, found)) is not None:
        yield tuple(info["Key"][skip:].split("/")), info


def names(folder: ObjectPath) -> list[str]:
    """The first parts of keys below `folder`, sorted; asks once for a thousand of them, whatever lies below them."""
    bucket, key = split(folder.url)
    said: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", "Delimiter": "/"}
    found: set[str] = set()
    with _told([folder]), _bucket_told(folder):
        while True:
            page = folder.fs.call_s3("list_objects_v2", **said)
            whole = [each["Prefix"] for each in page.get("CommonPrefixes", ())]
            found |= {name[len(said["Prefix"]) :].rstrip("/") for name in whole}
            found |= {each["Key"][len(said["Prefix"]) :] for each in page.get("Contents", ())}
            if not page.get("IsTruncated"):
                return sorted(found - {""})
            said["ContinuationToken"] = page["NextContinuationToken"]


def committed(folder: ObjectPath, ending: str, depth: int = 1) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """Bytes of each object with this ending so many parts below `folder`, with these parts, in the order of keys.

    Those gone by now are left out. What was read before is not asked for again: its version is known from the listing.
    """
    here = ((parts, info["ETag"]) for parts, info in listed(folder))
    found = ((parts, etag) for parts, etag in here if len(parts) == depth and parts[-1].endswith(ending))
    while some := list(islice(found, _AT_ONCE)):
        paths = {parts: folder / "/".join(parts) for parts, _ in some}
        held = {parts: _SEEN.get(_place(paths[parts]), etag) for parts, etag in some}
        new = [parts for parts, _ in some if held[parts] is None]
        for parts, came in zip(new, get_each([paths[each] for each in new]), strict=True):
            if came.data is not None:
                held[parts] = came.data
                _SEEN.put(_place(paths[parts]), came)
        yield from ((parts, data) for parts, _ in some if (data := held[parts]) is not None)


def put(path: ObjectPath, data: bytes, over: Version | None = None) -> None:
    """The object with these bytes; `over` is the one it replaces, as it was read.

    Raises Transient where another one stands there by now, Denied and Unreachable.
    """
    put_each({path: data}, {} if over is None else {path: over})


def put_each(data: Mapping[ObjectPath, bytes], over: Mapping[ObjectPath, Version] | None = None) -> None:
    """`put` of several, many at once."""
    versions = over or {}
    with _told(list(data)):
        _all(list(data), lambda path: _put(path, data[path], versions.get(path)))


def delete(paths: Iterable[ObjectPath]) -> None:
    """Take objects away, there or not."""
    every = list(paths)
    with _told(every):
        _all(every, lambda path: _ask(path.fs, "delete_object", **_where(path.url)))


def wipe(place: ObjectPath) -> int:
    """Take away the object at `place` and all below it, each version that is kept; returns how many there were."""
    bucket, key = split(place.url)
    count = 0
    with _told([place]), _bucket_told(place):
        if place.fs.call_s3("get_bucket_versioning", Bucket=bucket).get("Status"):
            found = _versions(place)
        else:
            found = ({"Key": each["Key"]} for each in _below(place))
        doomed = [each for each in found if each["Key"] == key or each["Key"].startswith(f"{key}/")]
        count = sum(each.pop("counts", True) for each in doomed)
        for at in range(0, len(doomed), _DELETED_AT_ONCE):
            some = {"Objects": doomed[at : at + _DELETED_AT_ONCE], "Quiet": True}
            said = place.fs.call_s3("delete_objects", Bucket=bucket, Delete=some)
            if said.get("Errors"):
                raise PermissionError
    return count


def _below(place: ObjectPath) -> Iterator[dict[str, Any]]:
    bucket, key = split(place.url)
    said: dict[str, Any] = {"Bucket": bucket, "Prefix": key}
    while True:
        page = place.fs.call_s3("list_objects_v2", **said)
        yield from page.get("Contents", ())
        if not page.get("IsTruncated"):
            return
        said["ContinuationToken"] = page["NextContinuationToken"]


def _versions(place: ObjectPath) -> Iterator[dict[str, Any]]:
    bucket, key = split(place.url)
    said: dict[str, Any] = {"Bucket": bucket, "Prefix": key}
    while True:
        page = place.fs.call_s3("list_object_versions", **said)
        for each in page.get("Versions", ()):
            yield {"Key": each["Key"], "VersionId": each["VersionId"], "counts": each["IsLatest"]}
        for each in page.get("DeleteMarkers", ()):
            yield {"Key": each["Key"], "VersionId": each["VersionId"], "counts": False}
        if not page.get("IsTruncated"):
            return
        said |= {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}


class _Memory:
    """Small objects by place and version, the last ones used."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._bytes = most_bytes, 0
        self._held: OrderedDict[tuple[str, str], Version] = OrderedDict()
        self._lock = Lock()

    def get(self, place: tuple[str, str], etag: str) -> bytes | None:
        with self._lock:
            found = self._held.get(place)
            if found is None or found.etag != etag:
                return None
            self._held.move_to_end(place)
            return found.data

    def put(self, place: tuple[str, str], of: Version) -> None:
        with self._lock:
            before = self._held.pop(place, None)
            self._bytes += len(of.data or b"") - (len(before.data or b"") if before else 0)
            self._held[place] = of
            while self._bytes > self._most:
                _, oldest = self._held.popitem(last=False)
                self._bytes -= len(oldest.data or b"")


_SEEN = _Memory(_REMEMBERED_BYTES)


def _place(path: ObjectPath) -> tuple[str, str]:
    return str(path.fs.endpoint_url), path.url


def _where(url: str) -> dict[str, str]:
    bucket, key = split(url)
    return {"Bucket": bucket, "Key": key}


async def _ask(fs: S3FileSystem, method: str, **said: Any) -> Any:
    return await fs._call_s3(method, **said)  # noqa: SLF001 - its public twin waits for each answer


async def _get(fs: S3FileSystem, url: str) -> Version:
    from aiohttp import ClientError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    for attempt in range(1, _TRIES + 1):
        try:
            found = await _ask(fs, "get_object", **_where(url))
            async with found["Body"] as body:
                return Version(await body.read(), found["ETag"])
        except FileNotFoundError:
            return Version(None, NOT_THERE)
        except (HTTPClientError, IncompleteReadError, ClientError, TimeoutError):
            # A body that breaks off is asked for again; before it, the client has tried already.
            if attempt == _TRIES:
                raise
    raise AssertionError


async def _put(path: ObjectPath, data: bytes, over: Version | None) -> None:
    said: dict[str, Any] = {}
    if over is not None:
        said = {"IfMatch": over.etag} if over.data is not None else {"IfNoneMatch": "*"}
    try:
        await _ask(path.fs, "put_object", **_where(path.url), Body=data, **said)
    except OSError as error:
        if over is None or not _is_overtaken(error):
            raise
        # The store may have done what it was asked for the first time, and lost only the answer.
        if (await _get(path.fs, path.url)).data != data:
            raise Transient(
                "another process wrote the same part of the lake; nothing of it was changed, run again"
            ) from None


def _is_overtaken(error: OSError) -> bool:
    said = getattr(error.__cause__, "response", {})
    code = str(said.get("Error", {}).get("Code"))
    return isinstance(error, FileNotFoundError) or code in ("PreconditionFailed", "ConditionalRequestConflict", "412")


_Of = TypeVar("_Of")
_Came = TypeVar("_Came")


def _all(of: Sequence[_Of], ask: Callable[[_Of], Awaitable[_Came]]) -> list[_Came]:
    """What `ask` gives of each, in their order; a bounded number at once. The first error ends it."""
    if not of:
        return []
    from fsspec.asyn import get_loop, sync

    async def bounded() -> list[_Came]:
        found: list[_Came] = []
        for at in range(0, len(of), _AT_ONCE):
            came = await asyncio.gather(*(ask(each) for each in of[at : at + _AT_ONCE]), return_exceptions=True)
            for each in came:
                if isinstance(each, BaseException):
                    raise each
                found.append(each)
        return found

    return sync(get_loop(), bounded)  # type: ignore[no-any-return]


@contextmanager
def _told(paths: Sequence[ObjectPath]) -> Iterator[None]:
    try:
        with errors_told("the lake"):
            yield
    except PermissionError as error:
        raise denied("the lake") from error


@contextmanager
def _bucket_told(place: ObjectPath) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise no_bucket("the lake") from None


def _next(folder: ObjectPath, found: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    with _told([folder]), _bucket_told(folder):
        return next(found, None)


def written_at(info: Mapping[str, Any]) -> float:
    """POSIX time at which the store says that an object was written."""
    written: datetime = info["LastModified"]
    return written.timestamp()

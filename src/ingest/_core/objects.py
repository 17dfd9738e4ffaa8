"""The one door to object storage: which store is meant, pages of listings, and what its errors mean.

Credentials come from the environment alone, as boto's and fsspec's do (AWS_PROFILE, AWS_ACCESS_KEY_ID, a role of the
machine, FSSPEC_S3). No message quotes what the store said: it may hold keys of objects, which are names of people.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ingest._core.errors import Terminal, Unreachable, WrongUse
from ingest._core.settings_storage import ObjectStorage

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_PAGE = 1000
_CONNECT_S, _READ_S, _ATTEMPTS = 10, 60, 3
# The request itself is wrong: another try would be, too.
_REFUSED = {errno.EINVAL, errno.EPERM, errno.ENAMETOOLONG}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def store(options: ObjectStorage) -> S3FileSystem:
    """The store that study.yaml means, with nothing remembered of listings.

    Raises WrongUse where the extra `s3` is not installed.
    """
    try:
        from s3fs import S3FileSystem
    except ImportError as error:
        raise WrongUse(
            "landing or lake is an s3:// URL, but s3fs is not installed; install the extra: sleep-ingest[s3]"
        ) from error
    said: dict[str, Any] = {}
    if options.endpoint_url:
        said["endpoint_url"] = options.endpoint_url
    if options.region:
        said["client_kwargs"] = {"region_name": options.region}
    retries = {"total_max_attempts": _ATTEMPTS, "mode": "standard"}
    times = {"connect_timeout": _CONNECT_S, "read_timeout": _READ_S, "retries": retries}
    with errors_told("object storage"):
        return S3FileSystem(use_listings_cache=False, config_kwargs=times, **said)


def split(url: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URL; the key is empty where it names a bucket."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def pages(fs: S3FileSystem, url: str) -> Iterator[dict[str, Any]]:
    """What the store says of each object below `url`, in the order of keys: Key, Size, ETag, LastModified.

    A thousand with each request. Raises Terminal where the store lists in another order.
    """
    bucket, key = split(url)
    said = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", "MaxKeys": _PAGE}
    before = b""
    while True:
        page = fs.call_s3("list_objects_v2", **said)
        for each in page.get("Contents", ()):
            here = each["Key"].encode(errors="surrogatepass")
            if here < before:
                raise Terminal("the object storage does not list in the order of keys; use a general purpose bucket")
            before = here
            yield each
        if not page.get("IsTruncated"):
            return
        said["ContinuationToken"] = page["NextContinuationToken"]


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Turn what the store raises into this package's errors: `what` is the place, as study.yaml says it.

    Raises Unreachable where it may work later, WrongUse where credentials, region or address cannot be right.
    FileNotFoundError and PermissionError go on: what they mean depends on what was asked for.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise _of_system(what, error) from None
    except Exception as error:
        told = _of_client(what, error)
        if told is None:
            raise
        raise told from None


class Denied(Terminal, PermissionError):
    """The store lets nobody with these credentials do a thing."""


def denied(what: str) -> Denied:
    """What is raised where access is refused."""
    return Denied(
        f"{what}: the object storage refuses access; check AWS_PROFILE, AWS_ACCESS_KEY_ID or the machine's role, and "
        "its rights (docs/object-storage.md lists them)"
    )


def no_bucket(what: str) -> WrongUse:
    """What is raised where the bucket is not there."""
    return WrongUse(f"{what}: there is no such bucket; correct study.yaml, or make the bucket and run again")


def _of_system(what: str, error: OSError) -> Exception:
    if error.errno in _FULL:
        return Unreachable(f"no room for what was fetched from {what}; free some in the temporary folder or set TMPDIR")
    if error.errno in _REFUSED:
        return WrongUse(
            f"{what}: the object storage does not take this request ({os.strerror(error.errno)}); check the bucket's "
            "name, and endpoint_url and region under object_storage in study.yaml"
        )
    return _away(what, error)


def _of_client(what: str, error: Exception) -> Exception | None:
    """Of errors that come from the client's own code; None for one that is not the store's."""
    from aiohttp import ClientError as Connection
    from botocore import exceptions as boto

    away = (boto.ConnectionError, boto.HTTPClientError, boto.ResponseStreamingError, boto.IncompleteReadError,
            boto.ReadTimeoutError, boto.MetadataRetrievalError, Connection, TimeoutError)  # fmt: skip
    if isinstance(error, away):
        return _away(what, error)
    if isinstance(error, boto.NoCredentialsError | boto.CredentialRetrievalError | boto.PartialCredentialsError):
        return WrongUse(f"{what}: no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in "
                        "the environment (never in study.yaml)")  # fmt: skip
    if isinstance(error, boto.BotoCoreError | ValueError):
        return WrongUse(f"{what}: the object storage cannot be asked ({type(error).__name__}); check the AWS_* and "
                        "FSSPEC_S3 variables, and object_storage in study.yaml")  # fmt: skip
    return None


def _away(what: str, error: Exception) -> Unreachable:
    return Unreachable(f"{what}: the object storage does not answer ({type(error).__name__}); nothing was changed, run "
                       "again when it can be reached")  # fmt: skip

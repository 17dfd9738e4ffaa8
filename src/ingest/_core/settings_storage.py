"""Where landing and lake stand when they are no folders: addresses in an object store, never its secrets."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from ingest._core.settings_base import Strict

_URL = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9](?P<parts>(?:/[^/\x00-\x1f\x7f\\]+)*)/?")
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+(?:/[^?#@\s]*)?")


class ObjectStorage(Strict):
    """Which store `s3://` means; who may use it is said by the environment alone."""

    endpoint_url: str | None = Field(None, description="address of the store, where it is not Amazon's")
    region: str | None = Field(None, pattern=r"^[a-z0-9-]{1,40}$", description="region of the buckets")

    @field_validator("endpoint_url")
    @classmethod
    def _no_secret(cls, said: str | None) -> str | None:
        if said is not None and not _ENDPOINT.fullmatch(said):
            raise ValueError("expected a URL like https://storage.example.org:9000, without user, password or query")
        return said


def is_url(said: str) -> bool:
    """True where a place in study.yaml is an address, not a folder."""
    return "://" in said


def place(said: str, folder: str) -> str:
    """A place as study.yaml says it, without a slash at its end; raises ValueError unless it is `folder` or a URL."""
    if said == folder:
        return said
    match = _URL.fullmatch(said)
    if match is None or {".", ".."} & set(match["parts"].split("/")):
        raise ValueError(f"expected `{folder}` (the folder below the study), or a URL like s3://bucket/prefix")
    return said.rstrip("/")

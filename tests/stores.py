"""A private object store for tests: moto's S3 server on the loopback, a bucket for each test."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

_NAMES = count(1)  # servers of one process hold the same buckets
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "key-of-the-study", "AWS_SECRET_ACCESS_KEY": "secret-of-the-study"}


class Store:
    """A running server; `url` is its address, `client` boto's own client of it."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.client = boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def close(self) -> None:
        """End the server."""
        self._server.stop()

    @contextmanager
    def closed_to_all(self) -> Iterator[None]:
        """For a while nobody's credentials are known."""
        self._ask_for_credentials(b"0")
        yield
        self._ask_for_credentials(b"inf")

    def _ask_for_credentials(self, after_requests: bytes) -> None:
        plain = {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.url}/moto-api/reset-auth", after_requests, plain)).close()

    def bucket(self) -> Bucket:
        """A new, empty bucket."""
        made = Bucket(self, f"study-{next(_NAMES)}")
        self.client.create_bucket(Bucket=made.name)
        return made


class Bucket:
    """A bucket of the store."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name, self.client = store, name, store.client

    @property
    def settings(self) -> dict[str, Any]:
        """What study.yaml says of the store."""
        return {"object_storage": {"endpoint_url": self.store.url, "region": "us-east-1"}}

    def put(self, key: str, data: bytes | str) -> None:
        """An object, written anew."""
        self.client.put_object(Bucket=self.name, Key=key, Body=data.encode() if isinstance(data, str) else data)

    def remove(self, key: str) -> None:
        """Take an object away."""
        self.client.delete_object(Bucket=self.name, Key=key)

    def upload(self, folder: Path, prefix: str) -> None:
        """Every file of a folder; the files get the times of their objects, so that both can be compared."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        for key, each in self.listed().items():
            path = folder / key.removeprefix(f"{prefix}/")
            written = int(each["LastModified"].timestamp())
            os.utime(path, (written, written))

    def listed(self) -> dict[str, Mapping[str, Any]]:
        """What the store says of each object, by key."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {each["Key"]: each for page in pages for each in page.get("Contents", ())}

    def objects(self, prefix: str) -> dict[str, bytes]:
        """The bytes of every object below a prefix, by the rest of its key."""
        return {key.removeprefix(f"{prefix}/"): self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
                for key in self.listed() if key.startswith(f"{prefix}/")}  # fmt: skip


@pytest.fixture(scope="session")
def object_store() -> Iterator[Store]:
    """The session's store, for tests that leave it running."""
    store = Store()
    yield store
    store.close()


@pytest.fixture
def bucket(object_store: Store, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A fresh bucket, and in the environment who may use it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # a client keeps the credentials it began with
    return object_store.bucket()

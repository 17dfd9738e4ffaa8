"""A real `ingest serve` on a free port, and all that it answers."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.hostile import TOKEN, Server
from studies import arguments

_FILE = re.compile(r'href="([^"?]+\.csv)[?"]')


@contextmanager
def running(root: Path, log: Path) -> Iterator[Server]:
    """The command, asking for TOKEN, with a line in `log` for every request."""
    words = arguments("--study", root, "--verbose", "serve", "--port", "0")
    environment = os.environ | {"INGEST_SERVE_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    with log.open("w") as stream:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("Pages on http://127.0.0.1:"), log.read_text()
        yield Server(said.split()[2].rstrip("/"), said, log, process)
    finally:
        process.terminate()
        process.wait(timeout=30)


def answer(server: Server, path: str, data: bytes | None = None) -> bytes:
    """Body of one answer, whatever its status."""
    asked = urllib.request.Request(server.url + path, data, {"Authorization": f"Bearer {TOKEN}"})
    try:
        with urllib.request.urlopen(asked, timeout=120) as came:
            return bytes(came.read())
    except urllib.error.HTTPError as error:
        return error.read()


def all_answers(server: Server, participant_id: str) -> dict[str, bytes]:
    """Every page of the study and of one participant, every table that one of them links to, and the refusals."""
    paths = ["/", "/participants", "/cohort", "/intake", f"/participant/{participant_id}", "/login", "/nope",
             "/participant/nobody", "/cohort?from=2026-01-12&to=2026-01-25", "/cohort?from=x"]  # fmt: skip
    found = {path: answer(server, path) for path in paths}
    found["/participants found"] = answer(server, "/participants", b"search=K")
    tables = sorted({link for body in found.values() for link in _FILE.findall(body.decode())})
    return found | {path: answer(server, path) for path in tables}

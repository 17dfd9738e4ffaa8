"""A private PostgreSQL for tests: its own cluster in a temporary folder, a database for each test, ended with them."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from studies import PROJECT

_LIBC = ctypes.CDLL(None)
OWNER, PASSWORD = "ingest", "pw-of-the-owner"
_HBA = """
local all all trust
host all all 127.0.0.1/32 scram-sha-256
"""
# Nothing here outlives the tests; a server killed at once still comes back, which needs no fsync.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "40",
             "log_min_messages": "warning", "autovacuum": "off"}  # fmt: skip


class Postgres:
    """A cluster that runs as an unprivileged user; `port` is on the loopback, `folder` holds the socket."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="ingest-pg-"))
        self.data = self.folder / "data"
        self._names = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        if self._user:
            shutil.chown(self.folder, self._user, pwd.getpwnam(self._user).pw_gid)
        password = self.folder / "password"
        password.write_text(f"{PASSWORD}\n")
        password.chmod(0o644)
        subprocess.run(
            [programs / "initdb", "-D", self.data, "-U", OWNER, "-E", "UTF8", "--locale=C", "--no-sync",
             "--auth=scram-sha-256", f"--pwfile={password}"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.folder, **self._as_user(),
        )  # fmt: skip
        (self.data / "pg_hba.conf").write_text(_HBA)
        self.start()

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        entry = pwd.getpwnam(self._user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def start(self) -> None:
        """Start the server, on the port it had, else on a free one; back when it answers."""
        for _ in range(5):
            port = self.port or _free_port()
            settings = {**_SETTINGS, "port": str(port), "listen_addresses": "127.0.0.1",
                        "unix_socket_directories": str(self.folder)}  # fmt: skip
            words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self.data, *words], stdout=log, stderr=log,
                    cwd=self.folder, preexec_fn=_end_with_parent, **self._as_user(),  # noqa: PLW1509 - one call to the kernel
                )  # fmt: skip
            if self._answers(port):
                self.port = port
                return
        raise RuntimeError((self.folder / "log").read_text(errors="replace")[-2000:])

    def _answers(self, port: int) -> bool:
        for _ in range(600):
            if self._process is None or self._process.poll() is not None:
                return False  # most likely somebody else took the port
            try:
                psycopg.connect(host=str(self.folder), port=port, user=OWNER, dbname="postgres").close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT ends sessions and closes cleanly, SIGQUIT is `pg_ctl stop -m immediate`."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
        self._process = None

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def connect(self, database: str = "postgres", user: str = OWNER) -> psycopg.Connection:
        """A connection that commits each statement."""
        return psycopg.connect(host=str(self.folder), port=self.port, user=user, dbname=database, autocommit=True)

    def database(self) -> str:
        """A new, empty database; returns its name."""
        name = f"study_{next(self._names)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str, user: str = OWNER) -> str:
        """The `warehouse` of a study.yaml: by the socket, without a password."""
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}&port={self.port}"

    def tcp_url(self, database: str, user: str = OWNER, password: str = PASSWORD) -> str:
        """The same by the loopback, where a password is asked for."""
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"


def start_postgres() -> Postgres:
    """A running cluster; the caller closes it. Skips the test where none can be had, and fails it in CI."""
    looked = subprocess.run(
        [sys.executable, PROJECT / "scripts" / "services.py", "--where"], capture_output=True, text=True, check=False
    )
    if not looked.stdout.strip():
        if os.environ.get("CI") == "true":
            pytest.fail(looked.stderr.strip())
        pytest.skip(looked.stderr.strip())
    return Postgres(Path(looked.stdout.strip()))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The session's cluster, for tests that leave it running as it is."""
    server = start_postgres()
    yield server
    server.close()


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    """The URL of a fresh database, as it stands in study.yaml."""
    return postgres_server.url(postgres_server.database())


def _unprivileged() -> str | None:
    """Whom a server started by root runs as."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """Have the kernel stop the server where the tests are killed (Linux)."""
    if sys.platform == "linux":
        _LIBC.prctl(1, signal.SIGQUIT)

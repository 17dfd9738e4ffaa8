"""What a killed, crowded or starved publication leaves: the old warehouse whole, and a way on."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from ingest._core.errors import Transient
from ingest._core.files import TMP_PREFIX, locked
from ingest.publish.warehouse import publish
from publish.small_lake import (
    NOW,
    Content,
    expected,
    forget,
    in_child,
    people,
    put,
    study_at,
    warehouse_rows,
)

A, B = Content("pa"), Content("pb", nights=2)
REVISED = replace(B, nights=4, variant=1)
KILLED = 9
_CHANGING = {"os.rename", "os.remove", "shutil.copyfile", "shutil.copymode", "os.chmod", "os.rmdir"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    study = study_at(tmp_path_factory.mktemp("prepared"))
    put(study, A, B)
    publish(study, people(A, B), NOW)
    put(study, REVISED)
    return study


@pytest.fixture
def study(prepared, tmp_path):
    """A warehouse of A and B, and a lake in which B was revised since."""
    shutil.copytree(prepared.root, tmp_path / "study")
    return study_at(tmp_path / "study")


def revise(study):
    return publish(study, people(A, REVISED), NOW)


def without_b(study):
    return publish(study, people(A), NOW)


def die_at(nth):
    """An audit hook that kills the process just before its n-th change of a file."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in _CHANGING or writes:
            seen += 1
            if seen == nth:
                os._exit(KILLED)

    return hook


@pytest.mark.parametrize("removal", [False, True], ids=["revision", "removal"])
@pytest.mark.fault(1)
def test_a_crash_before_any_file_event_leaves_the_old_warehouse_whole(study, removal):
    work, after = (without_b, [A]) if removal else (revise, [A, REVISED])
    if removal:
        forget(study, REVISED)

    def crash(nth):
        sys.addaudithook(die_at(nth))
        work(study)

    old, new = expected([A, B]), expected(after)
    deaths = 0
    for nth in range(1, 60):
        code = in_child(lambda nth=nth: crash(nth))
        now = warehouse_rows(study.warehouse)
        if now == new:
            break
        assert now == old
        assert code == KILLED
        deaths += 1
    assert deaths >= 5
    work(study)
    assert warehouse_rows(study.warehouse) == new
    assert not list(study.root.glob(f"{TMP_PREFIX}*"))


@pytest.mark.fault(2)
def test_a_kill_at_any_moment_leaves_the_old_warehouse_whole(study):
    began = time.monotonic()
    copy = study_at(study.root.with_name("copy"))
    shutil.copytree(study.root, copy.root, dirs_exist_ok=True)
    assert in_child(lambda: revise(copy)) == 0
    length = time.monotonic() - began
    old, new = expected([A, B]), expected([A, REVISED])
    untouched = 0
    for step in range(12):
        child = os.fork()
        if child == 0:
            revise(study)
            os._exit(0)
        time.sleep(length * step / 12)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        now = warehouse_rows(study.warehouse)
        assert now in (old, new)
        untouched += now == old
        if now == new:
            break
    assert untouched >= 2
    revise(study)
    assert warehouse_rows(study.warehouse) == new


@pytest.mark.parametrize("room", [-1, 1], ids=["copying", "writing"])
@pytest.mark.fault(5)
def test_storage_that_refuses_is_transient_and_changes_nothing(study, room):
    limit = study.warehouse.stat().st_size + room

    def starve():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(Transient):
            revise(study)

    assert in_child(starve) == 0
    assert warehouse_rows(study.warehouse) == expected([A, B])
    assert not list(study.root.glob(f"{TMP_PREFIX}*"))


def test_storage_that_refuses_a_first_warehouse_is_transient(study):
    study.warehouse.unlink()

    def starve():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))
        with pytest.raises(Transient):
            revise(study)

    assert in_child(starve) == 0
    assert not study.warehouse.exists()
    assert not list(study.root.glob(f"{TMP_PREFIX}*"))
    revise(study)
    assert warehouse_rows(study.warehouse) == expected([A, REVISED])


@contextmanager
def meanwhile(work):
    """A child process inside the context manager `work`, until the block ends."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        with work():
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
    os.read(ready[0], 1)
    try:
        yield
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)


@pytest.mark.fault(21)
def test_the_second_of_two_publishers_is_told_to_come_again(study):
    with meanwhile(lambda: locked(study.root / "warehouse.duckdb.lock", "the warehouse")):
        with pytest.raises(Transient, match="busy in another process"):
            revise(study)
        assert warehouse_rows(study.warehouse) == expected([A, B])
    assert revise(study).published == ["pb"]


def test_a_program_that_has_the_warehouse_open_for_writing_locks_nobody_out(study):
    with meanwhile(lambda: duckdb.connect(str(study.warehouse))):
        done = revise(study)
        assert done.published == ["pa", "pb"]
        assert done.rebuilt == "it could not be read"
        assert warehouse_rows(study.warehouse) == expected([A, REVISED])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name what is synced")
@pytest.mark.fault(7)
def test_the_file_is_safe_before_its_name_and_its_name_before_the_end(study, monkeypatch):
    events = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(("sync", path, path.read_bytes() if path.is_file() else b""))
        real_sync(descriptor)

    def replace_file(source, target):
        events.append(("rename", target, b""))
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace_file)
    revise(study)
    assert events[-3:] == [
        ("sync", study.root / ".tmp-warehouse.duckdb", study.warehouse.read_bytes()),
        ("rename", study.warehouse, b""),
        ("sync", study.root, b""),
    ]


_READER = """
import sys
import duckdb
held = duckdb.connect(sys.argv[1], read_only=True)
for line in sys.stdin:
    print(held.execute("SELECT count(*), sum(tst_min) FROM night").fetchone(), flush=True)
"""


def test_an_open_reader_keeps_the_old_file_and_a_new_one_sees_the_new(study):
    reader = subprocess.Popen(
        [sys.executable, "-c", _READER, str(study.warehouse)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    old = str((5, 420.5 + 421.5 + 422.5 + 420.5 + 421.5))
    new = str((7, 420.5 + 421.5 + 422.5 + 421.5 + 422.5 + 423.5 + 424.5))

    def ask():
        reader.stdin.write("\n")
        reader.stdin.flush()
        return reader.stdout.readline().strip()

    try:
        assert ask() == old
        assert revise(study).published == ["pb"]
        assert ask() == old
        fresh = subprocess.run(
            [sys.executable, "-c", _READER, str(study.warehouse)],
            input="\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert fresh.stdout.strip() == new
    finally:
        reader.stdin.close()
        reader.wait()


def test_publishing_again_in_a_process_that_reads_sees_its_own_publication(study):
    with duckdb.connect(str(study.warehouse), read_only=True):
        assert revise(study).published == ["pb"]
        assert revise(study).published == []

"""Storage that refuses, lies elsewhere or runs out: transient, nothing half-written, and the next run goes on."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.loops import PRESENT, Start, command_line
from faults.small import Forked, broken, copied, differences, leftovers, ran, run_frozen
from ingest._core.files import TMP_PREFIX

NOBODY = 65534
TRANSIENT = 4
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to make a system call fail")


def _goes_on(root: Path, start: Start) -> None:
    """After the fault: nothing that is named is missing; repeated, the run ends as if nothing had been."""
    assert broken(root) == []
    ran(root, PRESENT)
    assert differences(root, start.wanted[PRESENT]) == []


@contextmanager
def _tmpfs(folder: Path, size: str) -> Iterator[None]:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True,
                          text=True, check=False)  # fmt: skip
    if done.returncode:
        pytest.skip(f"needs the right to mount a tmpfs ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_row_04_lake_disk_full(fresh: Start, tmp_path: Path) -> None:
    root = copied(fresh.root, tmp_path / "study")
    (root / "lake").mkdir(exist_ok=True)
    with _tmpfs(root / "lake", "1m"):
        room = shutil.disk_usage(root / "lake").free
        (root / "lake" / ".ballast").write_bytes(bytes(room - 9 * 4096))
        process = Forked(lambda: run_frozen(root, PRESENT))
        assert process.wait() == TRANSIENT, process.said
        assert re.fullmatch(r"ingest: .*No space left on device.*run again.*\n", process.said)
        assert leftovers(root) == []
        (root / "lake" / ".ballast").unlink()
        _goes_on(root, fresh)


@pytest.mark.parametrize("limit", [100, 3_000, 700_000])
def test_row_05_no_file_may_grow(fresh: Start, tmp_path: Path, limit: int) -> None:
    """The limit strikes in turn in identity/, in the lake and in the warehouse."""
    root = copied(fresh.root, tmp_path / "study")

    def starved() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        run_frozen(root, PRESENT)

    process = Forked(starved)
    assert process.wait() == TRANSIENT, process.said
    assert re.fullmatch(r"ingest: .*run again.*\n?", process.said)  # its output is limited, too
    assert leftovers(root) == []
    _goes_on(root, fresh)


def _traced(root: Path, log: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["strace", "-f", "-y", "-qq", "-o", str(log), *words, *command_line(root, PRESENT)],
                          capture_output=True, text=True, check=False)  # fmt: skip


@needs_strace
@pytest.mark.parametrize(("call", "error", "nth"), [("fsync", "ENOSPC", 60), ("fdatasync", "EIO", 3)])
def test_row_06_a_sync_that_fails_is_not_tried_again(
    fresh: Start, tmp_path: Path, call: str, error: str, nth: int
) -> None:
    root, log = copied(fresh.root, tmp_path / "study"), tmp_path / "log"
    inject = f"inject={call}:error={error}:when={nth}"
    done = _traced(root, log, "-e", f"trace={call},close,rename", "-e", inject)
    assert done.returncode == TRANSIENT, done.stderr
    lines = log.read_text().splitlines()
    (at,) = [n for n, line in enumerate(lines) if "(INJECTED)" in line]
    failed = re.search(rf"{call}\((\d+<[^>]*>)", lines[at])
    assert failed
    after = lines[at + 1 :]
    closed = next((n for n, line in enumerate(after) if f"close({failed[1]}" in line), len(after))
    assert [line for line in after[:closed] if f"{call}({failed[1]}" in line] == []
    path = failed[1].partition("<")[2][:-1]
    assert [line for line in after if f'rename("{path}"' in line] == []
    _goes_on(root, fresh)


@needs_strace
def test_row_07_synced_then_named_then_the_manifest(fresh: Start, tmp_path: Path) -> None:
    root, log = copied(fresh.root, tmp_path / "study"), tmp_path / "log"
    assert _traced(root, log, "-e", "trace=fsync,rename").returncode == 0
    events = re.findall(r'(?:(fsync)\(\d+<([^>]+)>\)|(rename)\("([^"]+)", "([^"]+)"\)) += 0', log.read_text())
    lake = str(root.resolve() / "lake")
    synced: set[str] = set()
    unsafe: set[str] = set()  # folders with a name in them that a power cut could still take
    named: list[str] = []
    for sync, path, _, old, new in events:
        if sync:
            synced.add(path)
            unsafe.discard(path)
        elif str(Path(new).resolve()).startswith(lake):
            assert Path(old).name.startswith(TMP_PREFIX)
            assert str(Path(old).parent.resolve() / Path(old).name) in synced
            assert unsafe == set(), f"{new} was named before an earlier name was safe"
            unsafe.add(str(Path(new).parent.resolve()))
            named.append(new)
    assert unsafe == set()
    manifests = [path for path in named if "/_manifest/" in path]
    assert len(manifests) == len(list((root / "lake" / "_manifest").rglob("*.json")))
    for manifest in manifests:
        of = [n for n, path in enumerate(named) if Path(path).name.startswith(f"{Path(manifest).stem}.")
              and Path(path).parent.name == Path(manifest).parent.name and path != manifest]  # fmt: skip
        assert all(n < named.index(manifest) for n in of), manifest


def test_row_08_landing_lake_and_warehouse_on_file_systems_of_their_own(fresh: Start, tmp_path: Path) -> None:
    root = copied(fresh.root, tmp_path / "study")
    places = [place for place in map(Path, ("/dev/shm", "/var/tmp", "/tmp")) if place.is_dir()]
    other = next((place for place in places if place.stat().st_dev != root.stat().st_dev), None)
    if other is None:
        pytest.skip("needs a second file system at /dev/shm, /var/tmp or /tmp")
    with tempfile.TemporaryDirectory(dir=other) as name:
        for folder in ("landing", "lake"):
            if (root / folder).exists():
                shutil.copytree(root / folder, Path(name) / folder)
                shutil.rmtree(root / folder)
            (Path(name) / folder).mkdir(exist_ok=True)
            (root / folder).symlink_to(Path(name) / folder)
        ran(root, PRESENT)
        for folder in ("landing", "lake"):
            (root / folder).unlink()
            shutil.copytree(Path(name) / folder, root / folder)
    assert broken(root) == []
    assert differences(root, fresh.wanted[PRESENT]) == []


def test_row_09_read_only_lake(fresh: Start) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = copied(fresh.root, Path(name) / "study")
        (root / "lake").mkdir(exist_ok=True)
        if os.geteuid() == 0:
            for path in (Path(name), root, *root.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        (root / "lake").chmod(0o555)

        def as_nobody() -> None:
            if os.geteuid() == 0:
                os.setresuid(NOBODY, NOBODY, NOBODY)
            run_frozen(root, PRESENT)

        process = Forked(as_nobody)
        assert process.wait() == TRANSIENT, process.said
        assert re.fullmatch(r"ingest: storage refused to write \(Permission denied\).*run again.*\n", process.said)
        (root / "lake").chmod(0o755)
        _goes_on(root, fresh)


def test_row_11_a_thousand_files_with_thirty_descriptors(fresh: Start, tmp_path: Path) -> None:
    root = copied(fresh.root, tmp_path / "study")
    for n in range(1000):
        (root / "landing" / "K01" / "many" / f"sleep-{n:04}.json").parent.mkdir(exist_ok=True)
        (root / "landing" / "K01" / "many" / f"sleep-{n:04}.json").write_bytes(b"[]")

    def narrow() -> None:
        _leave(30)
        run_frozen(root, PRESENT)

    process = Forked(narrow)
    assert process.wait() == 0, process.said


@pytest.mark.parametrize("left", [0, 2])
def test_row_11_no_descriptors_left(fresh: Start, tmp_path: Path, left: int) -> None:
    root = copied(fresh.root, tmp_path / "study")

    def narrow() -> None:
        _leave(left)
        run_frozen(root, PRESENT)

    process = Forked(narrow)
    assert process.wait() == TRANSIENT, process.said
    assert re.fullmatch(r"ingest: .*run again.*\n", process.said)
    _goes_on(root, fresh)


def _leave(count: int) -> None:
    """Let this process open `count` files and no more."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    held = []
    while True:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            break
    for descriptor in held[:count]:
        os.close(descriptor)

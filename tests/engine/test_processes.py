"""Several processes leave the bytes of one; what goes wrong in one of them is told as it would be here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ingest._core.errors import Terminal, Transient
from ingest._core.study import open_study
from ingest.engine import processes
from ingest.engine.engine import engine_of
from ingest.lake.plan import plan
from studies import change_settings, files, land, run, warehouse


def again(done: Path, to: Path) -> Path:
    """The study before it had a lake; it remembers what arrived when, so that each byte must come out the same."""
    shutil.copytree(done, to, symlinks=True)
    shutil.rmtree(to / "lake")
    (to / "warehouse.duckdb").unlink()
    change_settings(to, engine="processes", workers=2)
    return to


def test_the_demo_study_comes_out_bit_for_bit(demo_done: Path, tmp_path: Path) -> None:
    root = again(demo_done, tmp_path / "study")
    done = run(root)
    assert done.loaded.exports.total() > 20
    assert files(root / "lake") == files(demo_done / "lake")
    assert warehouse(root) == warehouse(demo_done)
    after = run(root)
    assert (after.loaded.exports.total(), after.rebuilt.participants) == (0, [])


def test_a_damaged_manifest_is_the_same_error_and_the_others_are_built(demo_done: Path, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(demo_done, root, symlinks=True)
    change_settings(root, engine="processes", workers=2)
    ids = sorted(path.name.removeprefix("participant_id=") for path in (root / "lake" / "_manifest").glob("p*"))
    table = next((root / "lake" / "sleep_session" / f"participant_id={ids[0]}").glob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-1])
    for each in (root / "lake" / "_mart").glob("p*.json"):
        each.unlink()
    study = open_study(root)
    with engine_of(study) as engine, pytest.raises(Terminal, match="not what its manifest names"):
        engine.rebuild(study, ids, lambda: None)
    built = {path.stem for path in (root / "lake" / "_mart").glob("p*.json")}
    assert built == {*ids[1:]}


def test_a_worker_that_is_killed_ends_the_run_and_the_next_completes_it(
    demo_done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = again(demo_done, tmp_path / "study")
    study = open_study(root)
    monkeypatch.setattr(processes, "_load", _dies)
    with engine_of(study) as engine, pytest.raises(Transient, match="killed; what was done stands, run again"):
        engine.load(study, plan(study).wanted, lambda: None)
    monkeypatch.undo()
    change_settings(root, engine="in_process")
    run(root)
    assert files(root / "lake") == files(demo_done / "lake")


def _dies(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    held = tmp_path / "workers"
    held.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing, os, sys, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from pathlib import Path\n"
        "from ingest.engine import processes\n"
        "def stay(number):\n"
        "    Path(sys.argv[1], str(os.getpid())).touch()\n"
        "    time.sleep(300)\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(2, multiprocessing.get_context('spawn'), processes._alone)\n"
        "    list(pool.map(stay, range(2)))\n"
    )
    started = subprocess.Popen([sys.executable, str(script), str(held)], start_new_session=True)
    try:
        pids = _until(lambda: [int(path.name) for path in held.iterdir()], lambda found: len(found) == 2)
        started.kill()
        started.wait()
        _until(lambda: [pid for pid in pids if Path(f"/proc/{pid}").exists()], lambda found: not found)
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)


def _until(look, enough):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 120
    while not enough(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_one_export_needs_no_other_process(demo_done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "study"
    shutil.copytree(demo_done, root, symlinks=True)
    change_settings(root, engine="processes", workers=2)
    land(root, "K01/more.csv", "substance,taken_at,amount,unit\nkratom,2026-03-01T21:00,2,g\n")
    monkeypatch.setattr(processes, "ProcessPoolExecutor", None)
    assert run(root).loaded.exports.total() == 1

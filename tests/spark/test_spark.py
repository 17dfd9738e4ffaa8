"""A real Spark: what it leaves is what this process leaves, whatever dies on the way.

`make test` has two tasks at a time in one JVM, `make soak` two executors, each a JVM of its own.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark
import pytest

from faults.small import REFS, small_study
from ingest import cli
from ingest._core.errors import IngestError, Terminal, Transient, WrongUse
from ingest._core.keys import in_use
from ingest._core.study import Study, open_study
from ingest.engine.engine import Engine, InProcess, engine_of
from ingest.mart.rebuild import stale
from meta.test_docs import DOCS, commands
from studies import COMMAND, PROJECT, change_settings, files, pid, run, warehouse

PAGE = DOCS / "scale.md"  # docs/scale.md
DYING = Path(__file__).with_name("dying")
CLUSTER = "local-cluster[2,1,1024]" if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else "local[2,4]"
FRUGAL = {"JDK_JAVA_OPTIONS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}


@dataclass
class Cluster:
    """A session; a file in `doom` names what fails once in a worker (dying/sitecustomize.py)."""

    doom: Path


@pytest.fixture(scope="module", autouse=True)
def java() -> None:
    """Where there is no Java the tests fail in CI and are skipped elsewhere, with a hint."""
    looked = subprocess.run([sys.executable, PROJECT / "scripts" / "services.py", "--where", "java"],
                            capture_output=True, text=True, check=False)  # fmt: skip
    if not looked.stdout.strip():
        if os.environ.get("CI") == "true":
            pytest.fail(looked.stderr.strip())
        pytest.skip(looked.stderr.strip())


@pytest.fixture(scope="module")
def cluster(java: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A session for all tests, which the engine finds and uses."""
    from ingest.engine.session import started

    folder = tmp_path_factory.mktemp("spark")
    doom = folder / "doom"
    doom.mkdir()
    session, own = started({
        "spark.master": CLUSTER, "spark.executor.memory": "1g", "spark.driver.memory": "512m",
        "spark.local.dir": str(folder), "spark.executorEnv.PYTHONPATH": str(DYING),
        "spark.executorEnv.INGEST_TEST_DOOM": str(doom),
    })  # fmt: skip
    assert own
    yield Cluster(doom)
    left = Path(pyspark.__file__).parent / "work" / session.sparkContext.applicationId
    session.stop()
    if left.exists():  # the two executors' own
        shutil.rmtree(left)


@pytest.fixture(scope="module")
def small_done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study after a run in this process; not to be changed."""
    root = small_study(tmp_path_factory.mktemp("small") / "study")
    run(root)
    return root


def again(done: Path, to: Path, **settings: Any) -> Path:
    """The study before it had a lake; it remembers what arrived when, so that each byte must come out the same."""
    shutil.copytree(done, to, symlinks=True)
    shutil.rmtree(to / "lake")
    (to / "warehouse.duckdb").unlink()
    change_settings(to, engine="spark", **settings)
    return to


def load_and_build(engine: Engine, study: Study) -> tuple[dict[str, int], list[str]]:
    """What the engine says it did with all of the study."""
    from ingest.lake.plan import plan

    counts = engine.load(study, plan(study).wanted, lambda: None).counts()
    return counts, engine.rebuild(study, stale(study), lambda: None).participants


def raised(engine: Engine, study: Study, ids: list[str]) -> IngestError:
    """What rebuilding raises."""
    with pytest.raises(IngestError) as error:
        engine.rebuild(study, ids, lambda: None)
    return error.value


def events(records: list[logging.LogRecord]) -> list[dict[str, Any]]:
    """The facts of log lines but how long it took, in an order of their own."""
    facts = [getattr(record, "facts", {}) for record in records]
    kept = [{key: value for key, value in each.items() if key != "seconds"} for each in facts if each]
    return sorted(kept, key=repr)


def test_the_demo_study_comes_out_bit_for_bit(demo_done: Path, tmp_path: Path, cluster: Cluster) -> None:
    root = again(demo_done, tmp_path / "study")
    done = run(root)
    assert done.loaded.exports.total() > 20
    assert files(root / "lake") == files(demo_done / "lake")
    assert warehouse(root) == warehouse(demo_done)
    after = run(root)
    assert (after.loaded.exports.total(), after.rebuilt.participants) == (0, [])


@pytest.mark.fault(1, 4)
def test_killed_workers_are_tried_again_and_change_nothing(
    small_done: Path, tmp_path: Path, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ingest")
    here = load_and_build(InProcess(), open_study(again(small_done, tmp_path / "here")))
    told = events(caplog.records)
    caplog.clear()
    root = again(small_done, tmp_path / "there")
    for each in ("kill-_manifest", "kill-_mart", "full-night"):
        (cluster.doom / each).touch()
    with engine_of(open_study(root)) as engine:
        there = load_and_build(engine, open_study(root))
    assert list(cluster.doom.iterdir()) == []  # each did happen
    assert there == here
    assert events(caplog.records) == told
    assert {each["event"] for each in told} == {"export", "participant"}
    assert files(root / "lake") == files(small_done / "lake")


@pytest.mark.fault(12, 21, 77)
def test_errors_come_back_as_what_they_were(small_done: Path, tmp_path: Path, cluster: Cluster) -> None:
    root = tmp_path / "study"
    shutil.copytree(small_done, root, symlinks=True)
    change_settings(root, engine="spark")
    study, ids = open_study(root), sorted(pid(root, ref) for ref in REFS)
    damaged = next((root / "lake" / "sleep_session" / f"participant_id={ids[0]}").glob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (root / "lake" / "_mart" / f"{ids[1]}.json").unlink()
    with engine_of(study) as engine:
        there, here = raised(engine, study, ids), raised(InProcess(), study, ids)
        assert (type(there), str(there)) == (Terminal, str(here))
        assert (root / "lake" / "_mart" / f"{ids[1]}.json").exists()  # who has nothing to do with it is built
        with in_use(study.identity, alone=True):
            there, here = raised(engine, study, ids[1:]), raised(InProcess(), study, ids[1:])
        assert (type(there), str(there)) == (Transient, str(here))


def test_the_command_tells_an_error_in_a_line(
    small_done: Path, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "study"
    shutil.copytree(small_done, root, symlinks=True)
    change_settings(root, engine="spark")
    damaged = next((root / "lake" / "sleep_session" / f"participant_id={pid(root, 'K01')}").glob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (root / "lake" / "_mart" / f"{pid(root, 'K01')}.json").unlink()
    monkeypatch.setattr(sys, "argv", ["ingest", "--study", str(root), "run"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == Terminal.exit_code
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("ingest: ")
    assert "sleep_session" in said[0]


def test_the_page_can_be_typed_in(small_done: Path, tmp_path: Path) -> None:
    root = again(small_done, tmp_path / "study")
    environment = {
        "PATH": f"{COMMAND.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "INGEST_STUDY": str(root),
        **FRUGAL,
    }
    if "JAVA_HOME" in os.environ:
        environment["JAVA_HOME"] = os.environ["JAVA_HOME"]
    lines = commands(PAGE)
    assert any(line.startswith("spark-submit ") for line in lines)
    done = subprocess.run(["/bin/bash", "-eu"], input="\n".join(lines), env=environment, cwd=tmp_path, text=True,
                          capture_output=True, timeout=500, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "rebuilt    2 participants" in done.stdout
    assert files(root / "lake") == files(small_done / "lake")


def test_what_is_missing_is_told(small_done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql import SparkSession

    root = again(small_done, tmp_path / "study")
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    monkeypatch.setattr(SparkSession, "getActiveSession", lambda: None)
    for home, told in ((tmp_path / "nothing", "needs Java 17 or newer"), (tmp_path, "found 11")):
        monkeypatch.setenv("JAVA_HOME", str(home))
        with pytest.raises(WrongUse, match=told) as error:
            run(root)
        assert "apt-get install openjdk-17-jre-headless" in str(error.value)
    without = "import sys; sys.modules['pyspark'] = None; from ingest.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", without, "--study", root, "run"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == WrongUse.exit_code, done.stderr
    assert "pip install 'sleep-ingest[spark]'" in done.stderr


def test_workers_with_other_software_make_no_bytes(small_done: Path) -> None:
    from ingest.engine.answers import outcome
    from ingest.engine.tasks import Job, answered, software

    other = tuple(f"{part}.1" if part.startswith("tzdata") else part for part in software())
    answer = answered(Job("j", str(small_done), other, 1, logging.INFO), lambda study: {})
    with pytest.raises(WrongUse, match=r"tzdata \S+ \(not tzdata \S+\.1\)"):
        outcome(answer)

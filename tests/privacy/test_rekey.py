"""Where the key is kept, and a change of it: the study is then one that was made with the new key from the start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

import unpacked
from faults.small import (
    FROZEN,
    OLD,
    Forked,
    broken,
    change,
    copied,
    dies_at,
    differences,
    leftovers,
    ran,
    sample,
    small_study,
    tables_of,
    whole,
)
from ingest import rekey as module
from ingest._core import clock
from ingest._core.errors import Terminal, Transient, WrongUse
from ingest._core.keys import connections_from, in_use, key_at, read_key
from ingest._core.study import open_study
from ingest.erase import erase
from ingest.rekey import BESIDE, move_key, rekey
from ingest.report.verify import verify
from privacy.test_erase import naming
from stores import Bucket
from studies import (
    PROJECT,
    arguments,
    as_json,
    change_settings,
    command,
    files,
    fitbit_nights,
    land,
    make_study,
    pid,
    rows,
    run,
)
from tries import SOAK

NEW = "c3" * 32


def at_new_key(root: Path, word: str = NEW) -> str:
    """A file with another key beside the study."""
    path = root.parent / "new-key"
    path.write_text(word + "\n")
    return f"file:{path}"


def rekey_frozen(root: Path, source: str | None = None) -> None:
    """The change in this process, with the clock of the runs; only for processes of their own."""
    clock.now = lambda: FROZEN  # type: ignore[assignment]
    pa.set_cpu_count(1)  # type: ignore[no-untyped-call]
    rekey(open_study(root), source or at_new_key(root))


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study of two people after its run."""
    root = small_study(tmp_path_factory.mktemp("before") / "study")
    ran(root)
    return root


@pytest.fixture(scope="module")
def made_with_it(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study, made with the new key from the start."""
    root = small_study(tmp_path_factory.mktemp("new") / "study")
    (root / "identity" / "key").write_text(NEW + "\n")
    ran(root)
    return root


@pytest.fixture(scope="module")
def changed(before: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The study after an undisturbed change of its key, and how many changes of files that took."""
    root = copied(before, tmp_path_factory.mktemp("changed") / "study")
    end, told = os.pipe()

    def counted() -> None:
        last = [0]
        dies_at(-1, count=lambda seen: last.__setitem__(0, seen))
        rekey_frozen(root)
        os.write(told, str(last[0]).encode())

    process = Forked(counted)
    assert process.wait() == 0, process.said[-2000:]
    return root, int(os.read(end, 20))


def test_it_ends_as_a_study_made_with_the_new_key(
    before: Path, changed: tuple[Path, int], made_with_it: Path, tmp_path: Path
) -> None:
    root = copied(changed[0], tmp_path / "study")
    former = {pid(before, ref) for ref in ("K01", "K02")}
    uses = {each[0] for each in tables_of(before)["substance_use"]}
    assert differences(root, whole(made_with_it)) == []
    assert naming(root, former | uses) == []
    assert unpacked.naming(root, former | uses, ("landing/",)) == {}
    assert not (root / BESIDE).exists()
    assert broken(root) == []
    assert read_key(root / "identity" / "key") == bytes.fromhex(NEW)
    change(root)
    ran(root)
    assert broken(root) == []


def test_killed_anywhere_and_called_again_it_ends_the_same(
    before: Path, changed: tuple[Path, int], made_with_it: Path, tmp_path: Path
) -> None:
    wanted, total = whole(made_with_it), changed[1]
    old, new = tables_of(before), wanted.tables
    # The last stretch, in which lake, key and warehouse change, more closely than what goes before.
    moments = {*sample(total, 60 if SOAK else 1, 1), *sample(total, 600 if SOAK else 40, 2)[-300 if SOAK else -2 :]}
    for nth in sorted(moments):
        root = copied(before, tmp_path / f"killed-{nth}")
        process = Forked(lambda root=root, nth=nth: (dies_at(nth), rekey_frozen(root)))  # type: ignore[misc]
        assert process.wait() == -9
        assert tables_of(root) in (old, new), f"half of the warehouse at {nth}"
        again = Forked(lambda root=root: rekey_frozen(root))  # type: ignore[misc]
        assert again.wait() == 0, again.said[-2000:]
        ran(root)  # which sweeps what was being written
        assert differences(root, wanted) == [], nth
        shutil.rmtree(root)


def test_nothing_derives_an_id_while_it_is_changed(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(before, tmp_path / "study")

    def broken_off(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "sync_folder", broken_off)
        with pytest.raises(KeyboardInterrupt):
            rekey(open_study(root), at_new_key(root))
    with pytest.raises(Transient, match="`ingest rekey` completes it"):
        run(root)
    assert command("--study", root, "query", "select count(*) from participant").returncode == 0
    assert command("--study", root, "rekey").returncode == 0
    assert read_key(root / "identity" / "key") == bytes.fromhex(NEW)
    assert verify(open_study(root)) == []


def test_it_waits_for_whoever_is_at_work(before: Path, tmp_path: Path) -> None:
    root = copied(before, tmp_path / "study")
    with in_use(root / "identity"), in_use(root / "identity"):
        child = subprocess.Popen(arguments("--study", root, "rekey"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert child.stderr is not None
        assert [next(child.stderr).split()[0] for _ in range(2)] == [b"decoding", b"waiting"]
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        assert not (root / "identity" / "rekeying").exists()
    assert child.wait() == 0


def test_who_was_erased_stays_so_under_the_new_key(before: Path, tmp_path: Path) -> None:
    root = copied(before, tmp_path / "study")
    roster = (root / "roster.csv").read_bytes()
    erase(open_study(root), "K01")
    for _ in range(2):
        rekey(open_study(root))
    (root / "roster.csv").write_bytes(roster)
    assert [line.rpartition(";")[0] for line in open_study(root).roster.problems] == [
        "roster.csv line 2: this participant was erased and is not taken in again"
    ]
    run(root)
    assert rows(root, "select count(*) from participant") == [(1,)]


def test_what_left_landing_is_carried_over(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", refs=("K01",))
    log = "participant_ref,record_id,substance,taken_at,amount,unit\n"
    rows_ = [f"K01,case-{n},kratom,2026-03-0{n}T21:00,2,g\n" for n in range(1, 6)]
    land(root, "K01/first/log.csv", log + "".join(rows_[:3]), OLD)
    land(root, "K01/second/log.csv", log + "".join(rows_[1:]), OLD)
    land(root, "K01/watch/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 2)), OLD)
    run(root)
    said = "select {} from substance_use order by all"
    plain = "local_date, amount, unit, source_file_id, source_row, is_current"
    nights = rows(root, "select night_date, tst_min from night order by all")
    old = rows(root, said.format(plain))
    shutil.rmtree(root / "landing" / "K01" / "first")
    shutil.rmtree(root / "landing" / "K01" / "watch")
    done = rekey(open_study(root))
    # Two of the three records of the first log stand in the second, too: they have its ids.
    assert (done.carried.exports, done.carried.ids_of_its_own) == (2, 1)
    assert rows(root, said.format(plain)) == old
    assert rows(root, "select night_date, tst_min from night order by all") == nights
    assert verify(open_study(root)) == []
    carried = rows(root, "select session_id from sleep_session order by 1")
    land(root, "K01/watch/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 2)), OLD)
    run(root)
    assert rows(root, "select session_id from sleep_session order by 1") == carried
    assert run(root).loaded.exports.total() == 0


@pytest.mark.parametrize("source", ["env:KEY_OF_THE_STUDY", "airflow:study_key", "airflow:study_key as JSON", "file"])
@pytest.mark.fault(68)
def test_the_key_stands_elsewhere(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_study(tmp_path / "study")
    here = read_key(root / "identity" / "key").hex()
    before = pid(root)
    monkeypatch.setenv("KEY_OF_THE_STUDY", here)
    as_json_ = json.dumps({"conn_type": "generic", "password": here})
    monkeypatch.setenv("AIRFLOW_CONN_STUDY_KEY", as_json_ if "JSON" in source else f"generic://:{here}@")
    place = at_new_key(root, here) if source == "file" else source.partition(" ")[0]
    move_key(open_study(root), place)
    assert (root / "identity" / "key").read_text() == f"{place}\n"
    assert pid(root) == before
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 2)))
    run(root)
    assert naming(root, {here}) == []
    monkeypatch.setenv("KEY_OF_THE_STUDY", NEW)
    monkeypatch.setenv("AIRFLOW_CONN_STUDY_KEY", f"generic://:{NEW}@")
    at_new_key(root)
    done = command("--study", root, "run")
    assert done.returncode == 3
    assert "the key is not the one this study was made with" in done.stderr
    assert NEW not in done.stdout + done.stderr


def test_airflow_itself_is_asked_where_the_environment_has_no_connection() -> None:
    connections_from({"study_key": NEW}.get)
    assert key_at("airflow:study_key") == bytes.fromhex(NEW)
    with pytest.raises(Terminal, match=r"Airflow's connection other holds no key"):
        key_at("airflow:other")
    connections_from({}.get)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [("env:NOT_THERE_AT_ALL", Terminal, "NOT_THERE_AT_ALL holds no key"), ("vault:x", WrongUse, "no such place"),
     ("file:relative", WrongUse, "no such place"), ("file:/not/there", Terminal, "cannot be read"),
     ("env:A B", WrongUse, "no such place")],
)  # fmt: skip
def test_places_without_a_key(said: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        key_at(said)


def test_with_the_present_key_nothing_is_made_anew(before: Path, tmp_path: Path) -> None:
    root = copied(before, tmp_path / "study")
    said: list[str] = []
    assert rekey(open_study(root), at_new_key(root, "5a" * 32), said.append).decoded == 0
    assert said[0].startswith("that is the present key")
    assert files(root / "lake") == files(before / "lake")
    with pytest.raises(WrongUse, match="another key stands there"):
        move_key(open_study(root), at_new_key(root))
    assert leftovers(root) == []


def test_a_lake_in_a_bucket_changes_its_key_in_place(
    before: Path, made_with_it: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    root = copied(before, tmp_path / "study")
    bucket.upload(root / "lake", "of a study/lake")
    shutil.rmtree(root / "lake")
    change_settings(root, lake=f"s3://{bucket.name}/of a study/lake", **bucket.settings)
    former, wanted = {pid(before, ref) for ref in ("K01", "K02")}, files(made_with_it / "lake")

    # A client's threads do not live on in a forked process, so this one is begun anew.
    said = [sys.executable, "-c", _DIES, str(root), at_new_key(root)]
    env = os.environ | {"PYTHONPATH": str(PROJECT / "tests")}
    assert subprocess.run(said, env=env, check=False).returncode == -9
    assert bucket.objects("of a study/lake").keys() < wanted.keys() | {f"{BESIDE}/{name}" for name in wanted}
    with pytest.raises(Transient, match="`ingest rekey` completes it"):
        run(root)
    monkeypatch.setattr(clock, "now", lambda: FROZEN)
    rekey(open_study(root))
    assert bucket.objects("of a study/lake") == wanted
    assert tables_of(root) == tables_of(made_with_it)
    assert broken(root) == []
    kept = bucket.client.list_object_versions(Bucket=bucket.name)["Versions"]
    assert [each["Key"] for each in kept if ".rekey" in each["Key"] or any(who in each["Key"] for who in former)] == []
    assert not (root / BESIDE).exists()


_DIES = """
import os, signal, sys
from pathlib import Path
from s3fs import S3FileSystem
from privacy.test_rekey import rekey_frozen

asked, count = S3FileSystem._call_s3, [0]

async def dying(self, method, *words, **said):
    count[0] += method == "copy_object"
    if count[0] > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return await asked(self, method, *words, **said)

S3FileSystem._call_s3 = dying
rekey_frozen(Path(sys.argv[1]), sys.argv[2])
"""

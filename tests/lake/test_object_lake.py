"""A lake as a prefix in an object store: the bytes of a folder, whoever is killed, works beside it or fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from ingest import pipeline
from ingest._core import clock, object_files, objects
from ingest._core.errors import Terminal, Transient, Unreachable, WrongUse
from ingest._core.places import Place, committed, in_subfolders, inside, names, read, remove, wipe, write, write_each
from ingest._core.study import Study, open_study
from ingest.backfill import backfill
from ingest.demo.study import make_study as make_demo
from ingest.erase import erase
from ingest.lake.load import load_batch
from ingest.lake.plan import plan
from ingest.lake.store import manifests, participants
from ingest.mart.rebuild import rebuild, stale
from ingest.publish.reading import opened
from ingest.report.release import release
from ingest.report.status_json import as_json as status_json
from ingest.report.verify import drop_damaged, verify
from ingest.withdraw import withdraw
from stores import Bucket
from studies import (
    as_json,
    change_settings,
    command,
    files,
    fitbit_nights,
    land,
    make_study,
    pid,
    run,
    silent,
    warehouse,
    write_roster,
)

NOW = datetime(2027, 1, 1, 9, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, 23)
NIGHTS = as_json(fitbit_nights(MARCH, 3))


@pytest.fixture
def at_nine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands still, here as in `begun`."""
    monkeypatch.setattr(clock, "now", lambda: NOW)


def with_lake(root: Path, bucket: Bucket, prefix: str = "lake") -> Path:
    """The study's lake is that prefix from now on."""
    change_settings(root, lake=f"s3://{bucket.name}/{prefix}", **bucket.settings)
    return root


def same_key(root: Path) -> None:
    """A key that studies have in common, so that their ids can be compared."""
    (root / "identity").mkdir(mode=0o700, exist_ok=True)
    (root / "identity" / "key").write_text("5a" * 32 + "\n")


def pair(tmp_path: Path, bucket: Bucket) -> tuple[Path, Path]:
    """The same small study twice, with its lake here and in the bucket."""
    here = make_study(tmp_path / "here", refs=("K01", "K02"))
    same_key(here)
    land(here, "K01/sleep-2026-03-01.json", NIGHTS, MARCH)
    land(here, "K02/sleep-2026-04-01.json", as_json(fitbit_nights(datetime(2026, 4, 1, 22), 2, 500)), MARCH)
    shutil.copytree(here, tmp_path / "there")
    return here, with_lake(tmp_path / "there", bucket)


def to_marts(root: Path) -> None:
    """From landing to marts, without a warehouse."""
    study = open_study(root)
    load_batch(study, [each.token for each in plan(study).wanted])
    rebuild(study, stale(study))


def lines_of_backfill(root: Path) -> list[str]:
    """What a backfill of all arrivals says."""
    return list(backfill(open_study(root), ("2026-10-01", "2027-02-01"), None, [], [], False, silent))


def test_everything_a_study_does_ends_in_the_bytes_of_a_folder(
    tmp_path: Path, bucket: Bucket, at_nine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    make_demo(here, people=2, nights=12)
    same_key(here)
    shutil.copytree(here, there)
    with_lake(there, bucket, "a study/lake")

    def compared() -> dict[str, bytes]:
        found = bucket.objects("a study/lake")
        assert found == files(here / "lake")
        assert warehouse(there) == warehouse(here)
        return found

    assert run(there).loaded.counts() == run(here).loaded.counts()
    first = compared()
    assert {name.split("/")[0] for name in first} > {"night", "sleep_session", "substance_use", "_mart", "_manifest"}
    assert not (there / "lake").exists() or list((there / "lake").iterdir()) == []

    # Nothing new: nothing is written, and what was read in this process is not asked for again.
    asked: Counter[str] = Counter()
    wrapped = S3FileSystem._call_s3

    async def counting(self: S3FileSystem, method: str, *words: Any, **said: Any) -> Any:
        asked[method] += 1
        return await wrapped(self, method, *words, **said)

    with monkeypatch.context() as patched:
        patched.setattr(S3FileSystem, "_call_s3", counting)
        again = run(there)
    assert (again.loaded.exports.total(), again.rebuilt.participants) == (0, [])
    assert asked["put_object"] + asked["delete_object"] == 0

    assert lines_of_backfill(there) == lines_of_backfill(here)
    assert compared() == first
    for root in (here, there):
        pipeline.associate(open_study(root), silent)
    assert compared().keys() - first.keys() >= {"_cohort/state.json", "_cohort/association.parquet"}
    # With the clock stopped all runs began at once, and any of them may be the newest.
    said = [{**json.loads(status_json(open_study(root))), "last_run": None} for root in (here, there)]
    assert said[0] == said[1]
    for root in (here, there):
        release(open_study(root), "2026-11")
    assert files(there / "releases") == files(here / "releases")

    one, other = sorted({pid(here, ref) for ref in open_study(here).roster.entries})
    stayed = [withdraw(open_study(root), one, date(2026, 1, 10), keep=True).nights for root in (here, there)]
    assert stayed[0] == stayed[1] > 0
    gone = [erase(open_study(root), other).removed["lake_files"] for root in (here, there)]
    assert gone[0] == gone[1] > 20
    assert [key for key in compared() if other in key] == []
    for root in (here, there):
        assert verify(open_study(root)) == []


# A run that ends by SIGKILL before the write of this number is asked for.
_RUN = """
import os, signal, sys
from datetime import UTC, datetime
from s3fs import S3FileSystem
from ingest._core import clock
from ingest.cli import main
clock.now = lambda: datetime(2027, 1, 1, 9, tzinfo=UTC)
left = [int(sys.argv[1])]
asked = S3FileSystem._call_s3
async def dying(self, method, *words, **said):
    left[0] -= method in ("put_object", "delete_object")
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return await asked(self, method, *words, **said)
S3FileSystem._call_s3 = dying
sys.argv = ["ingest", "--study", sys.argv[2], "run"]
main()
"""


def begun(root: Path, killed_at: int = -1) -> subprocess.Popen[bytes]:
    """`ingest run` in a process and a home of its own."""
    home = root / "home"
    home.mkdir(exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", _RUN, str(killed_at), str(root)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, env={**os.environ, "HOME": str(home)})  # fmt: skip


def test_a_run_that_is_killed_leaves_nothing_half_and_the_next_ends_in_the_same_bytes(
    tmp_path: Path, bucket: Bucket, at_nine: None
) -> None:
    here, there = pair(tmp_path, bucket)
    run(here)
    # The first export without its manifest; then the second one, and marts without their state.
    for at in (3, 10):
        process = begun(there, at)
        said = process.communicate(timeout=400)
        assert process.returncode == -signal.SIGKILL, said
        assert bucket.objects("lake").keys() < files(here / "lake").keys()
        assert verify(open_study(there)) == []
    run(there)
    assert bucket.objects("lake") == files(here / "lake")
    assert warehouse(there) == warehouse(here)


def test_what_no_manifest_names_goes_once_nobody_can_be_writing_it(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, there = pair(tmp_path, bucket)
    to_marts(there)
    before = bucket.objects("lake")
    (key,) = [key for key in before if key.startswith("sleep_session/") and pid(there, "K01") in key]
    orphan = f"{key.rpartition('/')[0]}/{'0' * 64}.{'1' * 16}.parquet"
    bucket.put(f"lake/{orphan}", b"of a killed run")
    plan(open_study(there))
    assert orphan in bucket.objects("lake")
    later = clock.now().timestamp() + 7200
    monkeypatch.setattr(clock, "now", lambda: datetime.fromtimestamp(later, UTC))
    plan(open_study(there))
    assert bucket.objects("lake") == before


def test_two_workers_with_homes_of_their_own_lose_and_double_nothing(
    tmp_path: Path, bucket: Bucket, at_nine: None
) -> None:
    here = make_study(tmp_path / "here")
    same_key(here)
    refs = [f"K{n:02d}" for n in range(3)]
    write_roster(here, dict.fromkeys(refs, "Europe/Oslo"))
    for n, ref in enumerate(refs):
        land(here, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3, 100 * n)), MARCH)
    log = ["participant_ref,taken_at,substance,amount,unit"]
    log += [f"{ref},2026-03-0{day}T20:00:00,kratom,{day}.5,g" for ref in refs for day in (1, 2, 3)]
    land(here, "_logs/doses.csv", "\n".join([*log, ""]), MARCH)
    bucket.upload(here / "landing", "in")
    workers = [tmp_path / "one", tmp_path / "two"]
    for worker in workers:
        # Of the study they have copies, of identity/ the one that both mount.
        worker.mkdir()
        for name in ("study.yaml", "roster.csv"):
            shutil.copy(here / name, worker)
        (worker / "identity").symlink_to(tmp_path / "identity")
        change_settings(with_lake(worker, bucket), landing=f"s3://{bucket.name}/in")
    shutil.copytree(here / "identity", tmp_path / "identity")
    run(here)

    started = [begun(worker) for worker in workers]
    said = [process.communicate(timeout=400) for process in started]
    # Who was overtaken says so and is tried again.
    assert {process.returncode for process in started} <= {0, 4}, said
    for worker in workers:
        run(worker)
        assert verify(open_study(worker)) == []
        assert warehouse(worker) == warehouse(here)
    assert bucket.objects("lake") == files(here / "lake")


def test_a_damaged_object_is_found_and_decoded_again(tmp_path: Path, bucket: Bucket) -> None:
    _, there = pair(tmp_path, bucket)
    to_marts(there)
    before = bucket.objects("lake")
    key = min(key for key in before if key.startswith("sleep_stage/"))
    bucket.put(f"lake/{key}", before[key][:-1])
    assert {each.invariant for each in verify(open_study(there))} == {"I1"}
    assert drop_damaged(open_study(there)) == 1
    to_marts(there)
    after = bucket.objects("lake")
    assert {name for name in before if after[name] != before[name]} <= {n for n in before if n.startswith("_manifest/")}
    assert verify(open_study(there)) == []


def test_a_listing_that_lags_behind_costs_work_and_changes_nothing(
    tmp_path: Path, bucket: Bucket, at_nine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair(tmp_path, bucket)
    to_marts(here)
    to_marts(there)
    hidden = pid(there, "K01")
    listed = object_files.pages

    def lagging(fs: S3FileSystem, url: str) -> Iterator[dict[str, Any]]:
        return (each for each in listed(fs, url) if hidden not in each["Key"])

    with monkeypatch.context() as patched:
        patched.setattr(object_files, "pages", lagging)
        study = open_study(there)
        wanted = plan(study).wanted
        assert [each.folder for each in wanted] == ["K01"]
        rebuild(study, stale(study))
        load_batch(study, [each.token for each in wanted])
    to_marts(there)
    assert bucket.objects("lake") == files(here / "lake")


def lake_of(bucket: Bucket, root: Path) -> Place:
    """A lake in the bucket, as a study has it."""
    return open_study(with_lake(make_study(root), bucket)).lake


def test_who_replaces_what_another_wrote_meanwhile_is_told(tmp_path: Path, bucket: Bucket) -> None:
    lake = lake_of(bucket, tmp_path / "study")
    path = inside(lake, "night", "participant_id=pa", "part.parquet")
    nothing = read(path)
    assert nothing.data is None
    write(path, b"one", nothing)
    one = read(path)
    with pytest.raises(Transient, match="another process"):
        write(path, b"other", nothing)
    write(path, b"two", one)
    with pytest.raises(Transient, match="another process"):
        write(path, b"three", one)
    remove(path)
    with pytest.raises(Transient, match="another process"):
        write(path, b"three", one)
    assert read(path).data is None
    # The same bytes stand there already: an answer was lost, or the other one did the same work.
    write(path, b"two")
    write(path, b"two", one)
    assert read(path).data == b"two"


def test_places_of_a_store_are_those_of_a_folder(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PAGE", 2)
    lake = lake_of(bucket, tmp_path / "study")
    folder: Place = tmp_path / "lake"
    made = {
        f"table/participant_id=p{n}/{name}": f"{n}{name}".encode() for n in range(3) for name in ("a.json", "b.parquet")
    }
    made |= {"table/participant_id=p1x/a.json": b"of another", "other/c.json": b"c", "other/d.parquet": b"d"}
    for place in (folder, lake):
        assert names(place) == [] == list(committed(place))
        write_each({inside(place, *name.split("/")): data for name, data in made.items()})

    def seen(place: Place) -> list[Any]:
        old, young = NOW.timestamp() - 1e9, NOW.timestamp() + 1e9
        found = [(name, sorted((n, older(old), older(young)) for n, older in held))
                 for name, held in in_subfolders(place / "table")]  # fmt: skip
        return [names(place), names(place / "table"), names(place / "nowhere"), list(committed(place / "other")),
                list(committed(place / "table" / "participant_id=p1")), sorted(found),
                list(in_subfolders(place / "nowhere"))]  # fmt: skip

    assert seen(lake) == seen(folder)
    for place in (folder, lake):
        assert wipe(inside(place, "table", "participant_id=p1")) == 2
        assert wipe(inside(place, "other", "c.json")) == 1
        assert wipe(inside(place, "table", "participant_id=p1")) == wipe(inside(place, "other", "c.json")) == 0
    assert seen(lake) == seen(folder)
    assert "table/participant_id=p1x/a.json" in bucket.objects("lake")
    with pytest.raises(Terminal, match="nothing was written"):
        inside(lake, "table", "..", "x")


def test_an_erasure_takes_former_versions_with_it(tmp_path: Path, bucket: Bucket) -> None:
    bucket.client.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    _, there = pair(tmp_path, bucket)
    to_marts(there)
    one, other = pid(there, "K01"), pid(there, "K02")
    land(there, "K01/sleep-2026-03-02.json", as_json(fitbit_nights(datetime(2026, 3, 4, 23), 1, 90)), MARCH)
    to_marts(there)

    def kept() -> Counter[str]:
        said = bucket.client.list_object_versions(Bucket=bucket.name)
        every = [*said.get("Versions", ()), *said.get("DeleteMarkers", ())]
        return Counter(who for each in every for who in (one, other) if who in each["Key"])

    before, now = kept(), sum(one in key for key in bucket.listed())
    assert before[one] > now
    assert erase(open_study(there), one).removed["lake_files"] == now
    assert kept() == {other: before[other]}


def broken(study: Study) -> list[Any]:
    """The ways in which a lake is asked."""
    return [lambda: participants(study.lake), lambda: manifests(study.lake, "pa"), lambda: plan(study),
            lambda: write(study.lake / "x", b""), lambda: remove(study.lake / "x"), lambda: wipe(study.lake / "x"),
            lambda: list(in_subfolders(study.lake / "night"))]  # fmt: skip


def test_a_store_that_does_not_answer_is_transient(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_ATTEMPTS", 1)
    root = with_lake(make_study(tmp_path / "study"), bucket)
    change_settings(root, object_storage={"endpoint_url": "http://127.0.0.1:9", "region": "us-east-1"})
    for ask in broken(open_study(root)):
        with pytest.raises(Unreachable, match="the lake: the object storage does not answer"):
            ask()
    done = command("--study", root, "run")
    assert (done.returncode, "the lake" in done.stderr) == (4, True)


def test_a_store_that_refuses_is_terminal(tmp_path: Path, bucket: Bucket) -> None:
    _, there = pair(tmp_path, bucket)
    to_marts(there)
    before = bucket.objects("lake")
    with bucket.store.closed_to_all():
        for ask in broken(open_study(there)):
            with pytest.raises(Terminal, match="the lake: the object storage refuses access"):
                ask()
        done = command("--study", there, "run")
        assert (done.returncode, "the lake" in done.stderr) == (3, True)
    assert bucket.objects("lake") == before


def test_a_bucket_that_is_not_there_is_told(tmp_path: Path, bucket: Bucket) -> None:
    root = with_lake(make_study(tmp_path / "study"), bucket)
    change_settings(root, lake="s3://nobodys-bucket/lake")
    with pytest.raises(WrongUse, match="the lake: there is no such bucket"):
        plan(open_study(root))


def test_a_key_that_is_missing_while_the_lake_holds_somebody_is_told(tmp_path: Path, bucket: Bucket) -> None:
    _, there = pair(tmp_path, bucket)
    to_marts(there)
    (there / "identity" / "key").unlink()
    with pytest.raises(Terminal, match="identity/key is missing"):
        plan(open_study(there))


def test_postgresql_is_filled_from_a_lake_of_objects(tmp_path: Path, bucket: Bucket, postgres: str) -> None:
    here, there = pair(tmp_path, bucket)
    change_settings(there, warehouse=postgres)
    run(here)
    assert run(there).published.rows["sleep_stage"] > 0
    asked = ("select participant_id, night_date, tst_min, waso_min from night order by 1, 2",
             "select session_id, start_utc, end_utc, stage from sleep_stage order by 1, 2")  # fmt: skip
    with opened(open_study(here)) as of_files, opened(open_study(there)) as of_objects:
        for sql in asked:
            assert of_objects.rows(sql) == of_files.rows(sql) != []
    assert verify(open_study(there)) == []

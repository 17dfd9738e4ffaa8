"""Landing as a prefix in an object store: the same as a folder, read only, and what the store may do meanwhile."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from s3fs import S3FileSystem

from ingest._core import clock, objects
from ingest._core.errors import Terminal, Unreachable, WrongUse
from ingest._core.settings import Settings
from ingest._core.study import open_study
from ingest.arrive import fetched
from ingest.arrive.arrivals import open_arrivals
from ingest.arrive.landing import NotAFile, Unit, units
from ingest.convert import convert
from ingest.demo.study import make_study as make_demo
from ingest.erase import erase
from ingest.lake.load import LoadResult, load_batch
from ingest.lake.plan import plan
from ingest.report.exports import exports
from ingest.report.quarantine import value_reader
from ingest.report.verify import verify
from stores import CREDENTIALS, Bucket, Store
from studies import (
    COMMAND,
    PROJECT,
    as_json,
    change_settings,
    command,
    files,
    fitbit_nights,
    lake_table,
    land,
    make_study,
    quarantine,
    run,
    write_roster,
)

MARCH = datetime(2026, 3, 1, 23)
NIGHTS = as_json(fitbit_nights(MARCH, 3))
LATER = datetime(2027, 1, 1, 9, tzinfo=UTC)


@pytest.fixture
def study(tmp_path: Path, bucket: Bucket) -> Path:
    """A study whose landing is the prefix `in` of the bucket."""
    return make_study(tmp_path / "study", landing=f"s3://{bucket.name}/in", **bucket.settings)


def load(root: Path) -> LoadResult:
    """From landing into the lake."""
    study = open_study(root)
    return load_batch(study, [each.token for each in plan(study).wanted])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Requests to the store, by what they ask."""
    counted: Counter[str] = Counter()
    asked = S3FileSystem._call_s3

    async def counting(self: S3FileSystem, method: str, *words: Any, **said: Any) -> Any:
        counted[method] += 1
        return await asked(self, method, *words, **said)

    monkeypatch.setattr(S3FileSystem, "_call_s3", counting)
    monkeypatch.setattr(S3FileSystem, "call_s3", lambda self, method, **said: _counted(self, counted, method, said))
    return counted


def _counted(fs: S3FileSystem, counted: Counter[str], method: str, said: dict[str, Any]) -> Any:
    from fsspec.asyn import sync

    return sync(fs.loop, fs._call_s3, method, **said)


def test_a_landing_of_objects_gives_the_bytes_of_a_folder(
    tmp_path: Path, bucket: Bucket, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: LATER)
    here, there = tmp_path / "here", tmp_path / "there"
    make_demo(here, people=2, nights=12)
    (here / "identity").mkdir(mode=0o700)
    (here / "identity" / "key").write_text("5a" * 32 + "\n")
    shutil.copytree(here, there)
    bucket.upload(here / "landing", "a study/in")
    change_settings(there, landing=f"s3://{bucket.name}/a study/in", **bucket.settings)
    for path in (there / "landing").rglob("*"):
        if path.is_file():
            path.unlink()
    before = bucket.listed()
    first, second = run(here), run(there)
    assert second.loaded.counts() == first.loaded.counts()
    assert second.loaded.exports["loaded"] > 5
    assert files(there / "lake") == files(here / "lake")
    assert bucket.listed() == before
    assert set(calls) == {"list_objects_v2", "head_object", "get_object"}
    # What was seen is known: the next look asks for nothing but the list, and decodes nothing.
    calls.clear()
    again = run(there)
    assert (again.present, again.loaded.counts()["exports"]) == (first.present, 0)
    assert calls == {"list_objects_v2": 1}
    assert verify(open_study(there)) == []


def test_a_listing_comes_in_pages(
    study: Path, bucket: Bucket, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PAGE", 7)
    names = [f"{n:02d}.json" for n in range(30)]
    for name in names:
        bucket.put(f"in/K01/{name}", "[]")
    with open_arrivals(open_study(study)) as store:
        (unit,) = units(open_study(study), store)
        assert isinstance(unit, Unit)
        assert [file.name for file in unit.files] == names
        assert calls["list_objects_v2"] == 5
        assert calls["head_object"] == 0
        calls.clear()
        assert [each.path for each in units(open_study(study), store)] == [unit.path]
        assert calls == {"list_objects_v2": 5}


def _zip(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


def test_units_are_those_of_a_folder(study: Path, bucket: Bucket) -> None:
    for name in ("K01/a.json", "K01/b.json", "K01/export/deep/down/c.json", "K01/export/d.json", "K02/a.json",
                 "K01/.DS_Store", "K01/._a.json", "K01/__MACOSX/a.json"):  # fmt: skip
        land(study, name, "[]")
        bucket.put(f"in/{name}", "[]")
    for name in ("K01/x.zip", "K01/export/deep/y.zip"):
        land(study, name, _zip(a=b"1"))
        bucket.put(f"in/{name}", _zip(a=b"1"))
    bucket.put("in/K01/empty folder/", "")
    there = open_study(study)
    change_settings(study, landing="landing")
    here = open_study(study)

    def shape(found: Iterator[Unit | NotAFile], top: str) -> set[tuple[Any, ...]]:
        return {(each.folder, str(each.path).removeprefix(top), each.archived, tuple(f.name for f in each.files))
                for each in found if isinstance(each, Unit)}  # fmt: skip

    expected = shape(units(here), str(here.landing))
    assert len(expected) == 5
    assert shape(units(there), str(there.landing_url)) == expected


HOSTILE = ["in/../up.json", "in/./dot.json", "in//empty.json", "in/K01//empty.json", "in/K01/../../up.json",
           "in/K01/nul\0.json", "in/K01/x/./dot.json", "in/K01/shadow.json", "in/alone.json", "in/K01/not empty/",
           "in/K01/a.json?versionId=x"]  # fmt: skip
ODD = ["in/K01/back\\slash.json", "in/K01/..\\..\\up.json", "in/K01/ \u202e?#%2F&+~.json", "in/K01/a*[b]{c}.json",
       "in/K01/" + "k" * (1024 - 7), "in/K01/s3:.json"]  # fmt: skip


def test_keys_that_no_folder_could_hold_are_told_and_odd_ones_read(study: Path, bucket: Bucket) -> None:
    for key in (*HOSTILE, "in/K01/shadow.json/below.json"):
        bucket.put(key, "[]")
    for number, key in enumerate(ODD):
        bucket.put(key, as_json(fitbit_nights(MARCH + timedelta(days=7 * number), 2, 100 * number)))
    found = list(units(open_study(study)))
    told = {str(each.path).removeprefix(f"s3://{bucket.name}/") for each in found if isinstance(each, NotAFile)}
    assert told == set(HOSTILE)
    assert len([each for each in found if isinstance(each, Unit)]) == 2
    outside = {path for path in study.parent.rglob("*") if study / "lake" not in path.parents}
    assert plan(open_study(study)).not_files == len(HOSTILE)
    load(study)
    with open_arrivals(open_study(study)) as store:
        names = {f"{each.unit_path}/{name}" for each in store.all() for _, name, _ in each.claim["members"]}
    assert {f"s3://{bucket.name}/{key}" for key in ODD if key.endswith(".json")} <= names
    new = {path for path in study.parent.rglob("*") if study / "lake" not in path.parents} - outside
    assert {path.relative_to(study).parts[0] for path in new} <= {
        "lake",
        "identity",
        "warehouse.duckdb",
        "warehouse.duckdb.lock",
    }


def _replace_at(monkeypatch: pytest.MonkeyPatch, when: str, change: Callable[[], None]) -> None:
    """Once, before (`opened`) or after the first block (`read`) of an object is asked for."""
    waiting = [change]
    if when == "opened":
        asked = S3FileSystem._open

        def opened(self: S3FileSystem, *words: Any, **said: Any) -> Any:
            if waiting:
                waiting.pop()()
            return asked(self, *words, **said)

        monkeypatch.setattr(S3FileSystem, "_open", opened)
        return
    copied = fetched._copy

    def after_a_block(stream: Any, spool: Any) -> None:
        spool.write(stream.read(1))
        if waiting:
            waiting.pop()()
        copied(stream, spool)

    monkeypatch.setattr(fetched, "_BLOCK", 64)
    monkeypatch.setattr(fetched, "_copy", after_a_block)


@pytest.mark.parametrize("when", ["opened", "read"])
@pytest.mark.parametrize("what", ["replaced", "gone"])
def test_an_object_that_changes_while_it_is_read_waits(
    study: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, when: str, what: str
) -> None:
    key = "in/K01/sleep-2026-03-01.json"
    bucket.put(key, NIGHTS)
    later = as_json(fitbit_nights(MARCH, 4))
    changes = {"replaced": lambda: bucket.put(key, later), "gone": lambda: bucket.remove(key)}
    _replace_at(monkeypatch, when, changes[what])
    assert plan(open_study(study)).unsettled == 1
    monkeypatch.undo()
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    if what == "gone":
        bucket.put(key, later)
    assert load(study).counts()["kept"] == 4


@pytest.mark.parametrize("what", ["replaced", "gone", "replaced while it is read"])
def test_what_changed_after_the_plan_is_left_for_the_next_run(
    study: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    key = "in/K01/sleep-2026-03-01.json"
    bucket.put(key, NIGHTS)
    opened = open_study(study)
    tokens = [each.token for each in plan(opened).wanted]
    later = as_json(fitbit_nights(MARCH, 4))
    if what == "replaced while it is read":
        _replace_at(monkeypatch, "opened", lambda: bucket.put(key, later))
    elif what == "gone":
        bucket.remove(key)
    else:
        bucket.put(key, later)
    late = load_batch(opened, tokens)
    assert (late.gone, late.counts()["exports"]) == (1, 0)
    bucket.put(key, later)
    assert load(study).counts()["kept"] == 4


def test_an_object_settles_by_its_time_of_writing(study: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    change_settings(study, quiet_seconds=3600)
    bucket.put("in/K01/sleep-2026-03-01.json", NIGHTS)
    waiting = plan(open_study(study))
    assert (waiting.unsettled, waiting.present) == (1, 0)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(hours=1, seconds=1))
    settled = plan(open_study(study))
    assert (settled.unsettled, settled.present, len(settled.wanted)) == (0, 1, 1)


def test_a_folder_that_grows_replaces_what_it_was(study: Path, bucket: Bucket) -> None:
    """Whole as each object is, a folder of them may be looked at half way up."""
    bucket.put("in/K01/Takeout/sleep-2026-03-01.json", NIGHTS)
    assert load(study).counts()["kept"] == 3
    bucket.put("in/K01/Takeout/sleep-2026-04-01.json", as_json(fitbit_nights(datetime(2026, 4, 1, 23), 2, 2000)))
    assert load(study).counts()["kept"] == 5
    assert len(lake_table(study, "sleep_session")) == 5
    assert load(study).counts()["exports"] == 0


def test_what_is_fetched_has_no_name(
    study: Path, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    data = os.urandom(100_000)
    for name in ("a", "b"):
        bucket.put(f"in/K01/{name}", name.encode() + data)
    (unit,) = units(open_study(study))
    assert isinstance(unit, Unit)
    first, second = (file.open() for file in unit.files)
    with first, second:
        assert list((tmp_path / "tmp").iterdir()) == []
        # Both lie in one file, and each is read from its own place.
        assert second.read(1000) == (b"b" + data)[:1000]
        assert first.read() == b"a" + data
        assert second.seek(-10, os.SEEK_END) == 99_991
        assert second.read() == data[-10:]


def test_lines_and_values_of_the_quarantine_are_found_again(study: Path, bucket: Bucket) -> None:
    log = "substance,taken_at,amount,unit\nkratom,2026-03-01T21:00,2,g\nkratom,2026-03-02T21:00,two,g\n"
    bucket.put("in/K01/log.csv", log)
    bucket.put("in/K01/logs.zip", _zip(**{"in.csv": log.replace("2026", "2025").encode()}))
    bucket.put("in/K01/strange.zip", b"PK\3\4 but nothing of a zip")
    load(study)
    value = value_reader(open_study(study))
    shown = {(str(line.path).removeprefix(f"s3://{bucket.name}/in/"), line.member, line.locator, value(line))
             for line in quarantine(study)}  # fmt: skip
    assert shown == {
        ("K01/log.csv", None, "row 2, amount", "kratom,2026-03-02T21:00,two,g"),
        ("K01/logs.zip", "in.csv", "row 2, amount", "kratom,2025-03-02T21:00,two,g"),
        ("K01/strange.zip", None, "file", None),
    }


def test_verify_reads_the_bytes_of_objects(study: Path, bucket: Bucket) -> None:
    bucket.put("in/K01/sleep-2026-03-01.json", NIGHTS)
    load(study)
    assert verify(open_study(study)) == []
    # As if the store gave other bytes under the same version.
    with sqlite3.connect(study / "identity" / "arrivals.sqlite") as store:
        store.execute("update file_hash set sha256 = ?", ("0" * 64,))
    store.close()
    (told,) = verify(open_study(study))
    assert told.invariant == "I5"
    assert told.where.startswith("1 files of one landing folder have other bytes")


def test_a_study_may_move_to_a_store_and_back(tmp_path: Path, bucket: Bucket) -> None:
    study = make_study(tmp_path / "study")
    land(study, "K01/sleep-2026-03-01.json", NIGHTS)
    load(study)
    before = files(study / "lake")
    bucket.put("in/K01/sleep-2026-03-01.json", NIGHTS)
    change_settings(study, landing=f"s3://{bucket.name}/in", **bucket.settings)
    assert load(study).counts()["exports"] == 0
    assert [each.path for each in exports(open_study(study))] == [f"s3://{bucket.name}/in/K01"]
    change_settings(study, landing="landing")
    assert load(study).counts()["exports"] == 0
    assert files(study / "lake") == before


def test_an_erasure_forgets_the_urls_and_leaves_the_objects(study: Path, bucket: Bucket) -> None:
    write_roster(study, dict.fromkeys(("K01", "K02"), "Europe/Oslo"))
    for ref, log_id in (("K01", 1000), ("K02", 5000)):
        bucket.put(f"in/{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 3, log_id)))
    bucket.put("in/_logs/log.csv", "participant_ref,substance,taken_at,amount,unit\nK02,kratom,2026-03-01T21:00,2,g\n")
    load(study)
    before = bucket.listed()
    done = erase(open_study(study), "K01")
    size = before["in/K01/sleep-2026-03-01.json"]["Size"]
    assert done.remains[0].startswith(f"landing: 1 files, {size:,} bytes")
    assert done.remains[1].startswith("landing/_logs: 1 study-wide files")
    assert bucket.listed() == before
    kept = (study / "identity" / "arrivals.sqlite").read_bytes()
    assert b"/in/K02" in kept
    assert b"/in/K01" not in kept
    assert plan(open_study(study)).erased == 1
    load(study)
    assert len(lake_table(study, "sleep_session")) == 3


@pytest.mark.parametrize("what", ["object", "prefix"])
def test_convert_takes_objects(tmp_path: Path, bucket: Bucket, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    export = tmp_path / "export" / "deep" / "sleep-2026-03-01.json"
    export.parent.mkdir(parents=True)
    export.write_bytes(NIGHTS)
    bucket.upload(tmp_path / "export", "some/export")
    path, url = {"object": (export, "some/export/deep/sleep-2026-03-01.json"),
                 "prefix": (tmp_path / "export", "some/export")}[what]  # fmt: skip
    monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.store.url)
    said = []
    for source, to in ((path, tmp_path / "here"), (f"s3://{bucket.name}/{url}", tmp_path / "there")):
        said.append([line.replace(str(to), "") for line in convert(str(source), "Europe/Oslo", to)])
    assert said[0] == said[1]
    tables = files(tmp_path / "here")
    assert "night.parquet" in tables
    assert files(tmp_path / "there") == tables
    with pytest.raises(WrongUse, match="is not there"):
        list(convert(f"s3://{bucket.name}/nothing", "UTC", tmp_path / "x"))


def test_a_store_that_does_not_answer_is_transient(study: Path, bucket: Bucket) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    change_settings(study, object_storage={"endpoint_url": f"http://127.0.0.1:{port}"})
    done = command("--study", study, "-v", "run")
    assert done.returncode == 4
    assert f"s3://{bucket.name}/in: the object storage does not answer" in done.stderr
    for secret in (*CREDENTIALS.values(), "Traceback"):
        assert secret not in done.stdout + done.stderr


def test_a_store_that_goes_in_the_middle_stops_the_run_and_nothing_is_marked_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    there = store.bucket()
    study = make_study(tmp_path / "study", landing=f"s3://{there.name}/in", **there.settings)
    there.put("in/K01/sleep-2026-03-01.json", NIGHTS)
    load(study)
    there.put("in/K01/sleep-2026-04-01.json", as_json(fitbit_nights(datetime(2026, 4, 1, 23), 2, 2000)))
    _replace_at(monkeypatch, "opened", store.close)
    with pytest.raises(Unreachable):
        plan(open_study(study))
    with open_arrivals(open_study(study)) as arrivals:
        assert len(arrivals.present()) == 1


def test_a_bucket_that_is_not_there_is_told(study: Path) -> None:
    change_settings(study, landing="s3://no-such-bucket/in")
    with pytest.raises(WrongUse, match="s3://no-such-bucket/in: there is no such bucket"):
        plan(open_study(study))


def test_missing_credentials_are_told(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(WrongUse, match="no credentials; set AWS_PROFILE"):
        plan(open_study(study))


def test_a_refused_listing_is_told(study: Path, bucket: Bucket) -> None:
    bucket.put("in/K01/sleep-2026-03-01.json", NIGHTS)
    with bucket.store.closed_to_all(), pytest.raises(Terminal, match="the object storage refuses access"):
        plan(open_study(study))


def test_a_refused_object_is_left_alone(study: Path, bucket: Bucket) -> None:
    bucket.put("in/K01/sleep-2026-03-01.json", NIGHTS)
    bucket.put("in/K01/closed.json", NIGHTS)

    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
                 "Resource": f"arn:aws:s3:::{bucket.name}/in/K01/closed.json"}  # fmt: skip
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=json.dumps({"Statement": [statement]}))
    assert plan(open_study(study)).not_files == 1
    assert load(study).counts()["kept"] == 3


def test_an_empty_prefix_is_an_empty_landing(study: Path) -> None:
    assert plan(open_study(study)).present == 0


@pytest.mark.parametrize("said", ["s3://", "s3://b", "s3://bucket/a//b", "s3://bucket/../x", "s3://key:secret@bucket/x",
                                  "s3://bucket/x?versionId=1\n", "gs://bucket/x", "elsewhere", "/landing",
                                  "s3://bucket/a\\b"])  # fmt: skip
def test_a_landing_that_is_no_place_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="expected `landing`") as raised:
        Settings(study="s", landing=said)
    assert "secret" not in str(raised.value.errors()[0]["msg"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", ["elsewhere", "/lake", "landing", "s3://key:secret@bucket/x", "gs://bucket/lake"])
def test_a_lake_that_is_no_place_is_refused(study: Path, said: str) -> None:
    change_settings(study, lake=said)
    with pytest.raises(WrongUse, match=r"study.yaml line \d+, lake: expected `lake`") as raised:
        open_study(study)
    assert "secret" not in str(raised.value)


def test_the_commands_of_the_page_can_be_typed_in(study: Path, bucket: Bucket, tmp_path: Path) -> None:
    page = (PROJECT / "docs/object-storage.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert Settings(study="s", **yaml.safe_load(said)).object_storage.region == "eu-north-1"
    (typed,) = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    change_settings(study, lake=f"s3://{bucket.name}/lake")
    write_roster(study, {"P01": "Europe/Oslo"})
    bucket.put("in/P01/takeout.zip", _zip(**{"Takeout/Fitbit/Global Export Data/sleep-2026-03-01.json": NIGHTS}))
    environment = {**os.environ, "PATH": f"{COMMAND.parent}:/usr/bin:/bin", "INGEST_STUDY": str(study),
                   "LANDING": f"s3://{bucket.name}/in", "AWS_ENDPOINT_URL": bucket.store.url}  # fmt: skip
    done = subprocess.run(["/bin/bash", "-eu"], input=typed, env=environment, cwd=tmp_path, text=True,
                          capture_output=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"rebuilt +1 participants, 3 nights", done.stdout)
    assert f"s3://{bucket.name}/in/P01/takeout.zip  fitbit, loaded" in done.stdout
    assert "I5: holds" in done.stdout
    assert "night.parquet" in files(tmp_path / "one-export")
    assert len([key for key in bucket.objects("lake") if key.startswith("night/")]) == 1


def test_secrets_have_no_place_in_study_yaml(study: Path) -> None:
    for setting in ({"secret": "Zebrowski"}, {"endpoint_url": "https://key:Zebrowski@store.example.org"}):
        change_settings(study, object_storage=setting)
        with pytest.raises(WrongUse, match="object_storage") as raised:
            open_study(study)
        assert "Zebrowski" not in str(raised.value)

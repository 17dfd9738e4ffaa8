"""An encrypted lake: the same study to everybody who has the key, and nothing to anybody else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from faults.loops import PRESENT, Start, killed_at_event
from faults.small import (
    FROZEN,
    OLD,
    Forked,
    broken,
    comparable,
    copied,
    dies_at,
    differences,
    ran,
    sample,
    small_study,
    tables_of,
    whole,
)
from ingest import open_study as open_study_tables
from ingest._core import clock
from ingest._core.ciphers import Cipher
from ingest._core.contract import LAKE, MART, tables
from ingest._core.errors import Terminal, Transient, WrongUse
from ingest._core.keys import in_use
from ingest._core.study import open_study
from ingest.encryption import settle_encryption
from ingest.erase import erase
from ingest.lake.encryption import mixed
from ingest.lake.load import load_batch
from ingest.lake.pack import compact
from ingest.lake.parquet import is_encrypted
from ingest.lake.plan import plan
from ingest.lake.store import damaged, manifests, parquet_path, participants, read_all
from ingest.mart.rebuild import rebuild, stale
from ingest.rekey import rekey
from ingest.report.verify import verify
from stores import Bucket
from studies import (
    PROJECT,
    as_json,
    change_settings,
    command,
    files,
    fitbit_nights,
    lake_table,
    land,
    make_study,
    pid,
    rows,
    run,
)
from tries import SOAK, tries

PAGE = PROJECT / "docs" / "encryption.md"  # docs/encryption.md
ON, OFF = {"lake_encryption": True}, {"lake_encryption": False}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study after its run, its lake in the clear."""
    root = small_study(tmp_path_factory.mktemp("plain") / "study")
    ran(root)
    return root


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study before its run, to be encrypted."""
    return small_study(tmp_path_factory.mktemp("fresh") / "study", **ON)


@pytest.fixture(scope="module")
def sealed(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It after its run."""
    root = copied(fresh, tmp_path_factory.mktemp("sealed") / "study")
    ran(root)
    return root


def parquet(root: Path) -> dict[str, bytes]:
    """The lake's Parquet files by name."""
    return {name: data for name, data in files(root / "lake").items() if name.endswith(".parquet")}


def encrypted(root: Path) -> set[bool]:
    """Whether the lake's files are encrypted: {True}, {False}, or both."""
    return {is_encrypted(data) for data in parquet(root).values()}


def settled(root: Path, on: bool) -> int:
    change_settings(root, lake_encryption=on)
    return settle_encryption(open_study(root))


def test_the_study_is_the_same(plain: Path, sealed: Path) -> None:
    assert tables_of(sealed) == tables_of(plain)
    assert encrypted(sealed) == {True}
    assert encrypted(plain) == {False}
    assert set(parquet(sealed)) == set(parquet(plain))
    one, other = open_study(plain), open_study(sealed)
    for person in participants(one.lake):
        assert read_all(other.lake, manifests(other.lake, person)) == read_all(one.lake, manifests(one.lake, person))
        # Manifests differ in what they know files by, and in nothing else.
        hashes = {each.sha256 for of in manifests(other.lake, person) for each in of.files.values()}
        assert all(each.startswith("rows:") for each in hashes)
    assert broken(sealed) == []


def test_nothing_of_it_stands_in_the_clear(plain: Path, sealed: Path) -> None:
    words = {pid(plain, ref) for ref in ("K01", "K02")} | {"kratom", "caffeine", "participant_id", "tst_min"}
    words |= {name for table in (*tables(LAKE), *tables(MART)) for name in lake_table(plain, table).column_names
              if len(name) > 6}  # fmt: skip
    seen = {word for word in words for data in parquet(plain).values() if word.encode() in data}
    assert len(seen) > 100
    assert seen >= {"kratom", "caffeine", "participant_id", "tst_min", pid(plain, "K01")}
    assert [name for name, data in parquet(sealed).items() for word in words if word.encode() in data] == []


def test_no_key_stands_anywhere_but_in_identity(sealed: Path, tmp_path: Path) -> None:
    root = copied(sealed, tmp_path / "study")
    change_settings(root, **OFF)
    said = command("--study", root, "run")
    assert said.returncode == 0, said.stderr
    assert "files of the lake from before are encrypted; `ingest encryption` rewrites them" in said.stdout
    cipher = Cipher(root / "identity", True)
    keys = [bytes.fromhex("5a" * 32), *(cipher.key_of(table) for table in (*tables(LAKE), *tables(MART)))]
    shapes = [shape for key in keys for shape in (key, key.hex().encode(), b64encode(key))]
    stores = {name: data for name, data in files(root).items() if not name.startswith("identity/key")}
    stores["printed"] = (said.stdout + said.stderr).encode()
    assert [name for name, data in stores.items() for shape in shapes if shape in data] == []


def test_a_second_run_and_a_backfill_leave_every_byte(sealed: Path, tmp_path: Path) -> None:
    root = copied(sealed, tmp_path / "study")

    def again() -> None:
        clock.now = lambda: FROZEN  # type: ignore[assignment]
        study = open_study(root)
        from ingest.arrive.arrivals import open_arrivals

        with open_arrivals(study) as store:
            tokens = [arrival.token for arrival in store.present()]
        assert load_batch(study, tokens).exports.total() == len(tokens) > 4
        assert len(rebuild(study, sorted(set(participants(study.lake)))).participants) > 2

    process = Forked(again)
    assert process.wait() == 0, process.said
    assert files(root / "lake") == files(sealed / "lake")
    ran(root)
    assert files(root / "lake") == files(sealed / "lake")


def test_killed_in_a_run_it_ends_the_same(fresh: Path, sealed: Path, tmp_path: Path) -> None:
    start = Start(fresh, {FROZEN: whole(sealed)})
    outcomes = [killed_at_event(start, tmp_path, nth) for nth in sample(150, tries(1), 20261130)]
    assert [problem for each in outcomes for problem in each.problems] == []
    assert sum(each.kills for each in outcomes) == tries(1)


def _to_marts(root: Path) -> None:
    clock.now = lambda: PRESENT  # type: ignore[assignment]
    pa.set_cpu_count(1)  # type: ignore[no-untyped-call]
    study = open_study(root)
    load_batch(study, [each.token for each in plan(study).wanted])
    rebuild(study, stale(study))


def test_two_at_once_leave_files_that_fit_their_manifests(fresh: Path, sealed: Path, tmp_path: Path) -> None:
    root = copied(fresh, tmp_path / "study")
    both = [Forked(partial(_to_marts, root)) for _ in range(2)]
    assert {process.wait() for process in both} <= {0, Transient.exit_code}, [process.said for process in both]
    alone = Forked(partial(_to_marts, root))
    assert alone.wait() == 0, alone.said
    lake = open_study(root).lake
    assert [each for person in participants(lake) for each in damaged(lake, manifests(lake, person))] == []
    # When a signal was first seen is this run's own.
    marts = tuple(f"{table}/" for table in tables(MART) if table != "safety_signal")
    built, wanted = ({name: data for name, data in comparable(each).items() if name.startswith(marts)}
                     for each in (root, sealed))  # fmt: skip
    assert built == wanted


def test_damaged_and_swapped_files_are_found_and_made_again(sealed: Path, tmp_path: Path) -> None:
    root = copied(sealed, tmp_path / "study")
    lake = root / "lake"
    one, other = (f"participant_id={pid(root, ref)}" for ref in ("K01", "K02"))
    bent = next((lake / "sleep_session" / one).iterdir())
    bent.write_bytes(bent.read_bytes()[:40] + b"?" + bent.read_bytes()[41:])
    # Their shares of the same log: a name, a table and an age in common.
    (log,) = (of for of in manifests(lake, pid(root)) if of.rows_hash is not None)
    mine, theirs = (parquet_path(lake, "substance_use", pid(root, ref), log) for ref in ("K01", "K02"))
    mine.write_bytes(theirs.read_bytes())
    shutil.copy(lake / "night" / one / "part.parquet", lake / "night" / other / "part.parquet")
    mart = lake / "night_source" / one / "part.parquet"
    mart.write_bytes(mart.read_bytes()[:-30])
    found = broken(root)
    assert sorted(each.split()[1] for each in found if "export" in each) == ["sleep_session", "substance_use"]
    assert [each.split()[1:4:2] for each in found if "export" not in each] == [
        [table, "participant"] for table, _ in sorted([("night", other), ("night_source", one)], key=lambda p: p[1])
    ]
    said = command("--study", root, "verify", "--repair")
    assert "2 damaged exports taken out" in said.stdout
    assert "nights of 2 participants are damaged" in said.stdout
    ran(root)
    assert broken(root) == []
    assert differences(root, whole(sealed)) == []


def test_turned_on_and_off_the_lake_follows(plain: Path, sealed: Path, tmp_path: Path) -> None:
    root = copied(plain, tmp_path / "study")
    count = len(parquet(plain))
    assert mixed(open_study(root)) is None
    change_settings(root, **ON)
    assert "stand in the clear; `ingest encryption` rewrites them" in str(mixed(open_study(root)))
    assert settled(root, True) == count
    assert mixed(open_study(root)) is None
    assert comparable(root) == comparable(sealed)
    assert settled(root, True) == 0
    change_settings(root, **OFF)
    assert "are encrypted; `ingest encryption`" in str(mixed(open_study(root)))
    assert settled(root, False) == count
    assert files(root / "lake") == files(plain / "lake")


def test_turning_on_is_killed_anywhere_and_called_again(plain: Path, sealed: Path, tmp_path: Path) -> None:
    one = open_study(plain)
    rows = {person: read_all(one.lake, manifests(one.lake, person)) for person in participants(one.lake)}
    both = set()
    for nth in sample(300, tries(3), 7):
        root = copied(plain, tmp_path / f"{nth}")
        change_settings(root, **ON)
        study = open_study(root)
        process = Forked(lambda nth=nth, study=study: (dies_at(nth), settle_encryption(study)))  # type: ignore[misc]
        assert process.wait() == -9, process.said
        both |= {frozenset(encrypted(root))}
        # What stands half done is whole to whoever reads it.
        for person, wanted in rows.items():
            assert read_all(study.lake, manifests(study.lake, person)) == wanted, nth
        settle_encryption(study)
        for path in root.rglob(".tmp-*"):
            path.unlink()
        assert comparable(root) == comparable(sealed)
        shutil.rmtree(root)
    assert frozenset({True, False}) in both


def test_a_lake_of_both_is_published(plain: Path, tmp_path: Path) -> None:
    root = copied(plain, tmp_path / "study")
    change_settings(root, **ON)
    process = Forked(lambda: (dies_at(150), settle_encryption(open_study(root))))
    assert process.wait() == -9
    assert encrypted(root) == {True, False}
    (root / "warehouse.duckdb").unlink()
    ran(root)
    assert tables_of(root) == tables_of(plain)
    assert broken(root) == []


def test_nobody_works_while_files_are_rewritten(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copied(plain, tmp_path / "study")
    change_settings(root, **ON)
    monkeypatch.setattr("ingest._core.files.LOCK_WAIT_S", 0)
    with in_use(root / "identity"), pytest.raises(Transient, match="busy"):
        settle_encryption(open_study(root))
    assert files(root / "lake") == files(plain / "lake")


def test_packed_files_follow_too(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", **ON)
    for day in range(1, 5):
        land(
            root,
            f"K01/{day}/sleep-2026-03-0{day}.json",
            as_json(fitbit_nights(datetime(2026, 3, day, 23), 1, day)),
            OLD,
        )
    study = open_study(root)
    load_batch(study, [each.token for each in plan(study).wanted])
    person = pid(root)
    rows = read_all(study.lake, manifests(study.lake, person))
    assert compact(study).changed == [person]
    assert len(parquet(root)) < 4
    for on in (True, False, True):
        settled(root, on)
        study = open_study(root)
        assert encrypted(root) == {on}
        assert read_all(study.lake, manifests(study.lake, person)) == rows
        assert damaged(study.lake, manifests(study.lake, person)) == []
        assert compact(study).changed == []


def test_a_new_key_opens_all_and_the_old_one_nothing(sealed: Path, tmp_path: Path) -> None:
    root = copied(sealed, tmp_path / "study")
    nights = [row[1:] for row in tables_of(root)["night"]]
    said, old = (
        json.loads((root / "lake" / "_encryption" / "state.json").read_bytes()),
        Cipher(sealed / "identity", True),
    )
    assert said == {"key_id": old.key_id(), "whole": True}
    rekey(open_study(root))
    assert encrypted(root) == {True}
    now = Cipher(root / "identity", True)
    assert json.loads((root / "lake" / "_encryption" / "state.json").read_bytes())["key_id"] == now.key_id()
    assert now.key_of("night") != old.key_of("night")
    assert verify(open_study(root)) == []
    assert len(tables_of(root)["night"]) == len(nights) > 0


def test_a_wrong_key_is_told_and_nothing_is_touched(sealed: Path, tmp_path: Path) -> None:
    root = copied(sealed, tmp_path / "study")
    (root / "identity" / "key").write_text("c3" * 32 + "\n")
    with pytest.raises(Terminal, match="not the one this study was made with"):
        run(root)
    (root / "identity" / "key-check").unlink(missing_ok=True)
    for work in (run, lambda root: verify(open_study(root)), lambda root: settled(root, False)):
        with pytest.raises(Terminal, match=r"encrypted with the key [0-9a-f]{16}, and that of identity/key is"):
            work(root)
    assert files(root / "lake") == files(sealed / "lake")


def test_an_erasure_leaves_nothing_and_the_others_stay_readable(sealed: Path, tmp_path: Path) -> None:
    root = copied(sealed, tmp_path / "study")
    k02 = pid(root, "K02")
    erase(open_study(root), "K02")
    assert [name for name in files(root / "lake") if k02 in name] == []
    assert encrypted(root) == {True}
    assert verify(open_study(root)) == []


def test_a_lake_in_a_bucket(tmp_path: Path, bucket: Bucket) -> None:
    there = {"lake": f"s3://{bucket.name}/lake", **bucket.settings}
    root = make_study(tmp_path / "study", decode_memory_mb=4096, **ON, **there)
    land(root, "K01/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 3, 1, 23), 3)), OLD)
    run(root)
    assert rows(root, "select count(*), count(tst_min) from night") == [(3, 3)]

    def kinds() -> set[bool]:
        found = bucket.objects("lake")
        assert len(found) > len(tables(MART))
        return {is_encrypted(data) for name, data in found.items() if name.endswith(".parquet")}

    assert kinds() == {True}
    study, person = open_study(root), pid(root)
    held = read_all(study.lake, manifests(study.lake, person))
    settled(root, False)
    assert kinds() == {False}
    study = open_study(root)
    assert read_all(study.lake, manifests(study.lake, person)) == held
    assert verify(study) == []


def test_the_page_can_be_typed_in(plain: Path, tmp_path: Path) -> None:
    root = copied(plain, tmp_path / "my-study")
    change_settings(root, **ON)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    shell = [line for kind, body in blocks if kind == "sh" for line in body.splitlines()]
    assert [line.split()[:3] for line in shell] == [["ingest", "--study", "my-study"]]
    done = command(*shell[0].split()[1:], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert encrypted(root) == {True}
    code = "".join(body for kind, body in blocks if kind == "python")
    shown = subprocess.run([sys.executable, "-"], input=f"{code}\nprint(night.num_rows, short[0])", cwd=tmp_path,
                           capture_output=True, text=True, check=False)  # fmt: skip
    assert shown.returncode == 0, shown.stderr[-2000:]
    ((count, short),) = rows(plain, "select count(*), count(*) filter (tst_min < 360) from night")
    assert shown.stdout.split() == [str(count), str(short)]
    # What the page says of a key in base64 holds, too.
    key = b64encode(open_study_tables(root).lake_key("night")).decode()
    with duckdb.connect() as connection:
        connection.execute(f"PRAGMA add_parquet_key('night', '{key}')")
        said = "SELECT count(*) FROM read_parquet(?, encryption_config = {footer_key: 'night'})"
        assert connection.execute(said, [str(root / "lake/night/*/part.parquet")]).fetchall() == [(count,)]
    with pytest.raises(WrongUse, match=r"no table 'nights'; did you mean night\?"):
        open_study_tables(root).lake_key("nights")


def test_killed_at_many_changes_of_a_file(fresh: Path, sealed: Path, tmp_path: Path) -> None:
    start = Start(fresh, {FROZEN: whole(sealed)})
    outcomes = [killed_at_event(start, tmp_path, nth) for nth in sample(400, 60 if SOAK else 2, 11)]
    assert [problem for each in outcomes for problem in each.problems] == []

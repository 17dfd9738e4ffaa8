"""Compaction: few files where there were many, and nothing else differs, whoever dies or works beside it."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.small import FROZEN, Forked, broken, copied, dies_at, differences, leftovers, ran, run_frozen, sample, whole
from ingest._core import clock
from ingest._core.contract import LAKE, MART, tables, to_contract
from ingest._core.errors import Terminal
from ingest._core.study import Study, open_study
from ingest.erase import erase
from ingest.lake.load import load_batch
from ingest.lake.pack import YEAR_OF, Compacted, compact, drop_left, reading
from ingest.lake.plan import plan
from ingest.lake.store import (
    Commit,
    Manifest,
    commit,
    damaged,
    manifest_path,
    manifests,
    participants,
    read,
    read_all,
    retire,
    stretches,
)
from ingest.mart.rebuild import stale
from ingest.rekey import rekey
from ingest.report.verify import drop_damaged, verify
from ingest.withdraw import withdraw
from privacy.test_erase import naming
from stores import Bucket
from studies import as_json, command, files, fitbit_nights, land, make_study, pid, run, warehouse, write_roster
from tries import SOAK

NIGHT = datetime(2025, 12, 24, 23)
PACKED = re.compile(r"\d{4}\.[0-9a-f]{16}\.parquet")
LOG = "participant_ref,substance,taken_at,amount,unit,product_form,route,reason\n"


def _at(day: int) -> datetime:
    return datetime(2026, 1, 10, tzinfo=UTC) + timedelta(days=day)


def _export(root: Path, ref: str, day: int, count: int = 3) -> None:
    """An export of some nights up to a day; those of successive days have nights in common."""
    nights = fitbit_nights(NIGHT + timedelta(days=day), count, 1000 * int(ref[1:]) + day)
    land(root, f"{ref}/export-{day:02d}/sleep-2026-01-{day + 1:02d}.json", as_json(nights), _at(day))


def _log(root: Path, ref: str, number: int) -> None:
    rows = [f"{ref},kratom,{NIGHT - timedelta(days=each):%Y-%m-%dT%H:%M},2,g,powder,oral," for each in range(-9, 9)]
    rows.append(f"{ref},kratom,not a day,2,g,powder,oral,")
    land(root, f"{ref}/logs-{number}/log.csv", LOG + "\n".join(rows[number:]), _at(number))


def _studied(root: Path) -> Path:
    """Two people with eight exports of nights about a new year each, two logs, and one of all."""
    make_study(root, refs=("K01", "K02"))
    (root / "identity" / "key").write_text("5a" * 32 + "\n")
    for ref in ("K01", "K02"):
        for day in range(0, 16, 2):
            _export(root, ref, day)
        for number in range(3):
            _log(root, ref, number)
    return root


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study after its run; not to be changed."""
    root = _studied(tmp_path_factory.mktemp("loose") / "study")
    ran(root)
    return root


def compacted_frozen(root: Path) -> None:
    """`ingest compact` in this process, at the time of the runs; only for processes of their own."""
    clock.now = lambda: FROZEN  # type: ignore[assignment]
    pa.set_cpu_count(1)  # type: ignore[no-untyped-call]
    compact(open_study(root))


@pytest.fixture(scope="module")
def packed(loose: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The study after a compaction that nothing disturbed, and how many changes of files that took."""
    root = copied(loose, tmp_path_factory.mktemp("packed") / "study")
    end, told = os.pipe()

    def counted() -> None:
        last = [0]
        dies_at(-1, count=lambda seen: last.__setitem__(0, seen))
        compacted_frozen(root)
        os.write(told, str(last[0]).encode())

    process = Forked(counted)
    assert process.wait() == 0, process.said[-2000:]
    found = root, int(os.read(end, 20))
    os.close(end)
    os.close(told)
    return found


def _parquet(root: Path, stage: str = LAKE) -> dict[str, bytes]:
    return {name: data for name, data in files(root / "lake").items() if name.split("/")[0] in tables(stage)}


def _rows(study: Study) -> dict[tuple[str, str], dict[str, pa.Table]]:
    """The tables of each export by itself."""
    return {(each.participant_id, each.source_file_id): read_all(study.lake, [each])
            for person in participants(study.lake) for each in manifests(study.lake, person)}  # fmt: skip


def _names_nothing_else(root: Path) -> None:
    """Every file holds exactly the rows that manifests name in it, and there is none beside."""
    study = open_study(root)
    named: dict[Path, dict[str, int]] = {}
    for person in participants(study.lake):
        for each in manifests(study.lake, person):
            for table in each.files:
                for part in stretches(study.lake, table, each):
                    assert isinstance(part.path, Path)
                    rows = named.setdefault(part.path, {})
                    rows[each.source_file_id] = rows.get(each.source_file_id, 0) + part.rows
    there = {root / "lake" / name for name in _parquet(root)}
    assert there == named.keys()
    for path, of in named.items():
        held = pq.ParquetFile(path).read(["source_file_id"])["source_file_id"]
        assert {each["values"]: each["counts"] for each in held.value_counts().to_pylist()} == of, path


def test_few_files_the_same_rows_and_nobody_stale(loose: Path, packed: tuple[Path, int], tmp_path: Path) -> None:
    before, study = open_study(loose), open_study(packed[0])
    old, new = _parquet(loose), _parquet(packed[0])
    one = [name for name in new if pid(loose) in name]
    assert len([name for name in old if pid(loose) in name]) == 8 * 2 + 3 * 2
    assert sorted((name.split("/")[0], Path(name).name[:4]) for name in one) == [
        ("quarantine", "2026"), ("sleep_session", "2025"), ("sleep_session", "2026"), ("sleep_stage", "2025"),
        ("sleep_stage", "2026"), ("substance_use", "2025"), ("substance_use", "2026")]  # fmt: skip
    assert all(PACKED.fullmatch(Path(name).name) for name in one)
    _names_nothing_else(packed[0])
    assert _rows(study) == _rows(before)
    for person in participants(before.lake):
        assert read_all(study.lake, manifests(study.lake, person)) == read_all(
            before.lake, manifests(before.lake, person)
        )
    # What nobody has to decode, build or publish again.
    assert stale(study) == []
    assert verify(study) == []
    root = copied(packed[0], tmp_path / "study")
    done = run(root)
    assert (done.loaded.exports.total(), done.rebuilt.participants, done.published.published) == (0, [], [])
    assert files(root / "lake") == files(packed[0] / "lake")
    assert {name for name in files(packed[0] / "lake") if name not in new} == {
        name for name in files(loose / "lake") if name not in old}  # fmt: skip


def test_marts_and_warehouse_made_from_it_are_the_same(loose: Path, packed: tuple[Path, int], tmp_path: Path) -> None:
    root = copied(packed[0], tmp_path / "study")
    for folder in (*tables(MART), "_mart"):
        shutil.rmtree(root / "lake" / folder)
    (root / "warehouse.duckdb").unlink()
    ran(root)
    assert _parquet(root, MART) == _parquet(loose, MART)
    assert warehouse(root) == warehouse(loose)
    assert broken(root) == []


def test_dry_run_says_what_a_compaction_does_and_the_second_does_nothing(loose: Path, tmp_path: Path) -> None:
    root = copied(loose, tmp_path / "study")
    said = compact(open_study(root), dry_run=True)
    assert files(root / "lake") == files(loose / "lake")
    assert compact(open_study(root)) == said
    assert said.files_before == len(_parquet(loose))
    assert said.bytes_before == sum(map(len, _parquet(loose).values()))
    after = _parquet(root)
    assert (said.files_after, said.bytes_after) == (len(after), sum(map(len, after.values())))
    assert said.files_after < said.files_before / 2
    again = compact(open_study(root))
    assert again == Compacted(2, [], len(after), len(after), said.bytes_after, said.bytes_after)
    assert _parquet(root) == after
    one = command("--study", root, "compact", "--participant", "K01", "--dry-run")
    assert one.stdout.startswith("compacted  0 of 1 participants: 7 files would hold what 7 held, ")
    assert command("--study", root, "compact", "--participant", "K99").returncode == 2


def _grow(root: Path) -> None:
    """A new export, a folder and a log that grew, a log that says something else; another zone for somebody."""
    _export(root, "K01", 16)
    nights = as_json(fitbit_nights(NIGHT + timedelta(days=1), 1, 7000))
    land(root, "K02/export-00/sleep-2026-02-01.json", nights, _at(20))
    (root / "landing" / "K02" / "logs-1" / "log.csv").unlink()
    _log(root, "K02", 1)
    land(root, "K02/logs-2/log.csv", LOG + "K02,kratom,2026-01-02T10:00,3,g,powder,oral,\n", _at(21))
    write_roster(root, {"K01": "Europe/Oslo", "K02": "Europe/London"})


def test_what_comes_after_is_as_in_a_lake_that_never_was_compacted(
    loose: Path, packed: tuple[Path, int], tmp_path: Path
) -> None:
    twin, root = copied(loose, tmp_path / "twin"), copied(packed[0], tmp_path / "study")
    for each in (twin, root):
        _grow(each)
        ran(each)
    _names_nothing_else(root)
    assert _rows(open_study(root)) == _rows(open_study(twin))
    assert compact(open_study(root), [pid(root)]).changed == [pid(root)]
    _names_nothing_else(root)
    compact(open_study(root))
    _names_nothing_else(root)
    assert _rows(open_study(root)) == _rows(open_study(twin))
    for each in (twin, root):
        withdraw(open_study(each), "K01", datetime(2026, 1, 5).date(), keep=True)
    assert _parquet(root, MART) == _parquet(twin, MART)
    assert warehouse(root) == warehouse(twin)
    assert verify(open_study(root)) == []


def test_an_erasure_leaves_nothing_and_the_other_as_they_are(packed: tuple[Path, int], tmp_path: Path) -> None:
    root = copied(packed[0], tmp_path / "study")
    gone, other = pid(root, "K01"), pid(root, "K02")
    theirs = {name: data for name, data in _parquet(root).items() if other in name}
    erase(open_study(root), "K01")
    assert naming(root, {gone}) == []
    assert _parquet(root) == theirs
    assert verify(open_study(root)) == []


def test_an_export_taken_out_is_in_no_packed_file_any_more(packed: tuple[Path, int], tmp_path: Path) -> None:
    root = copied(packed[0], tmp_path / "study")
    study, one = open_study(root), pid(root)
    while of := manifests(study.lake, one):
        retire(study.lake, of[0])
        drop_left(study, one)
        _names_nothing_else(root)
    assert not [name for name in _parquet(root) if one in name]


def test_a_damaged_file_is_told_and_decoded_again(loose: Path, packed: tuple[Path, int], tmp_path: Path) -> None:
    root = copied(packed[0], tmp_path / "study")
    study = open_study(root)
    path = next(path for path in sorted((root / "lake" / "sleep_stage").rglob("2026.*")) if pid(root) in str(path))
    path.write_bytes(path.read_bytes()[:-9] + bytes(9))
    whose = [each for each in manifests(study.lake, pid(root)) if "sleep_stage" in each.files
             and path in {part.path for part in stretches(study.lake, "sleep_stage", each)}]  # fmt: skip
    assert len(whose) > 3
    found = verify(study)
    assert {each.invariant for each in found} == {"I1"}
    assert sorted(each.where.partition(":")[0] for each in found) == sorted(
        f"sleep_stage of export {of.source_file_id[:12]}" for of in whose)  # fmt: skip
    _export(root, "K01", 16)
    load_batch(study, [each.token for each in plan(study).wanted])
    with pytest.raises(Terminal, match="ingest verify"):
        compact(study)
    shutil.rmtree(root / "landing" / "K01" / "export-16")
    (added,) = [each for each in manifests(study.lake, pid(root)) if not each.packed and each.source == "fitbit"]
    retire(study.lake, added)
    assert drop_damaged(study) == len(whose)
    ran(root)
    assert broken(root) == []
    assert _rows(open_study(root)) == _rows(open_study(loose))
    compact(open_study(root))
    assert files(root / "lake") == files(packed[0] / "lake")


def test_rows_of_others_in_their_place_are_told(packed: tuple[Path, int], tmp_path: Path) -> None:
    root = copied(packed[0], tmp_path / "study")
    study = open_study(root)
    held = next(each for each in manifests(study.lake, pid(root)) if each.packed and "sleep_session" in each.packed)
    path = manifest_path(study.lake, held.participant_id, held.source_file_id)
    assert isinstance(path, Path)
    said = msgspec.json.decode(path.read_bytes())
    said["packed"]["sleep_session"][0]["at"] += 1
    path.write_bytes(msgspec.json.encode(said))
    assert [(table, of.source_file_id) for table, of in damaged(study.lake, manifests(study.lake, pid(root)))] == [
        ("sleep_session", held.source_file_id)]  # fmt: skip


def test_killed_anywhere_nothing_is_lost_and_the_next_call_ends_the_same(
    loose: Path, packed: tuple[Path, int], tmp_path: Path
) -> None:
    wanted, total = whole(packed[0]), packed[1]
    for nth in sample(total, 60 if SOAK else 3, 1):
        root = copied(loose, tmp_path / f"killed-{nth}")
        process = Forked(lambda root=root, nth=nth: (dies_at(nth), compacted_frozen(root)))  # type: ignore[misc]
        assert process.wait() == -9
        assert _rows(open_study(root)) == _rows(open_study(loose)), nth
        if nth % 2:
            assert broken(root) == []
        again = Forked(lambda root=root: compacted_frozen(root))  # type: ignore[misc]
        assert again.wait() == 0, again.said[-2000:]
        found = [name for name in differences(root, wanted) if ".tmp-" not in name]
        assert found == [], nth
        if leftovers(root):
            ran(root)  # which sweeps what was being written
            assert differences(root, wanted) == [], nth
        shutil.rmtree(root)


def test_two_compactions_and_a_run_at_once(loose: Path, packed: tuple[Path, int], tmp_path: Path) -> None:
    root, twin = copied(loose, tmp_path / "study"), copied(packed[0], tmp_path / "twin")
    _grow(root)
    _grow(twin)
    at_once = [Forked(lambda: compacted_frozen(root)), Forked(lambda: run_frozen(root)),
               Forked(lambda: compacted_frozen(root))]  # fmt: skip
    for process in at_once:
        assert process.wait() == 0, process.said[-2000:]
    for each in (root, twin):
        ran(each)
        compacted_frozen_in(each)
        ran(each)
    assert differences(root, whole(twin)) == []
    assert broken(root) == []


def compacted_frozen_in(root: Path) -> None:
    """`compacted_frozen` in a process of its own, which must end well."""
    process = Forked(lambda: compacted_frozen(root))
    assert process.wait() == 0, process.said[-2000:]


def test_files_that_a_publication_may_be_reading_stay_for_it(loose: Path, tmp_path: Path) -> None:
    root = copied(loose, tmp_path / "study")
    study = open_study(root)
    old = _parquet(root)
    read_before = {person: manifests(study.lake, person) for person in participants(study.lake)}
    with reading(study.identity):
        done = compact(study)
        assert done.kept_for_readers > 20
        ran(root)
        assert _parquet(root).items() > old.items()
    ran(root)
    _names_nothing_else(root)
    # Whoever has read the manifests before finds the rows where they are now.
    for person, of in read_before.items():
        assert read_all(study.lake, of) == read_all(study.lake, manifests(study.lake, person))


def test_a_lake_in_a_bucket_has_the_same_bytes(
    loose: Path, packed: tuple[Path, int], tmp_path: Path, bucket: Bucket
) -> None:
    from lake.test_object_lake import with_lake

    root = with_lake(copied(loose, tmp_path / "study"), bucket)
    for name, data in files(root / "lake").items():
        bucket.put(f"lake/{name}", data)
    shutil.rmtree(root / "lake")
    study = open_study(root)
    old = bucket.objects("lake")
    done = compact(study)
    assert bucket.objects("lake") == files(packed[0] / "lake")
    assert done.bytes_after == sum(len(data) for name, data in _parquet(packed[0]).items())
    assert done.bytes_before == sum(len(data) for name, data in old.items() if name.split("/")[0] in tables(LAKE))
    assert verify(study) == []
    (root / "warehouse.duckdb").unlink()
    run(root)
    assert warehouse(root) == warehouse(loose)


def test_another_key_takes_the_rows_of_packed_exports_along(
    loose: Path, packed: tuple[Path, int], tmp_path: Path
) -> None:
    (tmp_path / "new-key").write_text("c3" * 32 + "\n")
    found = []
    for name, of in (("twin", loose), ("study", packed[0])):
        root = copied(of, tmp_path / name)
        shutil.rmtree(root / "landing" / "K01" / "export-04")
        ran(root)
        rekey(open_study(root), f"file:{tmp_path / 'new-key'}")
        found.append(root)
    twin, root = found
    assert _rows(open_study(root)) == _rows(open_study(twin))
    assert warehouse(root) == warehouse(twin)


def test_a_program_that_knows_of_no_packed_files_refuses_the_manifest(packed: tuple[Path, int]) -> None:
    class Before(msgspec.Struct):
        """What such a program reads of a manifest before it sweeps."""

        source_file_id: str
        inputs_hash: str
        status: str

    path = next((packed[0] / "lake" / "_manifest" / f"participant_id={pid(packed[0])}").iterdir())
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(path.read_bytes(), type=Before)
    assert {*Before.__struct_fields__} == {*Commit.__struct_fields__} - {"packed"}


def test_every_table_has_a_column_for_its_year() -> None:
    from ingest._core.contract import fields, required

    assert YEAR_OF.keys() == {*tables(LAKE)}
    for table, name in YEAR_OF.items():
        (column,) = [each for each in fields(table, LAKE) if each["name"] == name]
        assert column["type"] in ("date", "datetime")
        assert required(column), table


def _quarantined(export: str, days: list[int]) -> pa.Table:
    """Rows of an export, each about a day counted from 2020."""
    n = len(days)
    at = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in days]
    return to_contract("quarantine", pa.table({
        "source_file_id": [export] * n, "participant_id": ["pa"] * n, "source": ["csv_log"] * n,
        "record_kind": ["value"] * n, "locator": [f"row {number}" for number in range(n)], "reason": ["odd"] * n,
        "detail": ["-"] * n, "first_seen_at": pa.array(at, pa.timestamp("us", tz="UTC")),
    }))  # fmt: skip


_DAYS = st.lists(st.integers(0, 1200), min_size=1, max_size=90)
_STEPS = st.lists(
    st.one_of(st.tuples(st.just("commit"), st.integers(0, 5), _DAYS), st.tuples(st.just("retire"), st.integers(0, 5)),
              st.tuples(st.just("compact")), st.tuples(st.just("drop"))), min_size=4, max_size=14)  # fmt: skip


@settings(max_examples=200 if SOAK else 6)
@given(steps=_STEPS)
def test_whatever_happens_each_export_keeps_its_rows_in_their_order(
    steps: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = make_study(tmp_path_factory.mktemp("any") / "study")
    study = open_study(root)
    wanted: dict[str, pa.Table] = {}
    for number, (step, *words) in enumerate([*steps, ("compact",)]):
        if step == "commit":
            export = f"{words[0]:064d}"
            wanted[export] = _quarantined(export, words[1])  # type: ignore[arg-type]
            of = Manifest(export, "pa", "csv_log", "", "1", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00",
                          "partial", f"{number:016d}")  # fmt: skip
            commit(study.lake, of, {"quarantine": wanted[export]})
        elif step == "retire":
            for held in manifests(study.lake, "pa"):
                if held.source_file_id == f"{words[0]:064d}":
                    retire(study.lake, held)
                    del wanted[held.source_file_id]
        elif step == "drop":
            drop_left(study, "pa")
        else:
            compact(study)
            _names_nothing_else(root)
        of_all = manifests(study.lake, "pa")
        assert {each.source_file_id: read(study.lake, "quarantine", [each]) for each in of_all} == wanted
        if of_all:
            assert read(study.lake, "quarantine", of_all) == pa.concat_tables(wanted[each] for each in sorted(wanted))
        assert damaged(study.lake, of_all) == []
    years = {day.year for table in wanted.values() for day in table["first_seen_at"].to_pylist()}
    assert len(list((root / "lake" / "quarantine").rglob("*.parquet"))) <= max(len(years), len(wanted))
    shutil.rmtree(root)

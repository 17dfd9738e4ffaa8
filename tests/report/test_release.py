"""Releases of the demo study: the same bytes on both engines, a valid data package, nothing half written."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import signal
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from frictionless import Package

from ingest import pipeline
from ingest._core.contract import COHORT, MART, VIEW, primary_key, published_tables, tables
from ingest._core.errors import Transient, WrongUse
from ingest._core.study import Study, open_study
from ingest.publish.reading import opened
from ingest.publish.warehouse import publish_study
from ingest.report import release as module
from ingest.report._release_files import write_table
from ingest.report.release import release, said
from publish.small_lake import in_child
from studies import PROJECT, change_settings, command, files, pid, run, silent


@pytest.fixture(scope="module")
def study(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The demo study with its cohort tables; not to be changed."""
    root = tmp_path_factory.mktemp("associated") / "study"
    shutil.copytree(demo_done, root)
    pipeline.associate(open_study(root), silent)
    return open_study(root)


@pytest.fixture(scope="module")
def made(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its release of the tables that are taken without being asked for; not to be changed."""
    return release(study, "2026-12", to=tmp_path_factory.mktemp("out")).folder


def with_settings(study: Study, **settings: object) -> Study:
    return replace(study, settings=type(study.settings).model_validate({**study.settings.model_dump(), **settings}))


def content(folder: Path, table: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pq.read_table(folder / "parquet" / f"{table}.parquet").to_pylist()
    return found


def cells(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / "csv" / f"{table}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_both_engines_give_the_same_bytes(study: Study, made: Path, postgres: str, tmp_path: Path) -> None:
    other = with_settings(study, warehouse=postgres)
    publish_study(other)
    assert files(release(other, "2026-12", to=tmp_path).folder) == files(made)
    assert release(other, "2026-12", to=tmp_path).stood


def test_it_holds_marts_cohort_tables_and_views_as_the_warehouse_has_them(study: Study, made: Path) -> None:
    names = {path.stem for path in (made / "parquet").iterdir()}
    marts = set(tables(MART)) & set(published_tables())
    assert names == {"participant", *marts, *tables(COHORT), *tables(VIEW)} - {"safety_signal"}
    assert names == {path.stem for path in (made / "csv").iterdir()}
    with opened(study) as reader:
        for table in names:
            held = reader.table(f"SELECT * FROM {table} WHERE participant_id <> '_study'")
            found = pq.read_table(made / "parquet" / f"{table}.parquet")
            key = [name for name in primary_key(table) if name != "participant_id"]
            order = [(name, "ascending") for name in ("participant_id", *key)]
            assert found.equals(held.cast(found.schema).sort_by(order)), table
    assert [row["night_date"] for row in content(made, "night")] == [
        row["night_date"]
        for row in sorted(content(made, "night"), key=lambda r: (r["participant_id"], r["night_date"]))
    ]


def test_csv_says_what_parquet_says(made: Path) -> None:
    for table in ("night", "night_wide", "night_exposure", "participant", "insomnia_night"):
        exact = content(made, table)
        assert len(exact) > 0
        for row, text in zip(exact, cells(made, table), strict=True):
            assert {name: in_csv(value) for name, value in row.items()} == text


def in_csv(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e9 else repr(value)
    return str(value)


def test_the_data_package_is_valid_and_its_keys_hold(made: Path) -> None:
    report = Package(str(made / "datapackage.json")).validate()
    assert report.valid, report.flatten(["name", "fieldName", "message"])[:5]
    package = json.loads((made / "datapackage.json").read_text(encoding="utf-8"))
    resources = {each["name"]: each for each in package["resources"]}
    assert resources["night"]["schema"]["primaryKey"] == ["participant_id", "night_date"]
    assert {key["reference"]["resource"] for key in resources["night"]["schema"]["foreignKeys"]} == {
        "participant", "night_source"}  # fmt: skip
    for each in resources.values():
        assert [field["name"] for field in each["schema"]["fields"]] == list(cells(made, each["name"])[0])
        for path, said_hash in ((each["path"], each["hash"]), (each["parquet"]["path"], each["parquet"]["hash"])):
            assert said_hash == "sha256:" + hashlib.sha256((made / path).read_bytes()).hexdigest()


def test_a_row_that_breaks_a_key_is_found(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "broken")
    path = tmp_path / "broken" / "csv" / "phase.csv"
    path.write_text(re.sub(r'^"p[0-9a-f]{20}"', '"nobody"', path.read_text(), count=1, flags=re.MULTILINE))
    report = Package(str(tmp_path / "broken" / "datapackage.json")).validate()
    assert "foreign-key" in {kind for (kind,) in report.flatten(["type"])}


def test_sums_name_every_file(made: Path) -> None:
    lines = dict(reversed(line.split("  ")) for line in (made / "SHA256SUMS").read_text().splitlines())
    found = {name: hashlib.sha256(data).hexdigest() for name, data in files(made).items() if name != "SHA256SUMS"}
    assert lines == found
    assert {"release.json", "datapackage.json", "README.txt", "dictionary.md"} <= lines.keys()


def test_the_sql_is_there(made: Path) -> None:
    mart = PROJECT / "src" / "ingest" / "mart" / "insomnia_night.sql"
    assert (made / "sql" / "marts" / "insomnia_night.sql").read_text() == mart.read_text()
    wide = (made / "sql" / "views" / "night_wide.sql").read_text()
    assert "kratom" in wide
    assert "{exposure}" not in wide
    assert {path.stem for path in (made / "sql" / "views").iterdir()} == set(tables(VIEW))


def test_release_json_says_what_made_it(study: Study, made: Path) -> None:
    found = json.loads((made / "release.json").read_text())
    assert found["participants"] == {"released": 5, "left_out": {}}
    assert found["tables"]["night"] == len(content(made, "night"))
    with opened(study) as reader:
        versions = reader.rows("SELECT DISTINCT source, decoder_version FROM source_file WHERE decoder_version IS NOT "
                               "NULL AND participant_id <> '_study'")  # fmt: skip
    assert {(each["source"], each["decoder_version"]) for each in found["decoders"]} == set(versions)
    assert found["settings"]["nights"]["nap_max_h"] == study.settings.nights.nap_max_h
    assert {log["name"] for log in found["settings"]["logs"]} == {log.name for log in study.settings.logs}


SECRET = {
    "safety": {"contact": "Dr. Canary, canary-contact", "protocol": "canary-protocol"},
    "part2": True,
    "part2_notice": "The words of the notice.",
}


def test_secrets_stay_and_the_notice_goes_with_it(study: Study, tmp_path: Path) -> None:
    told = with_settings(study, **SECRET)
    found = release(told, "a", "night", tmp_path).folder
    everything = b"".join(files(found).values())
    assert b"canary" not in everything
    assert b"warehouse.duckdb" not in everything
    assert (found / "README.txt").read_text().endswith("The words of the notice.\n")


def test_part2_needs_its_notice(demo_copy: Path) -> None:
    change_settings(demo_copy, part2=True)
    with pytest.raises(WrongUse, match="part2_notice"):
        open_study(demo_copy)


def test_the_same_again_is_left_as_it_is(study: Study, made: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    again = release(study, made.name, to=made.parent)
    assert again.stood
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    assert "stands already" in said(again)[-1]


def test_other_bytes_under_the_same_name_are_refused(study: Study, made: Path) -> None:
    before = files(made)
    other = with_settings(study, time_zone="Europe/Paris")
    with pytest.raises(WrongUse, match="behind the lake"):
        release(other, made.name, to=made.parent)
    with pytest.raises(WrongUse, match=r"other bytes.*trend 190 -> no rows.*choose another name"):
        release(study, made.name, "night", made.parent)
    assert files(made) == before
    damaged = made.parent / "damaged"
    shutil.copytree(made, damaged)
    (damaged / "csv" / "night.csv").write_text("x")
    with pytest.raises(WrongUse, match=r"csv/night\.csv"):
        release(study, "damaged", to=made.parent)
    assert [path.name for path in made.parent.glob(".tmp-*")] == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".tmp-x", "x" * 65, "two words", "ü"])
def test_names_that_cannot_be(study: Study, tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongUse, match="like 2026-12"):
        release(study, name, to=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tables_by_name(study: Study, tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="did you mean night_exposure"):
        release(study, "a", "night,night_exposures", tmp_path)
    with pytest.raises(WrongUse, match="ops_run says nothing of participants"):
        release(study, "a", "ops_run", tmp_path)
    chosen = release(study, "a", " substance_use, participant,safety_signal,sleep_session", tmp_path)
    assert list(chosen.rows) == ["participant", "safety_signal", "sleep_session", "substance_use"]
    assert min(chosen.rows.values()) > 0
    # Who of the staff saw a signal, and the vendor's number of a record, are in no release.
    assert "acknowledged_by" not in content(chosen.folder, "safety_signal")[0]
    assert "source_record_id" not in content(chosen.folder, "sleep_session")[0]
    assert {"quarantine", "sleep_stage"} < set(release(study, "b", "default,quarantine,sleep_stage", tmp_path).rows)


def test_a_folder_that_is_none(study: Study, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WrongUse, match="choose another"):
        release(study, "a", "night", tmp_path / "file")


def test_refused_while_the_warehouse_is_behind(demo_copy: Path) -> None:
    assert release(open_study(demo_copy), "a").rows.keys().isdisjoint(tables(COHORT))
    with pytest.raises(WrongUse, match="ingest associate"):
        release(open_study(demo_copy), "b", "association")
    roster = (demo_copy / "roster.csv").read_text().splitlines()
    (demo_copy / "roster.csv").write_text("\n".join(roster[:-1]) + "\n")
    with pytest.raises(WrongUse, match=r"behind the lake for 1 participant; `ingest run`"):
        release(open_study(demo_copy), "b")
    run(demo_copy)
    assert len(release(open_study(demo_copy), "b").people.ids) == 4
    change_settings(demo_copy, nights={"nap_max_h": 2})
    with pytest.raises(WrongUse, match=r"behind the lake for [45] participants"):
        release(open_study(demo_copy), "c")
    assert sorted(path.name for path in (demo_copy / "releases").iterdir()) == [".lock", "a", "b"]


def test_old_cohort_tables_are_refused(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root, tmp_path / "study")
    roster = (tmp_path / "study" / "roster.csv").read_text().splitlines()
    first = roster[1].split(",")
    header = roster[0].split(",")
    first[header.index("arm")] = "another"
    (tmp_path / "study" / "roster.csv").write_text("\n".join([roster[0], ",".join(first), *roster[2:]]) + "\n")
    run(tmp_path / "study")
    changed = open_study(tmp_path / "study")
    with pytest.raises(WrongUse, match="older than the nights"):
        release(changed, "a")
    assert release(changed, "a", "night,night_wide").rows["night"] > 0


def test_who_has_no_usable_row_is_left_out_and_the_cohort_with_them(study: Study, tmp_path: Path) -> None:
    root = tmp_path / "study"
    shutil.copytree(study.root, root)
    first, *others, last = (root / "roster.csv").read_text().splitlines()
    ref, zone, rest = last.split(",", 2)
    (root / "roster.csv").write_text("\n".join([first, *others, f"{ref},Nowhere/{zone},{rest}"]) + "\n")
    run(root)
    pipeline.associate(open_study(root), silent)
    done = release(open_study(root), "a")
    assert (len(done.people.ids), done.people.left_out) == (4, {"no_usable_roster_row": 1})
    assert "1 left out: no_usable_roster_row" in "\n".join(said(done))
    assert {row["participant_id"] for row in content(done.folder, "night")} <= set(done.people.ids)
    assert {row["participant_id"] for row in content(done.folder, "association")} <= set(done.people.ids)
    assert done.rows["flow"] == 0
    assert "Rows of the whole cohort are left out" in (done.folder / "README.txt").read_text()


def test_who_has_withdrawn_is_left_out_unless_the_protocol_keeps_them(demo_copy: Path) -> None:
    header, *others, last = (demo_copy / "roster.csv").read_text().splitlines()
    lines = [f"{header},withdrew_on", *(f"{other}," for other in others), f"{last},2026-02-01"]
    (demo_copy / "roster.csv").write_text("\n".join(lines) + "\n")
    run(demo_copy)
    study = open_study(demo_copy)
    done = release(study, "a")
    assert (len(done.people.ids), done.people.left_out) == (4, {"withdrawn": 1})
    kept = release(with_settings(study, release={"withdrawn": "keep"}), "b")
    assert (len(kept.people.ids), kept.people.left_out) == (5, {})
    assert done.rows["night"] < kept.rows["night"]


def test_who_does_not_grant_the_scope_today_is_left_out(demo_copy: Path) -> None:
    refs = [line.split(",")[0] for line in (demo_copy / "roster.csv").read_text().splitlines()[1:4]]
    (demo_copy / "consents.csv").write_text(
        "participant_ref,scope,from_on,until_on\n"
        + "".join(f"{ref},{scope},,\n" for ref in refs for scope in ("sleep", "substance_use", "scales"))
        + f"{refs[0]},release,2026-01-01,\n{refs[1]},release,2026-01-01,2026-03-01\n"
    )
    run(demo_copy)
    done = release(open_study(demo_copy), "a")
    without = {pid(demo_copy, ref) for ref in refs[1:]}
    assert (len(done.people.ids), done.people.left_out) == (3, {"no_release_consent": 2})
    assert not without & set(done.people.ids)
    text = b"".join(data for name, data in files(done.folder).items() if name.startswith("csv/"))
    assert [each for each in without if each.encode() in text] == []


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\0x", "＝1", "＋1", "－1", "＠x"]
PLAIN = ["x", "", None, "a=1", "'", "1-2", "kratom", " ü"]


@pytest.mark.fault(71)
def test_no_text_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    texts = [*FORMULAS, *PLAIN]
    numbers = [-float(n) for n in range(len(texts))]
    schema = pa.schema([pa.field("text", pa.string()), pa.field("number", pa.float64())])
    given = pa.table({"text": texts, "number": numbers}, schema=schema)
    assert write_table(tmp_path, "t", schema, [given])[0] == len(texts)
    found = cells(tmp_path, "t")
    assert [row["text"] for row in found] == [*(f"'{text}" for text in FORMULAS), *(text or "" for text in PLAIN)]
    assert [float(row["number"]) for row in found] == numbers
    assert [row["text"] for row in content(tmp_path, "t")] == texts


def test_killed_half_way_nothing_is_visible(study: Study, tmp_path: Path) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def killed() -> None:
        module.write_sums = die
        release(study, "a", "night,participant", tmp_path)

    assert in_child(killed) == -signal.SIGKILL
    left = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert [path.name.startswith(".tmp-") for path in left] == [True]
    done = release(study, "a", "night,participant", tmp_path)
    assert not done.stood
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a"]
    assert done.folder.stat().st_mode & 0o077 == 0


def test_no_room_is_transient_and_leaves_nothing(study: Study, tmp_path: Path) -> None:
    def starved() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with pytest.raises(Transient):
            release(study, "a", "night", tmp_path)

    assert in_child(starved) == 0
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_one_at_a_time(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def second(*_: object) -> None:
        with pytest.raises(Transient, match="busy in another process"):
            release(study, "b", "night", tmp_path)

    monkeypatch.setattr(module, "check_shown", second)
    assert release(study, "a", "night", tmp_path).rows["night"] > 0


def test_the_command_says_it(study: Study, tmp_path: Path) -> None:
    done = command("--study", study.root, "release", "--as", "2026-12", "--tables", "night", "--to", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "released      5 participants" in done.stdout
    assert (tmp_path / "2026-12" / "csv" / "night.csv").is_file()
    refused = command("--study", study.root, "release", "--as", "2026-12", "--tables", "nigth", "--to", tmp_path)
    assert refused.returncode == 2
    assert "did you mean night?" in refused.stderr

"""Consents and dates in releases, and how an erasure finds those outside the study."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from ingest._core.study import Study, open_study
from ingest.erase import erase
from ingest.report.release import release
from studies import files, pid, run

DAY = re.compile(rb"(?<![0-9])20\d\d-\d\d-\d\d")


def consents(folder: Path) -> list[dict[str, str]]:
    with (folder / "consents.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def showing(study: Study, **how: str) -> Study:
    return replace(study, settings=study.settings.model_copy(update={"release": type(study.settings.release)(**how)}))


def test_each_participant_has_the_scopes_granted_with_ids_and_dates_as_shown(demo_copy: Path, tmp_path: Path) -> None:
    ref = sorted(open_study(demo_copy).roster.entries)[0]
    (demo_copy / "consents.csv").write_text(
        f"participant_ref,scope,from_on,until_on\n{ref},sleep,2026-01-10,2026-01-20\n{ref},release,2026-01-10,\n"
    )
    run(demo_copy)
    study = open_study(demo_copy)
    plain = release(study, "a", "night,participant", tmp_path)
    found = consents(plain.folder)
    mine = [(row["scope"], row["from_on"], row["until_on"]) for row in found
            if row["participant_id"] == pid(demo_copy, ref)]  # fmt: skip
    assert mine == [("release", "2026-01-10", ""), ("sleep", "2026-01-10", "2026-01-20")]
    others = [row["scope"] for row in found if row["participant_id"] != pid(demo_copy, ref)]
    assert others == ["sleep", "substance_use", "scales", "release"] * (len(plain.people.ids) - 1)
    assert len({row["consent_id"] for row in found}) == len(found)
    # A release with ids of its own has others.
    own = consents(release(showing(study, participant_ids="release"), "c", "night", tmp_path).folder)
    assert not {row["consent_id"] for row in own} & {row["consent_id"] for row in found}
    moved = release(showing(study, dates="shifted"), "d", "night,participant", tmp_path).folder
    nights = [pq.read_table(each / "parquet" / "night.parquet", columns=["participant_id", "night_date"]).to_pylist()
              for each in (plain.folder, moved)]  # fmt: skip
    (shift,) = {b["night_date"] - a["night_date"] for a, b in zip(*nights, strict=True)
                if a["participant_id"] == pid(demo_copy, ref)}  # fmt: skip
    assert shift != timedelta(0)
    days = [row["from_on"] for row in consents(moved) if row["participant_id"] == pid(demo_copy, ref)]
    assert days == [(date(2026, 1, 10) + shift).isoformat()] * 2


def test_no_recorded_day_stands_in_a_release_with_shifted_dates(demo_done: Path, tmp_path: Path) -> None:
    study = open_study(demo_done)
    plain, moved = (release(each, name, "default", tmp_path / name).folder for each, name in
                    ((study, "plain"), (showing(study, dates="shifted"), "moved")))  # fmt: skip

    def days(folder: Path, but: tuple[str, ...]) -> dict[str, set[bytes]]:
        return {name: set(DAY.findall(data)) for name, data in files(folder).items() if not name.startswith(but)}

    # Tables and consents are moved; what explains them names no day at all.
    beside = days(moved, ("csv/", "parquet/"))
    assert beside.keys() > {"release.json", "README.txt", "datapackage.json", "consents.csv"}
    same = {b"2026-03-01"}  # the example in the words of the dictionary
    assert {name: found - same for name, found in beside.items() if found - same} == {}
    assert days(plain, ("parquet/",))["csv/night.csv"]
    for folder in (plain, moved):
        times = {path.stat().st_mtime for path in [folder, *folder.rglob("*")]}
        assert times == {date(1980, 1, 1).toordinal() * 86_400.0 - date(1970, 1, 1).toordinal() * 86_400.0}


def test_an_erasure_finds_releases_outside_the_study(demo_copy: Path, tmp_path: Path) -> None:
    study = open_study(demo_copy)
    (demo_copy / "identity" / "releases.csv").unlink(missing_ok=True)  # those of other tests
    ref = sorted(study.roster.entries)[0]
    release(study, "whole", "night", tmp_path / "out")
    release(showing(study, participant_ids="release"), "own", "night", tmp_path / "out")
    release(study, "gone", "night", tmp_path / "gone").folder.rename(tmp_path / "moved-away")
    release(study, "inside", "night")
    done = erase(study, ref)
    assert done.removed["releases"] == 1
    lines = [line for line in done.remains if line.startswith("releases outside the study")]
    assert [f"whole in {tmp_path / 'out'} holds them" in line for line in lines] == [True, False, False]
    assert f"own in {tmp_path / 'out'} holds them" in lines[1]
    assert f"gone, written to {tmp_path / 'gone'}, is not there any more" in lines[2]

"""Releases of aggregates of the demo study's five people, with a threshold that leaves something to see."""

from __future__ import annotations

import csv
import json
import math
import shutil
import statistics
from pathlib import Path

import pytest
import yaml
from frictionless import Package

from ingest._core.errors import Terminal, Transient, WrongUse
from ingest._core.study import Study, open_study
from ingest.publish.warehouse import publish_study
from ingest.report.aggregates import release_aggregates, said
from publish.small_lake import in_child
from studies import change_settings, command, files, pid, rows, run

EXACT = {"min_participants": 2, "round_to": 1, "digits": 15}
LAST = "select max(night_date) from night where participant_id = '{}'"


@pytest.fixture(scope="module")
def made(demo_done: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study with a release of aggregates, `a`; not to be changed."""
    root = tmp_path_factory.mktemp("aggregates") / "study"
    shutil.copytree(demo_done, root)
    change_settings(root, small_cells=EXACT)
    release_aggregates(open_study(root), "a")
    return open_study(root)


@pytest.fixture
def study(made: Study, tmp_path: Path) -> Study:
    """A copy that a test may change."""
    shutil.copytree(made.root, tmp_path / "study")
    return open_study(tmp_path / "study")


def first(study: Study) -> Path:
    return study.root / "releases" / "a"


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "csv" / f"{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def nights(root: Path) -> dict[str, list[tuple[str, float]]]:
    """Participant and sleep time of each night, by phase."""
    found: dict[str, list[tuple[str, float]]] = {}
    sql = ("select coalesce(c.phase, 'none'), n.participant_id, n.tst_min from night n left join coverage c on "
           "c.participant_id = n.participant_id and c.date = n.night_date where tst_min is not null")  # fmt: skip
    for phase, person, minutes in rows(root, sql):
        for key in (phase, ""):
            found.setdefault(key, []).append((person, minutes))
    return found


def test_what_is_shown_is_true_and_of_enough_people(made: Study) -> None:
    held = nights(made.root)
    told = [row for row in table(first(made), "cohort_nights") if row["basis"] == "wearable"
            and not row["week"] and not row["dose_band"]]  # fmt: skip
    counts = {row["phase"]: row for row in told if row["measure"] == "all"}
    means = {row["phase"]: row for row in told if row["measure"] == "tst"}
    assert set(counts) == set(means) == set(held)
    for phase, of in held.items():
        if len({person for person, _ in of}) < 2:
            assert (counts[phase]["status"], means[phase]["status"]) == ("suppressed", "suppressed")
        if means[phase]["status"] == "shown":
            minutes = [each for _, each in of]
            assert math.isclose(float(means[phase]["mean"]), statistics.mean(minutes), rel_tol=1e-9)
            assert math.isclose(float(means[phase]["sd"]), statistics.stdev(minutes), rel_tol=1e-6)
            assert int(counts[phase]["participants"]) >= len({person for person, _ in of})
    assert means[""]["status"] == "shown"


@pytest.mark.fault(69)
def test_suppressed_is_empty_and_never_zero(made: Study) -> None:
    seen = set()
    for name in ("cohort_nights", "cohort_coverage", "cohort_states"):
        for row in table(first(made), name):
            numbers = [row.get(column) for column in ("participants", "rows", "mean", "sd") if column in row]
            seen.add(row["status"])
            if row["status"] == "suppressed":
                assert not any(numbers)
            elif row.get("measure", "all") == "all":
                assert int(row["participants"]) >= 2
    assert seen == {"shown", "suppressed"}
    assert Package(str(first(made) / "datapackage.json")).validate().valid
    everything = b"".join(files(first(made)).values())
    assert [ref for ref in made.roster.entries if pid(made.root, ref).encode() in everything] == []


def test_without_a_threshold_nothing_is_released(demo_copy: Path) -> None:
    settings = yaml.safe_load((demo_copy / "study.yaml").read_text())
    del settings["small_cells"]
    (demo_copy / "study.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(WrongUse, match=r"small_cells\.min_participants"):
        release_aggregates(open_study(demo_copy), "a")
    assert not (demo_copy / "releases").exists()
    assert not (demo_copy / "identity" / "aggregates").exists()


def test_the_same_again_stands_and_both_engines_agree(study: Study, postgres: str, tmp_path: Path) -> None:
    before = files(study.root / "identity" / "aggregates")
    change_settings(study.root, warehouse=postgres)
    publish_study(open_study(study.root))
    # The bytes that DuckDB gave; a release of today does not change what an earlier one is held against.
    again = release_aggregates(open_study(study.root), "a")
    assert again.stood
    assert "stands already" in said(again)[-1]
    other = release_aggregates(open_study(study.root), "b", tmp_path / "out")
    assert files(other.folder / "csv") == files(first(study) / "csv")
    after = files(study.root / "identity" / "aggregates")
    assert {name: after[name] for name in before} == before
    assert release_aggregates(open_study(study.root), "a").stood


def test_a_name_stands_for_one_content(study: Study, tmp_path: Path) -> None:
    change_settings(study.root, small_cells={**EXACT, "min_participants": 3})
    with pytest.raises(WrongUse, match="other bytes"):
        release_aggregates(open_study(study.root), "a")
    with pytest.raises(WrongUse, match="with other values; choose another name"):
        release_aggregates(open_study(study.root), "a", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.fault(70)
def test_what_few_people_changed_is_held_at_its_former_value(study: Study) -> None:
    ref = sorted(study.roster.entries)[0]
    (last,) = {day for (day,) in rows(study.root, LAST.format(pid(study.root, ref)))}
    # One person's last nights go; nobody else's change.
    lines = study.root / "consents.csv"
    lines.write_text(
        "participant_ref,scope,from_on,until_on\n"
        + f"{ref},sleep,,{last.replace(day=1)}\n{ref},substance_use,,\n{ref},scales,,\n{ref},release,,\n"
    )
    run(study.root)
    second = release_aggregates(open_study(study.root), "b")
    assert second.cells["held"] > 0
    before, after = (
        {tuple(row[name] for name in ("basis", "measure", "phase", "week", "substance", "unit", "dose_band")): row
         for row in table(folder, "cohort_nights")}
        for folder in (first(study), second.folder)
    )  # fmt: skip
    numbers = ("participants", "rows", "mean", "sd")
    changed = [
        key
        for key, row in after.items()
        if row["status"] == "shown"
        and key in before
        and before[key]["status"] == "shown"
        and [row[n] for n in numbers] != [before[key][n] for n in numbers]
    ]
    assert changed == []
    for key, row in after.items():
        if row["status"] == "held":
            assert [row[name] for name in numbers] == [before[key][name] for name in numbers]


def test_nobody_who_left_is_in_a_held_value(study: Study) -> None:
    ref = sorted(study.roster.entries)[0]
    (study.root / "consents.csv").write_text("participant_ref,scope\n" + f"{ref},sleep\n{ref},substance_use\n")
    run(study.root)
    done = release_aggregates(open_study(study.root), "b")
    sql = f"select distinct coalesce(phase, 'none') from coverage where participant_id = '{pid(study.root, ref)}'"
    theirs = {phase for (phase,) in rows(study.root, sql)} | {""}
    of_phases = [row for row in table(done.folder, "cohort_coverage") if not row["week"] and row["phase"] in theirs]
    assert len(of_phases) >= 8
    assert {row["status"] for row in of_phases} == {"suppressed"}


def test_nothing_is_handed_out_that_cannot_be_written_down(study: Study, tmp_path: Path) -> None:
    def starved() -> None:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        with pytest.raises(Transient):
            release_aggregates(study, "b", tmp_path / "out")

    assert max(path.stat().st_size for path in first(study).rglob("*") if path.is_file()) < 40_000
    assert (study.root / "identity" / "aggregates" / "a.json").stat().st_size > 40_000
    assert in_child(starved) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_record_that_is_damaged_or_without_its_key_ends_it(study: Study, tmp_path: Path) -> None:
    kept = study.root / "identity" / "aggregates"
    assert kept.stat().st_mode & 0o077 == 0
    shutil.copytree(kept, tmp_path / "kept")
    text = (kept / "a.json").read_text()
    names = [*study.roster.entries, *(pid(study.root, ref) for ref in study.roster.entries)]
    assert [name for name in names if f'"{name}' in text] == []
    for damage in ("", "{}", json.dumps({**json.loads(text), "told": {"x": 1}})):
        (kept / "a.json").write_text(damage)
        with pytest.raises(Terminal, match=r"aggregates/a\.json is damaged; restore"):
            release_aggregates(study, "b", tmp_path / "out")
    (kept / "a.json").write_text(text)
    (kept / "key").write_text("short")
    with pytest.raises(Terminal, match="aggregates/key is damaged; restore"):
        release_aggregates(study, "b", tmp_path / "out")
    (kept / "key").unlink()
    with pytest.raises(Terminal, match="aggregates/key is missing; restore"):
        release_aggregates(study, "b", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.fault(72)
def test_no_cell_is_called_like_a_participant(study: Study) -> None:
    ref = sorted(study.roster.entries)[0]
    lines = "".join(f"{each},{ref.lower()},2026-01-01\n" for each in study.roster.entries)
    (study.root / "phases.csv").write_text(f"participant_ref,phase,start_on\n{lines}")
    run(study.root)
    with pytest.raises(WrongUse, match="a value of phase is a participant's ref or id"):
        release_aggregates(open_study(study.root), "b")
    assert sorted(path.name for path in (study.root / "releases").iterdir()) == [".lock", "a"]


def test_the_command_says_it(study: Study) -> None:
    done = command("--study", study.root, "release", "--as", "a", "--aggregates")
    assert done.returncode == 0, done.stderr
    assert " suppressed" in done.stdout
    refused = command("--study", study.root, "release", "--as", "b", "--aggregates", "--tables", "night")
    assert refused.returncode == 2
    assert "leave out --tables" in refused.stderr

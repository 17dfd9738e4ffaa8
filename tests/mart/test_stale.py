"""Whose marts are built again, and the reason that is given."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest import pipeline
from ingest._core.acknowledgements import Acknowledgement, add_acknowledgement
from ingest._core.files import sweep_temporary
from ingest._core.study import open_study
from ingest.lake.cohort_store import CohortState, read_cohort_state, write_cohort
from ingest.lake.store import manifest_path, manifests
from ingest.mart import rebuild as module
from ingest.mart.rebuild import mart_state, rebuild, stale
from studies import as_json, change_settings, fitbit_nights, land, make_study, pid, run, silent, write_roster

MARCH, APRIL = datetime(2026, 3, 1, 23), datetime(2026, 4, 1, 23)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = make_study(tmp_path / "study", refs=("K01", "K02"))
    for number, ref in enumerate(("K01", "K02")):
        land(root, f"{ref}/sleep-2026-03-01.json", as_json(fitbit_nights(MARCH, 2, 1000 * (number + 1))))
    assert run(root).rebuilt.reasons == {pid(root, ref): ["no marts yet"] for ref in ("K01", "K02")}
    return root


def _reasons(root: Path) -> dict[str, list[str]]:
    """Why the next run rebuilds whom, by ref; afterwards nobody is stale."""
    known = {pid(root, ref): ref for ref in ("K01", "K02")}
    done = run(root).rebuilt
    assert stale(open_study(root)) == []
    return {known[participant]: why for participant, why in done.reasons.items()}


def test_nobody_is_rebuilt_where_nothing_changed(study: Path) -> None:
    assert _reasons(study) == {}


def test_a_new_export_makes_its_participant_stale_alone(study: Path) -> None:
    land(study, "K02/more/sleep-2026-04-01.json", as_json(fitbit_nights(APRIL, 1, 9000)))
    assert _reasons(study) == {"K02": ["1 export new"]}


def test_a_grown_folder_gives_a_new_export_for_the_old_one(study: Path) -> None:
    land(study, "K02/sleep-2026-04-01.json", as_json(fitbit_nights(APRIL, 1, 9000)))
    assert _reasons(study) == {"K02": ["1 export new", "1 export gone or replaced"]}


def test_a_setting_of_the_marts_makes_everybody_stale(study: Path) -> None:
    change_settings(study, nights={"merge_gap_min": 45})
    assert _reasons(study) == {key: ["settings of nights changed"] for key in ("K01", "K02")}


def test_a_setting_no_mart_depends_on_makes_nobody_stale(study: Path) -> None:
    change_settings(study, quiet_seconds=0.5)
    assert _reasons(study) == {}


def test_a_roster_row_makes_its_participant_stale_alone(study: Path) -> None:
    (study / "roster.csv").write_text(
        "participant_ref,time_zone,enrolled_on\nK01,Europe/Oslo,2026-03-02\nK02,Europe/Oslo,\n"
    )
    assert _reasons(study) == {"K01": ["roster entry changed"]}


def test_another_zone_decodes_again(study: Path) -> None:
    write_roster(study, {"K01": "Asia/Bangkok", "K02": "Europe/Oslo"})
    assert _reasons(study) == {"K01": ["1 export decoded again", "roster entry changed", "time zone changed"]}


def test_an_acknowledgement_makes_its_participant_stale_alone(study: Path) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    add_acknowledgement(study, Acknowledgement(pid(study, "K02"), "extreme_dose", at, "kratom", at, "Dr. Lind"))
    assert _reasons(study) == {"K02": ["acknowledgements changed"]}


def test_other_definitions_make_everybody_stale(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.DEFINITIONS_VERSION
    monkeypatch.setattr(module, "DEFINITIONS_VERSION", f"{before}+")
    assert _reasons(study) == {key: [f"definitions changed {before} -> {before}+"] for key in ("K01", "K02")}


def test_other_zone_data_makes_everybody_stale(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = module.tzdata_version()
    monkeypatch.setattr(module, "tzdata_version", lambda: "2031z")
    assert _reasons(study) == {key: [f"tzdata changed {before} -> 2031z"] for key in ("K01", "K02")}


def test_marts_of_a_version_that_kept_no_parts_are_built_again(study: Path) -> None:
    path = study / "lake" / "_mart" / f"{pid(study)}.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "mart_hash": "0" * 32, "parts": {}}))
    assert _reasons(study) == {"K01": ["built by an earlier version"]}


def test_who_is_asked_for_is_rebuilt_without_a_reason(study: Path) -> None:
    opened = open_study(study)
    before = mart_state(opened.lake, pid(study))
    done = rebuild(opened, [pid(study)])
    assert (done.participants, done.reasons) == ([pid(study)], {pid(study): []})
    assert mart_state(opened.lake, pid(study)) == before


def test_a_run_explains_who_is_rebuilt_published_and_removed(study: Path) -> None:
    def explained() -> list[str]:
        done = run(study)
        return pipeline.explained(done.rebuilt, done.published)

    gone = pid(study, "K02")
    assert explained() == []
    land(study, "K01/more/sleep-2026-04-01.json", as_json(fitbit_nights(APRIL, 1, 9000)))
    assert explained() == [f"rebuilt    {pid(study)}: 1 export new"]
    write_roster(study, {"K01": "Europe/Oslo"})
    assert f"removed    {gone}: left the roster" in explained()
    (study / "warehouse.duckdb").write_bytes(b"no database")
    (line,) = [line for line in explained() if "everybody" in line]
    assert line == "published  everybody: the warehouse was made anew, it could not be read"


def test_a_run_explains_what_an_earlier_one_left_unpublished(study: Path) -> None:
    change_settings(study, nights={"merge_gap_min": 45})
    opened = open_study(study)
    rebuild(opened, [pid(study)])
    done = pipeline.refresh(opened, silent)
    assert pipeline.explained(*done) == [
        f"rebuilt    {pid(study, 'K02')}: settings of nights changed",
        f"published  {pid(study)}: not yet in the warehouse as lake and roster have it",
    ]


def test_a_manifest_that_goes_is_told(study: Path) -> None:
    opened = open_study(study)
    (held,) = manifests(opened.lake, pid(study))
    manifest_path(opened.lake, pid(study), held.source_file_id).unlink()
    assert stale(opened) == [pid(study)]
    assert rebuild(opened, stale(opened)).reasons == {pid(study): ["1 export gone or replaced"]}


@pytest.mark.fault(13)
def test_leftover_temporary_files_are_swept_at_any_depth(tmp_path: Path) -> None:
    old = [tmp_path / name for name in (".tmp-a", "night/participant_id=p1/.tmp-b", "_mart/.tmp-c")]
    kept = [tmp_path / name for name in ("night/participant_id=p1/part.parquet", "_mart/p1.json")]
    for path in [*old, *kept]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert sweep_temporary(tmp_path, 0) == 0
    assert sweep_temporary(tmp_path, 4e9) == len(old)
    assert [path.exists() for path in [*old, *kept]] == [False] * 3 + [True] * 2
    assert sweep_temporary(tmp_path / "none", 4e9) == 0


def test_tables_over_all_participants_go_with_whoever_leaves_the_roster(study: Path) -> None:
    lake = open_study(study).lake
    state = CohortState("hash", "1", "settings", sorted(pid(study, ref) for ref in ("K01", "K02")))
    write_cohort(lake, {}, state)
    run(study)
    assert read_cohort_state(lake) == state
    write_roster(study, {"K01": "Europe/Oslo"})
    run(study)
    assert read_cohort_state(lake) is None
    assert [path for path in (lake / "_cohort").iterdir() if path.suffix == ".parquet"] == []

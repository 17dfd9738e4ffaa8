"""What cannot be used: one clear line each, the rest is loaded, counts reconcile, no name goes on."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from studies import (
    as_json,
    check_counts,
    command,
    fitbit_log,
    fitbit_nights,
    land,
    make_study,
    pid,
    quarantine,
    rows,
    run,
    told,
    write_roster,
)

REF, OTHER = "Ref-Alma-Zebrowski", "Ref-Bo-Zebrowski"
CANARY = "Zebrowski"
LOG_HEADER = "participant_ref,substance,taken_at,amount,unit,product_form,route,reason\n"
GOOD = as_json(fitbit_nights(datetime(2026, 3, 1, 23), 3))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with a good export of three nights, to which a test adds what is bad."""
    root = make_study(tmp_path / "study", refs=(REF, OTHER))
    land(root, f"{REF}/good/sleep-2026-03-01.json", GOOD)
    return root


def _packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


def _nights(root: Path) -> int:
    return int(rows(root, "select count(*) from night")[0][0])


def _zip_cut_short() -> tuple[str, bytes]:
    data = _packed({"Takeout/Fitbit/Global Export Data/sleep-2026-04-01.json": GOOD})
    return "takeout.zip", data[: len(data) * 2 // 3]


FILES = {
    "zip cut short": (*_zip_cut_short(), "cut_short"),
    "empty file": ("sleep-2026-04-01.json", b"", "empty_file"),
    "not Fitbit's JSON": ("diary.json", b'{"mood": "Zebrowski"}', "no_decoder"),
    "not JSON": ("sleep-2026-04-01.json", b"Zebrowski {", "not_json"),
    "another shape under Fitbit's name": ("sleep-2026-04-01.json", b'{"mood": 3}', "not_fitbit_sleep"),
}


@pytest.mark.parametrize("what", sorted(FILES))
def test_a_file_of_no_use_is_one_line(study: Path, what: str) -> None:
    name, data, reason = FILES[what]
    land(study, f"{REF}/bad/{name}", data)
    run(study)
    (line,) = quarantine(study)
    assert (line.kind, line.reason) == ("file", reason)
    assert line.participant_id == pid(study, REF)
    assert line.path is not None
    assert line.path.as_posix().startswith(f"landing/{REF}/bad")
    assert line.detail.strip()
    assert "\n" not in line.detail
    assert CANARY not in line.detail
    assert _nights(study) == 3
    check_counts(study)
    assert CANARY not in told(study)


def test_an_unknown_unit_is_kept_and_named(study: Path) -> None:
    rows_ = [
        f"{REF},kratom,2026-03-01T21:00,2,g,powder,oral,",
        f"{REF},kratom,2026-03-02T21:00,2,Zebrowskis,powder,oral,",
    ]
    land(study, f"{REF}/logs/log.csv", LOG_HEADER + "\n".join(rows_) + "\n")
    run(study)
    (line,) = quarantine(study)
    assert line.kind == "value"
    assert "unit" in line.reason
    assert rows(study, "select records_read, kept, quarantined from source_file where source = 'csv_log'") == [
        (2, 2, 0)
    ]
    assert rows(study, "select local_date, amount from substance_use where amount is null") == [
        (datetime(2026, 3, 2).date(), None)
    ]
    check_counts(study)


def test_an_impossible_date_loses_its_row_only(study: Path) -> None:
    rows_ = [
        f"{REF},kratom,2026-02-30T21:00,2,g,powder,oral,Zebrowski",
        f"{REF},kratom,2026-03-02T21:00,2,g,powder,oral,",
    ]
    land(study, f"{REF}/logs/log.csv", LOG_HEADER + "\n".join(rows_) + "\n")
    run(study)
    (line,) = quarantine(study)
    assert (line.kind, line.reason) == ("substance_use", "impossible_date")
    assert rows(study, "select records_read, kept, quarantined from source_file where source = 'csv_log'") == [
        (2, 1, 1)
    ]
    check_counts(study)


def test_an_impossible_time_of_sleep_loses_its_record_only(study: Path) -> None:
    bad = fitbit_log(7001, datetime(2026, 4, 1, 23), startTime="2026-04-31T23:00:00.000")
    land(study, f"{REF}/bad/sleep-2026-04-01.json", as_json([bad, fitbit_log(7002, datetime(2026, 4, 2, 23))]))
    run(study)
    (line,) = quarantine(study)
    assert (line.kind, line.reason) == ("sleep", "impossible_time")
    assert "record 1" in line.locator
    assert _nights(study) == 4
    check_counts(study)


def test_an_unknown_participant_waits_for_the_roster(study: Path) -> None:
    land(study, "Ref-Cleo-Zebrowski/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 5, 1, 23), 2, 500)))
    run(study)
    (line,) = quarantine(study)
    assert (line.kind, line.reason, line.participant_id) == ("file", "unknown_participant", "_study")
    assert "roster.csv" in line.detail
    assert _nights(study) == 3
    assert CANARY not in told(study)
    write_roster(study, dict.fromkeys((REF, OTHER, "Ref-Cleo-Zebrowski"), "Europe/Oslo"))
    run(study)
    assert quarantine(study) == []
    assert rows(study, "select count(*) from quarantine") == [(0,)]
    assert _nights(study) == 5
    check_counts(study)


def test_a_zone_that_does_not_exist_holds_back_its_participant_only(study: Path) -> None:
    land(study, f"{OTHER}/sleep-2026-03-01.json", as_json(fitbit_nights(datetime(2026, 5, 1, 23), 2, 500)))
    write_roster(study, {REF: "Europe/Oslo", OTHER: "Europe/Olso"})
    done = command("--study", study, "run")
    assert done.returncode == 0
    told_lines = [line for line in done.stderr.splitlines() if "roster.csv" in line]
    assert len(told_lines) == 1
    assert "roster.csv line 3" in told_lines[0]
    assert "Europe/Oslo" in told_lines[0]
    assert CANARY not in done.stdout + done.stderr
    assert _nights(study) == 3
    assert quarantine(study) == []
    write_roster(study, dict.fromkeys((REF, OTHER), "Europe/Oslo"))
    assert command("--study", study, "run").returncode == 0
    assert _nights(study) == 5
    assert quarantine(study) == []


def test_all_of_it_at_once_through_the_command(study: Path) -> None:
    """Nothing that is bad keeps what is good out, and no text tells who they are."""
    for what, (name, data, _) in FILES.items():
        land(study, f"{REF}/{what.replace(' ', '-')}/{name}", data)
    land(study, f"{OTHER}/logs/log.csv", LOG_HEADER + f"{OTHER},kratom,2026-03-02T25:61,2,g,powder,oral,{CANARY}\n")
    land(study, f"{CANARY}-unknown/sleep-2026-03-01.json", GOOD)
    done = command("--study", study, "--verbose", "run")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert _nights(study) == 3
    # One of each kind; the not-JSON and the empty file share a name, not a folder.
    assert len(quarantine(study)) == len(FILES) + 2
    check_counts(study)
    text = "\n".join([told(study), done.stdout, done.stderr])
    assert [word for word in (CANARY, REF, OTHER) if word in text] == []
    everything = b"".join(path.read_bytes() for path in study.rglob("*") if (path.is_file()
                          and path.is_relative_to(study / "lake")) or path.name.startswith("warehouse"))  # fmt: skip
    assert CANARY.encode() not in everything
    assert command("--study", study, "run", "--strict").returncode == 0
    assert command("--study", study, "verify").returncode == 0

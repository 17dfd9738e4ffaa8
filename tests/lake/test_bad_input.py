"""What cannot be used: one clear line each, the rest is loaded, counts reconcile, no name goes on."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from studies import (
    as_json,
    change_settings,
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
@pytest.mark.fault(41)
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


@pytest.mark.fault(53)
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


@pytest.mark.fault(67)
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


FORM: dict[str, Any] = {
    "name": "form", "layout": "daily", "date": {"column": "day"}, "date_means": "use_day",
    "items": [{"substance": "alcohol", "amount": "drinks", "unit": "std_drink_us", "at": "clock"}],
}  # fmt: skip
LONG = "substance,taken_at,amount,unit,note\n"
DAYS, CALENDAR = "day,drinks,clock\n", "What,2026-03-01,2036-03-02\n"
NIGHTS, SCORES = "Morning of,Lights out,Up\n", "filled in,PSQI\n"
OTHERS: list[dict[str, Any]] = [
    {"name": "calendar", "layout": "calendar", "date_means": "use_day", "substance": "What", "unit_is": "g"},
    {"name": "nights", "layout": "diary", "date": {"column": "Morning of"}, "date_means": "wake_day",
     "diary": {"try_to_sleep": "Lights out", "final_wake": "Up"}},
    {"name": "scores", "layout": "scale", "date": {"column": "filled in"}, "date_means": "use_day",
     "scale": {"instrument": "PSQI", "total": "PSQI"}},
]  # fmt: skip
LINES = {  # What stands in row 2 of a log of three: the column that is told, and the rule.
    "decimal comma": (LONG, 'kratom,2026-03-02T21:00,"2,5",g,', "amount", "not_a_number"),
    "full-width digits": (LONG, "kratom,2026-03-02T21:00,\uff12,g,", "amount", "not_a_number"),
    "underscore": (LONG, "kratom,2026-03-02T21:00,1_000,mg,", "amount", "not_a_number"),
    "negative dose": (LONG, "kratom,2026-03-02T21:00,-2,g,", "amount", "negative_amount"),
    "free text for a number": (LONG, "kratom,2026-03-02T21:00,two or three Zebrowskis,g,", "amount", "not_a_number"),
    "hour 25": (LONG, "kratom,2026-03-02T25:00,2,g,", "taken_at", "impossible_date"),
    "full-width date": (LONG, "kratom,\uff12026-03-02T21:00,2,g,", "taken_at", "not_a_date"),
    "future": (LONG, "kratom,2036-03-02T21:00,2,g,", "taken_at", "in_the_future"),
    "foreign bytes": (LONG, "kratom,2026-03-02T21:00,2,g,Zebrowski \udce9", "column 5", "encoding"),
    "before 2000": (LONG, "kratom,1926-03-02T21:00,2,g,", "taken_at", "before_2000"),
    "clock of 25:00": (DAYS, "2026-03-02,2,25:00", "clock", "impossible_clock"),
    "amount of a form in words": (DAYS, "2026-03-02,Zebrowskis,21:00", "drinks", "not_a_number"),
    "future day": (DAYS, "2036-03-02,2,", "day", "in_the_future"),
    "future day of a calendar": (CALENDAR, "alcohol,,3", "column 3", "in_the_future"),
    "old night": (NIGHTS, "1926-03-02,23:00,07:00", "Morning of", "before_2000"),
    "future answers": (SCORES, "2036-03-02,7", "filled in", "in_the_future"),
}
_GOOD_ROWS = {
    LONG: ("kratom,2026-03-01T21:00,2,g,=1+1 Zebrowski", "kratom,2026-03-03T21:00,3,g,"),
    DAYS: ("2026-03-01,1,21:00", "2026-03-03,0,"),
    CALENDAR: ("kratom,2,", "caffeine,1,"),
    NIGHTS: ("2026-03-01,23:00,07:00", "2026-03-03,22:00,07:00"),
    SCORES: ("2026-03-01,8", "2026-03-03,9"),
}


@pytest.mark.fault(54)
def test_each_bad_value_is_one_line_with_file_row_and_column(tmp_path: Path) -> None:
    """The other rows of each file are loaded, a formula in a note is a note, and no cell is told."""
    study = make_study(tmp_path / "study", logs=[FORM, *OTHERS], refs=(REF,))
    for place, (header, bad, _, _) in enumerate(LINES.values()):
        rows_ = [_GOOD_ROWS[header][0], bad, _GOOD_ROWS[header][1]]
        # Other clocks in each file, so that none repeats what another says.
        text = header + "\n".join(rows_).replace("T21:00", f"T21:{place:02d}") + "\n"
        land(study, f"{REF}/{place}/log.csv", text.encode("utf-8", "surrogateescape"))
    run(study)
    found = {line.path.as_posix(): (line.locator, line.reason) for line in quarantine(study) if line.path}
    assert found == {
        f"landing/{REF}/{place}/log.csv": ("row 2" + (f", {column}" if column else ""), reason)
        for place, (_, _, column, reason) in enumerate(LINES.values())
    }
    assert len(quarantine(study)) == len(LINES)
    counts = rows(study, "select records_read, kept, quarantined from source_file where source = 'csv_log'")
    assert counts == [(3, 2, 1)] * len(LINES)
    check_counts(study)
    everything = b"".join(each.read_bytes() for each in (study / "lake").rglob("*") if each.is_file())
    assert CANARY.encode() not in everything + told(study).encode()


def test_mixed_date_orders_are_told_with_both_readings_until_a_format_says_which(tmp_path: Path) -> None:
    form = {**FORM, "items": [{"substance": "alcohol", "amount": "drinks", "unit": "std_drink_us"}]}
    study = make_study(tmp_path / "study", logs=[form], refs=(REF,))
    land(study, f"{REF}/log.csv", "day,drinks\n2026-03-01,1\n13/02/2026,2\n02/14/2026,3\n")
    run(study)
    lines = {line.locator: line for line in quarantine(study)}
    assert {where: line.reason for where, line in lines.items()} == {
        "column 1": "mixed_date_orders", "row 2, day": "not_a_date", "row 3, day": "not_a_date",
    }  # fmt: skip
    assert "as %d/%m/%Y, the first is row 2" in lines["column 1"].detail
    assert "as %m/%d/%Y, the first is row 3" in lines["column 1"].detail
    assert all(line.path == Path(f"landing/{REF}/log.csv") for line in lines.values())
    assert rows(study, "select records_read, kept, quarantined from source_file") == [(3, 1, 2)]
    change_settings(study, logs=[{**form, "date": {"column": "day", "format": "%d/%m/%Y"}}])
    run(study)
    assert {(line.locator, line.reason) for line in quarantine(study)} == {
        ("row 1, day", "not_a_date"), ("row 3, day", "impossible_date"),
    }  # fmt: skip
    check_counts(study)

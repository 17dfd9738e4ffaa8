"""`ingest map`: what is proposed for a log is a valid mapping, reads the log, and never names a column of free text."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from decode.log.log_cases import decode, settings_with
from ingest._core.errors import WrongUse
from ingest._core.log_mapping import LogMapping
from ingest.cli import app
from ingest.report._map_guess import LAYOUTS
from ingest.report.mapping import show

LONG = (
    "Submitted at,Subject ID,When taken,Drug,Dose,Unit,Route,Notes\n"
    "2026-03-02 09:00,P01,28/02/2026 21:30,Kratom,2.5,g,oral,felt calm after a quarrel with my brother Zebrowski\n"
    "2026-03-02 09:05,P01,01/03/2026 08:00,caffeine,80,mg,oral,\n"
)
DAILY = (
    "Timestamp,Date,Alcohol yesterday?,Kratom (g),Mood\n"
    "2026-03-02T08:00,02.03.2026,Ja,4.5,good\n2026-03-13T08:00,13.03.2026,Nein,0,bad\n"
)
WIDE = "kratom day,dose 1 (g),time 1,dose 2 (g),time 2\n2026-03-01,2,08:00,3,22:15\n2026-03-02,2,,1,01:40\n"
DIARY = (
    "Morning of,Went to bed,Lights out,Minutes to fall asleep,Number of awakenings,Minutes awake,Woke up,Got up,"
    "Quality\n"
    "2026-03-02,22:50,23:20,15,2,30,06:50,07:10,3\n2026-03-03,00:30,00:40,5,0,0,08:00,08:15,2\n"
)
SCALE = "participant,date," + ",".join(f"item{k}" for k in range(1, 8)) + "\nP01,2026-03-02,0,1,2,3,4,0,1\n"


def proposed(folder: Path, data: str | bytes, name: str = "log.csv", layout: str | None = None) -> dict[str, Any]:
    """The mapping as read back from what is shown, held against LogMapping."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    lines = show(path, layout).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  - name: "))
    (mapping,) = yaml.safe_load("logs:\n" + "\n".join(lines[first : lines.index("", first)]))["logs"]
    LogMapping.model_validate(mapping)
    return dict(mapping)


def test_a_long_log_by_names_dates_and_cells(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, LONG, "dose app.csv")
    assert mapping == {
        "name": "dose_app",
        "layout": "long",
        "participant": "Subject ID",
        "substance": "Drug",
        "taken_at": {"column": "When taken", "format": "%d/%m/%Y %H:%M"},
        "reported_at": {"column": "Submitted at"},
        "amount": "Dose",
        "unit": "Unit",
        "route": "Route",
    }
    read = decode(LONG, settings_with(mapping))
    assert (read.tally.kept, read.tally.refusals) == (2, [])


def test_a_daily_log_by_answers_and_amounts_of_named_substances(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, DAILY)
    assert mapping["layout"] == "daily"
    assert mapping["date"] == {"column": "Date", "format": "%d.%m.%Y"}
    assert mapping["items"] == [
        {"substance": "alcohol", "answer": "Alcohol yesterday?"},
        {"substance": "kratom", "amount": "Kratom (g)", "unit": "g"},
    ]
    assert mapping["answers"] == {"yes": ["Ja"], "no": ["Nein"]}
    assert decode(DAILY, settings_with(mapping)).tally.kept == 2


def test_a_wide_log_by_numbered_doses_with_their_clocks(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, WIDE, "kratom.csv")
    assert mapping["layout"] == "wide"
    assert mapping["items"] == [
        {"substance": "kratom", "amount": f"dose {k} (g)", "unit": "g", "at": f"time {k}"} for k in (1, 2)
    ]


def test_a_diary_by_its_questions(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, DIARY)
    assert (mapping["layout"], mapping["date"], mapping["date_means"]) == (
        "diary",
        {"column": "Morning of"},
        "wake_day",
    )
    assert mapping["diary"] == {
        "into_bed": "Went to bed", "try_to_sleep": "Lights out", "sol_min": "Minutes to fall asleep",
        "awakenings": "Number of awakenings", "waso_min": "Minutes awake", "final_wake": "Woke up",
        "out_of_bed": "Got up", "quality": "Quality",
    }  # fmt: skip
    assert decode(DIARY, settings_with(mapping)).tally.kept == 2


@pytest.mark.parametrize(
    ("n", "prefix", "instrument"),
    [(7, "item", "ISI"), (7, "isi_", "ISI"), (8, "ais", "AIS"), (10, "sows_", "SOWS_GOSSOP"), (11, "cows", "COWS"),
     (16, "SOWS ", "SOWS")],
)  # fmt: skip
def test_a_scale_by_its_numbered_items(tmp_path: Path, n: int, prefix: str, instrument: str) -> None:
    names = [f"{prefix}{k}" for k in range(1, n + 1)]
    mapping = proposed(tmp_path, f"date,{','.join(names)}\n2026-03-02,{','.join('1' for _ in names)}\n")
    assert mapping["layout"] == "scale"
    assert mapping["scale"] == {"instrument": instrument, "items": {str(k + 1): name for k, name in enumerate(names)}}


def test_what_the_date_means_is_asked(tmp_path: Path) -> None:
    proposed(tmp_path, DAILY)
    text = show(tmp_path / "log.csv")
    assert "date_means: use_day  # say what the date means: use_day, report_day, wake_day or bed_day" in text


@pytest.mark.parametrize(
    ("cells", "form", "remark"),
    [
        (("03/04/2026", "05/06/2026"), "%d/%m/%Y", "could be either; say which"),
        (("03/04/2026", "13/06/2026"), "%d/%m/%Y", None),
        (("03/04/2026", "05/16/2026"), "%m/%d/%Y", None),
        (("13/04/2026", "05/16/2026"), "%d/%m/%Y", "both orders"),
        (("3-Apr-2026", "12-Dec-2026"), "%d-%b-%Y", None),
        (("20260301", "20260302"), "%Y%m%d", None),
        (("2026-03-01", "2026-03-02"), None, None),
    ],
)
def test_the_order_of_day_and_month(tmp_path: Path, cells: tuple[str, str], form: str, remark: str | None) -> None:
    mapping = proposed(tmp_path, "day,alcohol\n" + "".join(f"{cell},yes\n" for cell in cells))
    assert mapping["date"].get("format") == form
    (line,) = [line for line in show(tmp_path / "log.csv").splitlines()
               if line.strip().startswith("format:" if form else "column: day")]  # fmt: skip
    assert (remark in line) if remark else ("#" not in line)


def test_an_american_clock_reads_the_month_first(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, "when,drug,mg\n03/04/2026 09:30 PM,kratom,20\n")
    assert mapping["taken_at"]["format"] == "%m/%d/%Y %I:%M %p"
    assert (mapping["amount"], mapping["unit_is"]) == ("mg", "mg")


@pytest.mark.parametrize(
    ("encoding", "delimiter"), [("utf-8", ";"), ("cp1252", ";"), ("utf-16", "\t"), ("utf-8-sig", "|")]
)
def test_encodings_delimiters_and_the_decimal_comma(tmp_path: Path, encoding: str, delimiter: str) -> None:
    rows = [("Zeit", "Stoff", "Menge", "Einheit", "Größe"), ("01.03.2026 21:30", "Kratom", "2,5", "g", "ü"),
            ("13.03.2026 21:30", "Kratom", "3", "g", "ü")]  # fmt: skip
    data = "\n".join(delimiter.join(row) for row in rows).encode(encoding)
    mapping = proposed(tmp_path, data)
    assert (mapping["delimiter"], mapping["decimal"]) == (delimiter, ",")
    assert mapping.get("encoding", "utf-8") == encoding.removesuffix("-sig")
    assert (mapping["substance"], mapping["amount"], mapping["unit"]) == ("Stoff", "Menge", "Einheit")
    read = decode(data, settings_with(mapping))
    assert read.uses is not None
    assert read.uses["amount_reported"].to_pylist() == [2.5, 3.0]


def test_free_text_is_named_as_left_out_and_not_shown(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, LONG)
    text = show(tmp_path / "log.csv")
    assert "Notes" not in str(mapping)
    assert "\n  Notes: free text\n" in text
    assert "Zebrowski" not in text
    assert "brother" not in text


def test_the_preview_shows_rows_as_they_come_out(tmp_path: Path) -> None:
    proposed(tmp_path, LONG)
    lines = [line.split() for line in show(tmp_path / "log.csv").splitlines()]
    assert ["1", "kratom", "2026-02-28T21:30", "exact", "2.5", "g"] in lines
    assert ["2", "caffeine", "2026-03-01T08:00", "exact", "80", "mg"] in lines


def test_rows_that_would_be_set_aside_are_told(tmp_path: Path) -> None:
    many = "".join(f"2026-03-{day:02d}T08:00,kratom,{day},g\n" for day in range(1, 20))
    proposed(tmp_path, "when,drug,amount,unit\n" + many + "2026-03-20T08:00,kratom,-3,g\n")
    text = show(tmp_path / "log.csv")
    assert "of 20 rows 19 would be kept, 0 are duplicates, 0 ignored, 1 set aside" in text
    assert "set aside 1: negative_amount, first row 20, amount: expected an amount of 0 or more" in text


def test_a_unit_that_is_not_told_is_asked_for_and_converts_nothing(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, "when,drug,amount\n2026-03-20T08:00,kratom,3\n")
    assert mapping["unit_is"] == "say_which"
    assert "unit_is: say_which  # say the unit: " in show(tmp_path / "log.csv")


def test_the_canonical_log_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("substance,taken_at\nkratom,2026-03-01\n")
    assert show(path).startswith("this is the canonical log, which needs no mapping")


def test_the_layout_may_be_said(tmp_path: Path) -> None:
    text = "date,anxiety,muscle aches\n2026-03-01,3,5\n2026-03-02,4,5\n"
    mapping = proposed(tmp_path, text, layout="scale")
    assert mapping["scale"] == {
        "instrument": "DAILY",
        "items": {"anxiety": "anxiety", "muscle_aches": "muscle aches"},
    }
    assert proposed(tmp_path, DAILY.replace("Kratom (g)", "g"), layout="long")["substance_is"] == "alcohol"


@pytest.mark.parametrize(
    ("data", "layout", "expected"),
    [
        (b"PK\x03\x04rest", None, "expected a CSV file, got a workbook or an archive"),
        (b'[{"a": 1}]', None, "got JSON or XML"),
        (b"\x00\x01\x02\xff\xfe,\x81", None, "expected text in utf-8, cp1252 or utf-16"),
        (b"", None, "got a file without text"),
        (b"date\n2026-03-01\n", None, "got one column"),
        (b"date,alcohol\n", None, "expected rows below the header, got none"),
        (b"2026-03-01,3\n2026-03-02,4\n", None, "got numbers and dates; put a header above"),
        (b"who,alcohol\nme,yes\n", None, "expected a column of dates"),
        (b"date,alcohol\n2026-03-01,yes\n", "diary", "expected columns of a sleep diary"),
        (b"date,alcohol\n2026-03-01,yes\n", "wide", "expected numbered columns of amounts"),
        (b"date,alcohol\n2026-03-01,yes\n", "deep", "--layout is one of long, daily, wide, calendar, diary, scale"),
    ],
)
def test_what_is_no_log_is_refused_with_what_was_expected(
    tmp_path: Path, data: bytes, layout: str | None, expected: str
) -> None:
    (tmp_path / "log.csv").write_bytes(data)
    with pytest.raises(WrongUse) as told:
        show(tmp_path / "log.csv", layout)
    assert expected in str(told.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match="got nothing at"):
        show(tmp_path / "none.csv")


def test_ratings_are_a_daily_scale(tmp_path: Path) -> None:
    mapping = proposed(tmp_path, "time,mood,pain\n2026-03-01T08:00Z,3,10\n2026-03-02T08:00Z,0,5\n")
    assert mapping["scale"] == {"instrument": "DAILY", "items": {"mood": "mood", "pain": "pain"}}
    assert "2026-03-01T08:00Z" in show(tmp_path / "log.csv")


WORDS = ["date", "taken", "dose 1", "kratom", "item1", "bed time", "unit", "yes", "no", "2026-03-01", "03/04/2026",
         "13/04/2026", "05/16/2026", "22:30", "3", "2,5", "-1", "mg", "=1+1", "", " ", "\u0662", "x" * 60]  # fmt: skip
CELLS = st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=4, max_size=4), min_size=1, max_size=6), st.sampled_from([None, *LAYOUTS]))
@settings(max_examples=150, deadline=None)
def test_whatever_cells_a_file_holds_a_mapping_or_a_reason_comes_out(rows: list[list[str]], layout: str | None) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    with TemporaryDirectory() as folder:
        try:
            shown = show_in(Path(folder), text.getvalue(), layout)
        except WrongUse:
            return
    assert shown.startswith("this is the canonical log") or "  - name: log" in shown


def show_in(folder: Path, text: str, layout: str | None) -> str:
    """What is shown for a file of this text."""
    (folder / "log.csv").write_bytes(text.encode("utf-8", "replace"))
    return show(folder / "log.csv", layout)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(DIARY)
    done = CliRunner().invoke(app, ["map", str(tmp_path / "log.csv"), "--layout", "diary"])
    assert done.exit_code == 0
    assert "into_bed: Went to bed" in done.stdout

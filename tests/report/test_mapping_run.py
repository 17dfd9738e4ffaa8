"""`ingest map` the whole way: what is proposed for a file, pasted into study.yaml, gives the rows of its preview."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from openpyxl import Workbook

from decode.log.workbooks import workbook
from ingest._core.errors import WrongUse
from ingest.report import mapping as mapping_module
from ingest.report.mapping import show
from studies import change_settings, check_counts, land, make_study, quarantine, rows, run

OSLO = ZoneInfo("Europe/Oslo")
CHOICES = '"Variable / Field Name","Form Name","Field Type","Choices, Calculations, OR Slider Labels"\n'
DICTIONARY = CHOICES + (
    'dose_drug,dose_log,radio,"1, Kratom | 2, Caffeine"\ndose_unit,dose_log,dropdown,"1, g | 2, mg"\n'
    'took,evening_form,checkbox,"1, Kratom | 2, Alcohol | 3, Something else"\n'
)
RECORDS = (
    "record_id,redcap_repeat_instrument,redcap_repeat_instance,consent_date,full_name,enrolment_complete,dose_time,"
    "dose_drug,dose_amount,dose_unit,dose_log_complete,evening_date,took___1,took___2,took___3,evening_form_complete\n"
    "P01,,,2026-02-20,Ada Zebrowski,2,,,,,,,0,0,0,\n"
    "P01,dose_log,1,,,,2026-03-01 21:30,1,2.5,1,2,,0,0,0,\n"
    "P01,dose_log,2,,,,2026-03-02 19:00,2,80,2,2,,0,0,0,\n"
    "P01,dose_log,3,,,,,,,,0,,0,0,0,\n"
    "P02,dose_log,1,,,,2026-03-01 22:00,1,3,1,2,,0,0,0,\n"
    "P01,evening_form,1,,,,,,,,,2026-03-05,1,0,0,2\n"
    "P01,evening_form,2,,,,,,,,,2026-03-06,0,0,0,0\n"
    "P02,evening_form,1,,,,,,,,,2026-03-05,0,1,0,2\n"
)
LABELS = (
    "record_id,redcap_event_name,survey_date,took___1,took___2,daily_survey_complete\n"
    "P01,Baseline,,Unchecked,Unchecked,Incomplete\nP01,Day 1,2026-03-01,Checked,Unchecked,Complete\n"
    "P01,Day 2,2026-03-02,Unchecked,Unchecked,Complete\nP02,Day 1,2026-03-01,Unchecked,Checked,Complete\n"
)
TWO_FORMS = (
    "record_id,redcap_event_name,dose_when,dose_substance,dose_g,doses_complete,day,alcohol_drunk,days_complete\n"
    "P01,morning_arm_1,2026-03-01 08:00,kratom,2,2,,,\nP01,evening_arm_1,,,,,2026-03-01,yes,2\n"
    "P02,morning_arm_1,2026-03-01 09:00,kratom,3,2,,,\nP02,evening_arm_1,,,,,2026-03-01,no,2\n"
)
TLFB_DAYS = (
    "participant,date,interview,kratom_g,caffeine_mg\n"
    "P01,2026-02-27,2026-03-01,3,0\nP01,2026-02-28,2026-03-01,0,200\nP02,2026-02-28,2026-03-01,,100\n"
)
CALENDAR = (
    "id,drug,unit,interviewed,notes,01/03/2026,02/03/2026,13/03/2026\n"
    "P01,Kratom,g,15/03/2026,came with Ms Zebrowski,2.5,0,\nP01,Caffeine,mg,15/03/2026,,80,no,100\n"
    "P02,Kratom,g,15/03/2026,,,1,\n"
)
XLSX_LONG = workbook({
    "Doses": [["Doses of the spring"], [], ["Participant", "When taken", "Drug", "Dose (g)", "Note"],
              ["P01", datetime(2026, 3, 1, 21, 30), "Kratom", 2.5, "with Zebrowski"],
              ["P02", datetime(2026, 3, 2, 7, 15), "Kratom", 3, None]],
})  # fmt: skip
XLSX_DAILY = workbook({
    "Read me": [["Filled in each evening"]],
    "Days": [["participant", "date", "Alcohol?", "kratom g"], ["P01", date(2026, 3, 1), True, 2],
             ["P01", date(2026, 3, 2), False, 0]],
})  # fmt: skip
XLSX_CALENDAR = workbook({
    "TLFB": [["participant", "substance", date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)],
             ["P01", "cannabis", "yes", "no", None], ["P02", "alcohol", None, "no", "yes"]],
})  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A file, what lies beside it, the keys its proposals must hold, and how many uses it tells of."""

    name: str
    data: bytes | str
    uses: int
    holds: tuple[dict[str, Any], ...]
    beside: dict[str, str] = field(default_factory=dict)


FORM = {"participant": "record_id", "record_id": "redcap_repeat_instance", "codebook": True}
WAYS = {
    "CSV, long": Way("doses.csv", "subject,when taken,drug,dose (mg)\nP01,2026-03-01T08:00,caffeine,80\n", 1,
                     ({"layout": "long", "unit_is": "mg"},)),
    "XLSX, long, below a title": Way("doses.xlsx", XLSX_LONG, 2, ({"layout": "long", "amount": "Dose (g)"},)),
    "XLSX, daily, on the second sheet": Way("days.XLSX", XLSX_DAILY, 4, ({"layout": "daily", "sheet": "Days"},)),
    "calendar": Way("timeline.csv", CALENDAR, 6,
                    ({"layout": "calendar", "day_format": "%d/%m/%Y", "participant": "id", "unit": "unit",
                      "reported_at": {"column": "interviewed", "format": "%d/%m/%Y"}},)),
    "XLSX, calendar": Way("timeline.xlsx", XLSX_CALENDAR, 4, ({"layout": "calendar", "substance": "substance"},)),
    "TLFB, a row for each day": Way("days.csv", TLFB_DAYS, 5, ({"layout": "daily", "recall_method": "tlfb"},)),
    "REDCap, raw, repeating instruments": Way("records.csv", RECORDS, 7, (
        FORM | {"name": "dose_log", "layout": "long", "only": {"redcap_repeat_instrument": ["dose_log"]},
                "filled_in": {"column": "dose_log_complete"}, "substance": "dose_drug", "unit": "dose_unit"},
        FORM | {"name": "evening_form", "layout": "daily", "only": {"redcap_repeat_instrument": ["evening_form"]},
                "filled_in": {"column": "evening_form_complete"},
                "items": [{"substance": "kratom", "answer": "took___1"},
                          {"substance": "alcohol", "answer": "took___2"}]},
    ), {"study_DataDictionary.csv": DICTIONARY}),
    "REDCap, labels, an event for each day": Way("labels.csv", LABELS, 6, (
        {"name": "daily_survey", "participant": "record_id", "record_id": "redcap_event_name",
         "filled_in": {"column": "daily_survey_complete"}, "answers": {"yes": ["Checked"], "no": ["Unchecked"]}},
    ), {"study_DataDictionary.csv": CHOICES + 'took,daily_survey,checkbox,"1, Kratom | 2, Alcohol"\n'}),
    "REDCap, two forms told apart by their events": Way("events.csv", TWO_FORMS, 4, (
        {"name": "doses", "layout": "long", "only": {"redcap_event_name": ["morning_arm_1"]}},
        {"name": "days", "layout": "daily", "only": {"redcap_event_name": ["evening_arm_1"]}},
    )),
}  # fmt: skip


def proposed(text: str) -> list[dict[str, Any]]:
    """The entries shown, as YAML reads them where they are pasted."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  - name: "))
    found: list[dict[str, Any]] = yaml.safe_load("logs:\n" + "\n".join(lines[first : lines.index("", first)]))["logs"]
    return found


def previewed(text: str) -> list[tuple[str, ...]]:
    """Substance, time, precision and amount of each row of the preview."""
    lines = text.splitlines()
    top = next(number for number, line in enumerate(lines) if re.match(r"  row +substance ", line))
    starts = [lines[top].index(name) for name in ("substance", "taken_at or day", "precision", "amount", "unit")]
    cut = list(pairwise(starts))
    body = lines[top + 1 :]
    end = body.index("") if "" in body else len(body)
    return sorted(tuple(line[a:b].strip() for a, b in cut) for line in body[:end] if re.match(r"  \d", line))


def held(root: Path) -> list[tuple[str, ...]]:
    """The same of the warehouse's uses, clocks as they are in Oslo."""
    found = []
    for substance, day, at, precision, amount, none in rows(
        root, "select substance, local_date, taken_utc, time_precision, amount, no_use from substance_use"
    ):
        when = at.replace(tzinfo=at.tzinfo or UTC).astimezone(OSLO).strftime("%Y-%m-%dT%H:%M") if at else str(day)
        said = "none" if none else "" if amount is None else f"{amount:g}"
        found.append((substance, when, precision, said))
    return sorted(found)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_what_is_pasted_gives_the_rows_of_the_preview(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping_module, "PREVIEW_ROWS", 100)
    root = make_study(tmp_path / "study", "Europe/Oslo", (), ("P01", "P02"))
    for name, data in way.beside.items():
        land(root, f"_logs/{name}", data)
    text = show(land(root, f"_logs/{way.name}", way.data))
    assert "Zebrowski" not in text
    entries = proposed(text)
    assert [{key: entry.get(key) for key in wanted} for entry, wanted in zip(entries, way.holds, strict=True)] == [
        *way.holds
    ]
    # The date is of the day of the use in all of these files: the person leaves the word as it is proposed.
    assert text.count("# say what the date means") == sum("date_means" in entry for entry in entries)
    assert "say_which" not in str(entries)
    change_settings(root, logs=entries)
    run(root)
    assert quarantine(root) == []
    assert len(held(root)) == way.uses
    assert held(root) == previewed(text)
    check_counts(root)


def test_boxes_without_a_dictionary_are_asked_for_and_filled_in_by_a_person(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", "Europe/Oslo", (), ("P01", "P02"))
    text = show(land(root, "_logs/labels.csv", LABELS))
    (entry,) = proposed(text)
    assert entry["items"] == [{"substance": "say_which", "answer": f"took___{k}"} for k in (1, 2)]
    assert text.count("# say which substance this is") == 2
    for item, substance in zip(entry["items"], ("kratom", "alcohol"), strict=True):
        item["substance"] = substance
    change_settings(root, logs=[entry])
    run(root)
    assert sorted(each[:2] + each[3:] for each in held(root)) == [
        ("alcohol", "2026-03-01", ""), ("alcohol", "2026-03-01", "none"), ("alcohol", "2026-03-02", "none"),
        ("kratom", "2026-03-01", ""), ("kratom", "2026-03-01", "none"), ("kratom", "2026-03-02", "none"),
    ]  # fmt: skip


def test_a_scale_beside_coded_doses_is_read_by_its_numbers(tmp_path: Path) -> None:
    items = [f"isi_{k}" for k in range(1, 8)]
    header = ["record_id", "redcap_repeat_instrument", "redcap_repeat_instance", "dose_time", "dose_drug",
              "dose_log_complete", "isi_date", *items, "isi_complete"]  # fmt: skip
    records = ",".join(header) + "\nP01,dose_log,1,2026-03-01 21:30,1,2" + "," * 9 + "\n"
    records += "P01,isi,1,,,,2026-03-02,1,2,3,0,4,1,2,2\n"
    dictionary = DICTIONARY + "".join(
        f'{name},isi,radio,"0, None | 1, Mild | 2, Moderate | 3, Severe | 4, Extreme"\n' for name in items
    )
    root = make_study(tmp_path / "study", "Europe/Oslo", (), ("P01",))
    land(root, "_logs/dictionary.csv", dictionary)
    entries = proposed(show(land(root, "_logs/records.csv", records)))
    assert [entry["layout"] for entry in entries] == ["long", "scale"]
    change_settings(root, logs=entries)
    run(root)
    assert quarantine(root) == []
    assert rows(root, "select instrument, total from scale_response") == [("ISI", 1 + 2 + 3 + 0 + 4 + 1 + 2)]
    assert [each[0] for each in held(root)] == ["kratom"]


def test_forms_of_one_row_share_it_and_those_that_are_no_log_are_named(tmp_path: Path) -> None:
    text = (
        "record_id,when,drug,amount_g,doses_complete,day,alcohol,days_complete,eyes,looks_complete\n"
        "P01,2026-03-01 08:00,kratom,2,2,2026-03-01,yes,2,blue,2\n"
    )
    root = make_study(tmp_path / "study", "Europe/Oslo", (), ("P01",))
    shown = show(land(root, "_logs/records.csv", text))
    entries = proposed(shown)
    assert [(entry["name"], entry["filled_in"], "only" in entry) for entry in entries] == [
        ("doses", {"column": "doses_complete"}, False), ("days", {"column": "days_complete"}, False),
    ]  # fmt: skip
    assert "of 1 rows 1 would be kept" in shown
    assert "  eyes: looks: makes no log" in shown
    assert "blue" not in shown
    change_settings(root, logs=entries)
    run(root)
    assert quarantine(root) == []
    assert [each[0] for each in held(root)] == ["alcohol", "kratom"]
    assert rows(root, "select records_read, kept from source_file where kept > 0") == [(1, 1)]
    check_counts(root)


LABELLED = (
    "Record ID,Event Name,Repeat Instrument,Repeat Instance,When did you take it?,What did you take?,How much (g)?,"
    "Complete?,Date of this form,Which of these did you take? (choice=Kratom),Which of these did you take? "
    "(choice=Alcohol),Which of these did you take? (choice=None of them),Complete?,Date of this form,"
    + ",".join(["Falling asleep", "Staying asleep", "Waking too early", "Satisfied?", "Noticed by others?", "Worried?",
                "In the way?"]) + ",Complete?\n"
    "P01,Month 1,Dose log,1,2026-03-01 21:30,Kratom,2.5,Complete,,Unchecked,Unchecked,Unchecked,,,,,,,,,,\n"
    "P01,Month 1,Dose log,2,2026-03-02 20:15,Kratom,3,Complete,,Unchecked,Unchecked,Unchecked,,,,,,,,,,\n"
    "P01,Month 1,Evening form,1,,,,,2026-03-05,Checked,Unchecked,Unchecked,Complete,,,,,,,,,\n"
    "P01,Month 1,Evening form,2,,,,,2026-03-06,Unchecked,Unchecked,Checked,Complete,,,,,,,,,\n"
    "P02,Month 1,Evening form,1,,,,,2026-03-05,Unchecked,Checked,Unchecked,Incomplete,,,,,,,,,\n"
    "P02,Month 1,,,,,,,,Unchecked,Unchecked,Unchecked,,2026-03-07,None,Mild,Severe,None,Moderate,Mild,Mild,Complete\n"
)  # fmt: skip
LABEL_CODES = '"0, None | 1, Mild | 2, Moderate | 3, Severe | 4, Very severe"'
LABEL_DICTIONARY = (
    '"Variable / Field Name","Form Name","Field Type","Field Label","Choices, Calculations, OR Slider Labels"\n'
    "dose_time,dose_log,text,When did you take it?,\n"
    'dose_drug,dose_log,radio,What did you take?,"1, Kratom | 2, Tea"\n'
    'dose_g,dose_log,text,"<b>How much (g)?</b>",\nevening_date,evening,text,Date of this form,\n'
    'took,evening,checkbox,Which of these did you take?,"1, Kratom | 2, Alcohol | 0, None of them"\n'
    "isi_date,sleep,text,Date of this form,\n"
    + "".join(f"isi_{k},sleep,radio,{text},{LABEL_CODES}\n" for k, text in enumerate(
        ["Falling asleep", "Staying asleep", "Waking too early", "Satisfied?", "Noticed by others?", "Worried?",
         "In the way?"], start=1))
)  # fmt: skip


@pytest.mark.parametrize("with_dictionary", [True, False])
def test_an_export_with_labels_is_described_by_its_questions(tmp_path: Path, with_dictionary: bool) -> None:
    root = make_study(tmp_path / "study", "Europe/Oslo", (), ("P01", "P02"))
    if with_dictionary:
        land(root, "_logs/dictionary.csv", LABEL_DICTIONARY)
    shown = show(land(root, "_logs/labels.csv", LABELLED))
    entries = {entry["name"]: entry for entry in proposed(shown)}
    doses, evening = entries["dose_log"], entries["evening" if with_dictionary else "evening_form"]
    assert {key: doses[key] for key in ("layout", "participant", "substance", "amount", "unit_is", "filled_in")} == {
        "layout": "long", "participant": "Record ID", "substance": "What did you take?", "amount": "How much (g)?",
        "unit_is": "g", "filled_in": {"column": "Complete? (1)"},
    }  # fmt: skip
    assert doses["only"] == {"Repeat Instrument": ["Dose log"]}
    assert (doses["record_id"], doses["record_id_with"]) == ("Repeat Instance", ["Event Name"])
    assert evening["filled_in"] == {"column": "Complete? (2)"}
    assert [(item["substance"], item["answer"]) for item in evening["items"]] == [
        (code, f"Which of these did you take? (choice={word})") for code, word in (("kratom", "Kratom"),
                                                                                 ("alcohol", "Alcohol"))
    ]  # fmt: skip
    assert all("codebook" not in entry for entry in entries.values())
    change_settings(root, logs=list(entries.values()))
    run(root)
    assert quarantine(root) == []
    check_counts(root)
    assert held(root) == [
        ("alcohol", "2026-03-05", "day", "none"), ("alcohol", "2026-03-06", "day", "none"),
        ("kratom", "2026-03-01T21:30", "exact", "2.5"), ("kratom", "2026-03-02T20:15", "exact", "3"),
        ("kratom", "2026-03-05", "day", ""), ("kratom", "2026-03-06", "day", "none"),
    ]  # fmt: skip
    foretold = re.search(r"of 6 rows (\d) would be kept", shown)
    assert foretold is not None
    assert rows(root, "select sum(kept) from source_file where source = 'csv_log'") == [(int(foretold[1]),)]
    # The items of a scale are known by the names of their fields alone.
    scores = rows(root, "select instrument, total from scale_response")
    assert scores == ([("ISI", 0 + 1 + 3 + 0 + 2 + 1 + 1)] if with_dictionary else [])


def _hide_first(book: Workbook) -> None:
    book.worksheets[0].sheet_state = "hidden"


@pytest.mark.parametrize(
    ("rows_", "expected"),
    [
        ([["date"], ["2026-03-01"]], "got one column"),
        ([], "got a file without text"),
        ([["date", "alcohol"]], "expected rows below the header, got none"),
    ],
)
def test_a_workbook_without_a_log_is_refused(tmp_path: Path, rows_: list[list[Any]], expected: str) -> None:
    (tmp_path / "log.xlsx").write_bytes(workbook({"Form": rows_}))
    with pytest.raises(WrongUse, match=expected):
        show(tmp_path / "log.xlsx")


def test_a_sheet_that_is_hidden_is_not_proposed(tmp_path: Path) -> None:
    days = [["date", "alcohol"], ["2026-03-01", "yes"]]
    (tmp_path / "log.xlsx").write_bytes(workbook({"Old": [["a", "b"], [1, 2]], "Days": days}, _hide_first))
    (entry,) = proposed(show(tmp_path / "log.xlsx"))
    assert entry["items"] == [{"substance": "alcohol", "answer": "alcohol"}]
    assert "sheet" not in entry


def test_a_workbook_that_is_damaged_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "log.xlsx").write_bytes(XLSX_LONG[: len(XLSX_LONG) // 2])
    with pytest.raises(WrongUse, match=r"log\.xlsx: "):
        show(tmp_path / "log.xlsx")


def test_drinks_of_a_follow_back_are_alcohol_in_a_unit_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "tlfb_days.csv").write_text("participant,date,drinks\nP01,2026-02-27,3\nP01,2026-02-28,0\n")
    text = show(tmp_path / "tlfb_days.csv")
    (entry,) = proposed(text)
    assert entry["recall_method"] == "tlfb"
    assert entry["items"] == [{"substance": "alcohol", "amount": "drinks", "unit": "say_which"}]
    assert "unit: say_which  # say the unit" in text


@pytest.mark.parametrize(
    ("days", "form"),
    [
        (("01/03/2026", "02/03/2026", "03/03/2026"), "%d/%m/%Y"),
        (("03/01/2026", "03/02/2026", "03/03/2026"), "%m/%d/%Y"),
    ],
)
def test_the_days_of_a_calendar_lie_close_to_each_other(tmp_path: Path, days: tuple[str, ...], form: str) -> None:
    (tmp_path / "log.csv").write_text(f"drug,{','.join(days)}\nalcohol,yes,no,\n")
    text = show(tmp_path / "log.csv")
    assert proposed(text)[0]["day_format"] == form
    assert "closest; the other is" in text
    assert "columns not used" not in text

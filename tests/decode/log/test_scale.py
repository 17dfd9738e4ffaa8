"""Rows of questionnaires: answers, days, clocks, repeats, and what stays behind."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from decode.log.log_cases import decode, lines_of, settings_with
from ingest._core.errors import Refused
from ingest.decode.model import Decoded, decoded_response_schema

DAILY: dict[str, Any] = {
    "name": "evening",
    "layout": "scale",
    "date": {"column": "day"},
    "date_means": "use_day",
    "scale": {"instrument": "DAILY", "items": {"anxiety": "anx", "pain": "Pain?"}},
}
ISI: dict[str, Any] = {
    "name": "isi",
    "layout": "scale",
    "date": {"column": "day"},
    "date_means": "use_day",
    "scale": {"instrument": "ISI", "items": {k: f"q{k}" for k in range(1, 8)}},
}


def scale(**changes: Any) -> dict[str, Any]:
    return {**DAILY, "scale": {**DAILY["scale"], **changes}}


def read(text: str, mapping: dict[str, Any] = DAILY) -> Decoded:
    return decode(text, settings_with(mapping))


def rows(text: str, mapping: dict[str, Any] = DAILY) -> list[dict[str, Any]]:
    decoded = read(text, mapping)
    assert decoded.responses is not None
    found: list[dict[str, Any]] = decoded.responses.to_pylist()
    return found


def answers(text: str, mapping: dict[str, Any] = DAILY) -> list[dict[str, float | None]]:
    return [json.loads(row["items"]) for row in rows(text, mapping)]


def reconciled(decoded: Decoded) -> tuple[int, int, int, int, int]:
    tally = decoded.tally
    assert decoded.responses is not None
    assert tally.kept == len(decoded.responses)
    return tally.read, tally.kept, tally.duplicate, tally.ignored.total(), tally.quarantined


def test_a_row_is_a_set_of_answers() -> None:
    decoded = read("day,anx,Pain?,note\n2026-03-05,3,0.5,slept badly\n2026-03-06,,10,\n")
    assert decoded.responses is not None
    assert decoded.responses.schema == decoded_response_schema()
    assert decoded.uses is not None
    assert len(decoded.uses) == 0
    first, second = decoded.responses.to_pylist()
    assert first == {
        "source_row": 1, "participant_ref": None, "record_id": None, "answered_day": date(2026, 3, 5),
        "answered_clock": None, "answered_utc": None, "part_of_day": None, "instrument": "DAILY",
        "items": '{"anxiety":3,"pain":0.5}', "total_reported": None, "date_column": "day", "flags": None,
    }  # fmt: skip
    assert json.loads(second["items"]) == {"anxiety": None, "pain": 10}
    assert reconciled(decoded) == (2, 2, 0, 0, 0)
    assert decoded.tally.classes == {"columns unmapped": 1}
    assert decoded.format == "CSV log: evening, scale"


def test_items_by_number_stand_in_the_order_of_their_numbers() -> None:
    columns = {k: f"q{k}" for k in (10, 2, 1)}
    mapping = {**ISI, "scale": {"instrument": "SOWS", "items": columns}}
    (row,) = rows("day,q1,q2,q10\n2026-03-05,0,1,4\n", mapping)
    assert row["items"] == '{"1":0,"2":1,"10":4}'


@pytest.mark.parametrize(
    ("cell", "number"),
    [("0", 0), ("10", 10), (" 7 ", 7), ("2.50", 2.5), (".5", 0.5), ("-0", 0), ("1e1", 10), ("", None), ("  ", None)],
)
def test_numbers_are_read_strictly(cell: str, number: float | None) -> None:
    assert answers(f"day,anx,Pain?\n2026-03-05,{cell},1\n") == [{"anxiety": number, "pain": 1}]


@pytest.mark.parametrize("cell", ["3 of 10", "1_0", "３", "=1+1", "nan", "inf", '"1,5"', "three", "1-2", "0x3"])
def test_what_is_no_number_is_set_aside(cell: str) -> None:
    decoded = read(f"day,anx,Pain?\n2026-03-05,{cell},4\n")
    assert decoded.responses is not None
    (row,) = decoded.responses.to_pylist()
    assert json.loads(row["items"]) == {"anxiety": None, "pain": 4}
    assert row["flags"] == "answer_set_aside"
    assert lines_of(decoded, "value") == [["row 1, item anxiety", "not_a_number"]]
    assert reconciled(decoded) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("cell", ["-0.1", "10.1", "11", "1e9", "-3"])
def test_a_daily_rating_lies_between_low_and_high(cell: str) -> None:
    decoded = read(f"day,anx,Pain?\n2026-03-05,{cell},4\n")
    assert lines_of(decoded, "value") == [["row 1, item anxiety", "out_of_range"]]
    assert decoded.responses is not None
    assert json.loads(decoded.responses["items"][0].as_py()) == {"anxiety": None, "pain": 4}


def test_low_and_high_are_the_mappings() -> None:
    text = "day,anx,Pain?\n2026-03-05,-3,3\n2026-03-06,-3.5,3.5\n2026-03-07,-4,3\n"
    decoded = read(text, scale(low=-3, high=3))
    assert decoded.responses is not None
    assert [json.loads(items) for items in decoded.responses["items"].to_pylist()] == [
        {"anxiety": -3, "pain": 3},
        {"anxiety": None, "pain": 3},
    ]
    assert lines_of(decoded, "value") == [["row 3, item anxiety", "out_of_range"]]
    assert lines_of(decoded, "scale") == [["row 2, item anxiety", "out_of_range"]]
    assert reconciled(decoded) == (3, 2, 0, 0, 1)


def test_words_stand_for_their_numbers() -> None:
    mapping = scale(labels={"None": 0, "A little": 2.5, "extreme": 10, "4": 9})
    text = "day,anx,Pain?\n2026-03-05,NONE, a little \n2026-03-06,Extreme,4\n2026-03-07,much,3\n"
    assert answers(text, mapping) == [
        {"anxiety": 0, "pain": 2.5},
        {"anxiety": 10, "pain": 9},
        {"anxiety": None, "pain": 3},
    ]
    assert lines_of(read(text, mapping), "value") == [["row 3, item anxiety", "not_a_number"]]


def test_words_for_no_answer_are_the_mappings() -> None:
    mapping = {**DAILY, "answers": {"yes": ["yes"], "no": ["no"], "none": ["", "n/a"]}}
    decoded = read("day,anx,Pain?\n2026-03-05,N/A,3\n2026-03-06,n/a,\n", mapping)
    assert lines_of(decoded, "value") == []
    assert decoded.tally.ignored == {"no_answer": 1}
    assert reconciled(decoded) == (2, 1, 0, 1, 0)


def test_a_decimal_comma_is_read_where_the_mapping_says_so() -> None:
    mapping = {**DAILY, "delimiter": ";", "decimal": ","}
    assert answers("day;anx;Pain?\n2026-03-05;2,5;1\n", mapping) == [{"anxiety": 2.5, "pain": 1}]
    assert lines_of(read("day;anx;Pain?\n2026-03-05;2.5;1\n", mapping), "value") == [
        ["row 1, item anxiety", "not_a_number"]
    ]


def test_a_row_without_answers_is_ignored_whatever_its_date() -> None:
    decoded = read("day,anx,Pain?\n2026-03-05,,\nnever,,\n,,\n2026-03-06,1,\n")
    assert decoded.tally.ignored == {"no_answer": 3}
    assert reconciled(decoded) == (4, 1, 0, 3, 0)


def test_a_row_with_nothing_but_faults_is_set_aside_once() -> None:
    decoded = read("day,anx,Pain?\n2026-03-05,bad,worse\n")
    assert lines_of(decoded, "scale") == [["row 1, item anxiety", "not_a_number"]]
    assert lines_of(decoded, "value") == []
    assert reconciled(decoded) == (1, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        ("", "no_date"),
        ("5 March", "not_a_date"),
        ("2026-02-30", "impossible_date"),
        ("2026-03-05T25:00", "impossible_date"),
    ],
)
def test_a_day_that_cannot_be_sets_the_row_aside(day: str, reason: str) -> None:
    decoded = read(f"day,anx,Pain?\n{day},1,2\n2026-03-05,bad,2\n")
    assert lines_of(decoded, "scale") == [["row 1, day", reason]]
    assert lines_of(decoded, "value") == [["row 2, item anxiety", "not_a_number"]]
    assert reconciled(decoded) == (2, 1, 0, 0, 1)


@pytest.mark.parametrize(("means", "day"), [("use_day", 5), ("bed_day", 5), ("wake_day", 4), ("report_day", 4)])
def test_the_day_is_the_one_the_answers_speak_of(means: str, day: int) -> None:
    (row,) = rows("day,anx,Pain?\n2026-03-05,1,2\n", {**DAILY, "date_means": means})
    assert row["answered_day"] == date(2026, 3, day)


def test_a_clock_beside_the_date_is_kept() -> None:
    text = (
        "day,anx,Pain?\n2026-03-05T23:30,1,2\n2026-03-05T23:30:01Z,1,2\n"
        "2026-03-05T23:30:00+02:00,1,2\n2026-03-05T23:30+00:00,1,2\n2026-03-05,1,2\n"
    )
    wall, instant = datetime(2026, 3, 5, 23, 30), datetime(2026, 3, 5, 23, 30, tzinfo=UTC)
    assert [(row["answered_clock"], row["answered_utc"]) for row in rows(text)] == [
        (wall, None),
        (None, instant.replace(second=1)),
        (wall, None),
        (None, instant),
        (None, None),
    ]
    assert {row["answered_day"] for row in rows(text)} == {date(2026, 3, 5)}


def test_dates_in_another_format() -> None:
    mapping = {**DAILY, "date": {"column": "day", "format": "%d.%m.%Y"}}
    (row,) = rows("day,anx,Pain?\n05.03.2026,1,2\n", mapping)
    assert row["answered_day"] == date(2026, 3, 5)


def test_a_part_of_the_day_is_the_mappings() -> None:
    (row,) = rows("day,anx,Pain?\n2026-03-05,1,2\n", scale(part_of_day="evening"))
    assert row["part_of_day"] == "evening"


def test_a_total_alone_is_kept_as_it_is() -> None:
    mapping = {**ISI, "scale": {"instrument": "PSQI", "total": "sum"}}
    decoded = read("day,sum\n2026-03-05,7\n2026-03-06,99\n2026-03-07,\n2026-03-08,x\n", mapping)
    assert decoded.responses is not None
    assert [(row["items"], row["total_reported"]) for row in decoded.responses.to_pylist()] == [(None, 7), (None, 99)]
    assert lines_of(decoded, "scale") == [["row 4, sum", "not_a_number"]]
    assert reconciled(decoded) == (4, 2, 0, 1, 1)


def test_items_and_total_stand_beside_each_other() -> None:
    mapping = {**ISI, "scale": {**ISI["scale"], "total": "sum"}}
    header = "day," + ",".join(f"q{k}" for k in range(1, 8)) + ",sum\n"
    full, only = rows(header + "2026-03-05,1,1,1,1,1,1,1,7\n2026-03-06,,,,,,,,9\n", mapping)
    assert (full["items"], full["total_reported"]) == ('{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1}', 7)
    assert (only["items"], only["total_reported"]) == (None, 9)


def test_equal_rows_are_one_and_rows_that_differ_anywhere_are_not() -> None:
    decoded = read("day,anx,Pain?,note\n2026-03-05,1,2,a\n2026-03-05,1,2,a\n2026-03-05,1,2,b\n2026-03-05,1,3,a\n")
    assert reconciled(decoded) == (4, 3, 1, 0, 0)


def test_of_rows_with_one_id_the_last_counts() -> None:
    mapping = {**DAILY, "record_id": "id", "participant": "who"}
    text = (
        "id,who,day,anx,Pain?\n1,P01,2026-03-05,1,2\n1,P02,2026-03-05,5,5\n1,P01,2026-03-05,9,9\n,P01,2026-03-05,0,0\n"
    )
    decoded = read(text, mapping)
    assert decoded.responses is not None
    kept = [(row["record_id"], row["participant_ref"], row["items"]) for row in decoded.responses.to_pylist()]
    assert kept == [
        ("1", "P02", '{"anxiety":5,"pain":5}'),
        ("1", "P01", '{"anxiety":9,"pain":9}'),
        (None, "P01", '{"anxiety":0,"pain":0}'),
    ]
    assert reconciled(decoded) == (4, 3, 1, 0, 0)


def test_a_broken_row_is_a_record_of_a_scale() -> None:
    decoded = read("day,anx,Pain?\n2026-03-05,1\n2026-03-05,1,2\n")
    assert lines_of(decoded, "scale") == [["row 1", "field_count"]]
    assert lines_of(decoded, "substance_use") == []


def test_an_empty_file_gives_no_answers() -> None:
    assert reconciled(read("day,anx,Pain?\n")) == (0, 0, 0, 0, 0)


def test_a_file_of_another_encoding_is_refused() -> None:
    with pytest.raises(Refused, match="UTF-8"):
        decode("day,anx,Pain?\n2026-03-05,1,2 ä\n".encode("cp1252"), settings_with(DAILY))


def test_messages_hold_no_content() -> None:
    decoded = read("day,anx,Pain?\n2026-03-05,Zebrowski called,2\nZebrowski,1,1\n2026-03-07,12345,secret\n")
    told = " ".join(f"{each.locator} {each.detail}" for each in decoded.tally.refusals)
    assert len(decoded.tally.refusals) == 3
    assert not [word for word in ("Zebrowski", "called", "12345", "secret") if word in told]


@pytest.mark.parametrize(
    "wrong",
    [
        {"instrument": "PHQ9"},
        {"items": {}},
        {"total": "sum"},
        {"low": 10, "high": 0},
        {"part_of_day": "noon"},
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings_with(scale(**wrong))

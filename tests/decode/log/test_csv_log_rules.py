"""How rows of a log are read: times, days, answers, repeats, and what stays behind."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from decode.log.log_cases import decode, lines_of, settings_with

DAILY: dict[str, Any] = {
    "name": "form",
    "layout": "daily",
    "date": {"column": "day"},
    "date_means": "use_day",
    "items": [{"substance": "alcohol", "answer": "drank"}],
}
LONG: dict[str, Any] = {
    "name": "diary",
    "layout": "long",
    "taken_at": {"column": "when"},
    "substance_is": "kratom",
    "amount": "grams",
    "unit_is": "g",
}


def uses(text: str, *mappings: dict[str, Any]) -> list[dict[str, Any]]:
    read = decode(text, settings_with(*mappings))
    assert read.uses is not None
    rows: list[dict[str, Any]] = read.uses.to_pylist()
    return rows


@pytest.mark.parametrize(("means", "day"), [("use_day", 5), ("bed_day", 5), ("wake_day", 4), ("report_day", 4)])
def test_a_day_level_date_is_moved_to_the_day_of_use(means: str, day: int) -> None:
    (use,) = uses("day,drank\n2026-03-05,yes\n", {**DAILY, "date_means": means})
    assert use["use_day"] == date(2026, 3, day)
    (use,) = uses("when,grams\n2026-03-05,3\n", {**LONG, "date_means": means})
    assert use["use_day"] == date(2026, 3, day)


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ("use_day", "2026-03-05T00:30"),
        ("report_day", "2026-03-04T00:30"),
        ("bed_day", "2026-03-06T00:30"),
        ("wake_day", "2026-03-05T00:30"),
    ],
)
def test_a_clock_after_midnight_lies_where_the_date_says(means: str, expected: str) -> None:
    item = {"substance": "kratom", "amount": "g", "unit": "g", "at": "at"}
    (use,) = uses("day,g,at\n2026-03-05,3,00:30\n", {**DAILY, "layout": "wide", "date_means": means, "items": [item]})
    assert use["taken_clock"] == datetime.fromisoformat(expected)
    assert use["time_precision"] == "exact"


def test_a_clock_in_the_morning_lies_on_the_day_itself() -> None:
    item = {"substance": "kratom", "amount": "g", "unit": "g", "at": "at"}
    settings = {**DAILY, "layout": "wide", "date_means": "bed_day", "items": [item]}
    (use,) = uses("day,g,at\n2026-03-05,3,05:00\n", settings)
    assert use["taken_clock"] == datetime(2026, 3, 5, 5, 0)


def test_a_long_mapping_does_not_guess_what_a_bare_date_means() -> None:
    read = decode("when,grams\n2026-03-05,3\n2026-03-05T20:00,3\n", settings_with(LONG))
    assert lines_of(read, "substance_use") == [["row 1, when", "date_means_missing"]]
    assert read.tally.kept == 1


@pytest.mark.parametrize(
    ("clock", "part", "day"),
    [
        ("2026-03-05T04:59", "night", 4),
        ("2026-03-05T05:00", "morning", 5),
        ("2026-03-05T10:59", "morning", 5),
        ("2026-03-05T11:00", "midday", 5),
        ("2026-03-05T14:00", "afternoon", 5),
        ("2026-03-05T17:00", "evening", 5),
        ("2026-03-05T22:00", "night", 5),
    ],
)
def test_a_clock_known_by_part_of_day_only_gives_the_part(clock: str, part: str, day: int) -> None:
    (use,) = uses(f"substance,taken_at,time_precision\nkratom,{clock},part_of_day\n")
    assert (use["part_of_day"], use["use_day"], use["taken_clock"]) == (part, date(2026, 3, day), None)


def test_precision_is_lowered_and_never_raised() -> None:
    rows = uses(
        "substance,taken_at,time_precision\nkratom,2026-03-05,exact\nkratom,2026-03-05T00:00,day\n"
        "kratom,2026-03-05,part_of_day\nkratom,2026-03-05T10:20,hour\nkratom,2026-03-05T10:20,\n"
    )
    assert [row["time_precision"] for row in rows] == ["day", "day", "day", "hour", "exact"]
    assert [row["use_day"] for row in rows] == [date(2026, 3, 5)] * 3 + [None] * 2


def test_an_unknown_precision_is_set_aside_and_the_use_kept() -> None:
    read = decode("substance,taken_at,time_precision\nkratom,2026-03-05T10:20,roughly\n")
    assert lines_of(read, "value") == [["row 1, time_precision", "unknown_word"]]
    assert read.tally.kept == 1


def test_side_values_that_cannot_be_are_set_aside_alone() -> None:
    read = decode(
        "substance,taken_at,mitragynine_mg,mitragynine_pct,recall_method,reported_at\n"
        "kratom,2026-03-05,-1,101,guess,soon\nkratom,2026-03-06,12.5,1.33,TLFB,2026-02-30\n"
    )
    assert read.uses is not None
    assert [line[0] for line in lines_of(read, "value")] == [
        "row 1, mitragynine_mg",
        "row 1, mitragynine_pct",
        "row 1, recall_method",
        "row 1, reported_at",
        "row 2, reported_at",
    ]
    assert read.uses["mitragynine_mg"].to_pylist() == [None, 12.5]
    assert read.uses["mitragynine_pct"].to_pylist() == [None, 1.33]
    assert read.uses["recall_method"].to_pylist() == [None, "tlfb"]
    assert (read.tally.kept, read.tally.quarantined) == (2, 0)


@pytest.mark.parametrize(
    ("answer", "amount", "outcome"),
    [
        ("yes", "", (False, None)),
        ("yes", "3", (False, 3.0)),
        ("no", "", (True, None)),
        ("no", "0", (True, 0.0)),
        ("", "3", (False, 3.0)),
        ("", "0", (True, 0.0)),
        ("", "none", (True, 0.0)),
        ("no", "none", (True, 0.0)),
        ("", "", "no_answer"),
        ("", "-9", "no_answer"),
        ("yes", "0", "answer_and_amount_differ"),
        ("no", "3", "answer_and_amount_differ"),
        ("perhaps", "3", "unknown_answer"),
        ("yes", "x", "not_a_number"),
        ("yes", "-3", "negative_amount"),
    ],
)
def test_an_answer_and_an_amount_together(answer: str, amount: str, outcome: Any) -> None:
    item = {"substance": "alcohol", "answer": "drank", "amount": "drinks", "unit": "std_drink_us"}
    answers = {"no": ["no", "none"], "none": ["", "-9"]}
    read = decode(
        f"day,drank,drinks\n2026-03-05,{answer},{amount}\n",
        settings_with({**DAILY, "items": [item], "answers": answers}),
    )
    assert read.uses is not None
    found = [(row["no_use"], row["amount_reported"]) for row in read.uses.to_pylist()]
    if isinstance(outcome, tuple):
        assert found == [outcome]
    elif outcome == "no_answer":
        assert (found, dict(read.tally.ignored)) == ([], {"no_answer": 1})
    else:
        assert (found, lines_of(read, "substance_use")) == (
            [],
            [[f"row 1, {'drank' if outcome == 'unknown_answer' else 'drinks'}", outcome]],
        )


def test_rows_without_any_answer_are_ignored_even_without_a_date() -> None:
    read = decode("day,drank\n,\n2026-02-30,\n2026-02-30,yes\n", settings_with(DAILY))
    assert dict(read.tally.ignored) == {"no_answer": 2}
    assert lines_of(read, "substance_use") == [["row 3, day", "impossible_date"]]


def test_answers_of_one_day_that_differ_in_any_column_are_reports_of_their_own() -> None:
    answers = ("yes,07:00", "yes,08:00", "yes,08:00", "no,08:00")
    text = "day,drank,at\n" + "".join(f"2026-03-05,{answer}\n" for answer in answers)
    read = decode(text, settings_with(DAILY))
    assert read.uses is not None
    assert read.uses["source_row"].to_pylist() == [1, 2, 4]
    assert (read.tally.read, read.tally.duplicate, read.tally.kept) == (4, 1, 3)


def test_of_rows_with_one_id_the_last_counts_per_participant() -> None:
    mapping = {**DAILY, "record_id": "id", "participant": "who"}
    text = "who,id,day,drank\nA,1,2026-03-05,yes\nB,1,2026-03-05,yes\nA,1,2026-03-05,no\n,,2026-03-05,no\n"
    read = decode(text, settings_with(mapping))
    assert read.uses is not None
    assert read.uses["source_row"].to_pylist() == [2, 3, 4]
    assert read.tally.duplicate == 1


def test_an_earlier_row_stays_where_the_later_one_cannot_be_used() -> None:
    read = decode("event_id,substance,taken_at,amount\n1,kratom,2026-03-05,3\n1,kratom,2026-03-05,x\n")
    assert read.uses is not None
    assert read.uses["amount_reported"].to_pylist() == [3.0]
    assert (read.tally.duplicate, read.tally.quarantined) == (0, 1)


def test_items_of_a_row_with_an_id_keep_ids_of_their_own() -> None:
    items = [{"substance": "kratom", "amount": name, "unit": "g"} for name in ("first", "second")]
    mapping = {**DAILY, "layout": "wide", "record_id": "id", "items": items}
    rows = uses("id,day,first,second\n7,2026-03-05,,2\n8,2026-03-05,1,2\n", mapping)
    assert len({row["record_id"] for row in rows}) == 3
    assert rows[0]["record_id"].replace("7", "8") == rows[2]["record_id"]


def test_an_amount_of_a_word_for_no_answer_is_not_reported() -> None:
    mapping = {**LONG, "answers": {"none": ["NA", "999"]}}
    rows = uses("when,grams\n2026-03-05T20:00,NA\n2026-03-05T21:00,999\n2026-03-05T22:00,998\n", mapping)
    assert [row["amount_reported"] for row in rows] == [None, None, 998.0]


def test_reported_in_utc_tells_no_wall_clock_but_instants_tell_the_delay() -> None:
    rows = uses(
        "substance,taken_at,reported_at\nkratom,2026-03-05T20:00,2026-03-06T08:00Z\n"
        "kratom,2026-03-05T20:00+01:00,2026-03-06T07:00Z\nkratom,2026-03-05T20:00,2026-03-06T08:00\n"
    )
    assert [row["reported_clock"] for row in rows] == [None, None, datetime(2026, 3, 6, 8)]
    assert [row["recall_lag_days"] for row in rows] == [None, 0.5, None]
    assert [row["flags"] for row in rows] == ["reported_in_utc", "reported_in_utc", None]


def test_free_text_stays_behind_and_the_row_is_flagged() -> None:
    (use,) = uses(
        "substance,taken_at,unit,product_form,route,reason,note\n"
        "what Ola gave me last night at home,2026-03-05,a spoon; see my note of last week please,"
        "the green bag from the shop,by mouth with water and honey,"
        "because my dear friend asked; pain,secret\n"
    )
    assert use["flags"] == "product_form_dropped,reason_dropped,route_dropped,substance_dropped,unit_dropped"
    assert (use["substance_reported"], use["unit_reported"], use["product_form"], use["route"]) == (
        "other", None, None, None,
    )  # fmt: skip
    assert use["reasons"] == "pain"
    assert not any(word in str(use) for word in ("Ola", "green", "honey", "friend", "secret"))


@pytest.mark.parametrize("mapping", [LONG, DAILY, {**DAILY, "layout": "wide"}])
def test_a_header_without_rows_is_an_empty_log(mapping: dict[str, Any]) -> None:
    read = decode("when,grams,day,drank\n", settings_with(mapping))
    assert read.uses is not None
    assert (len(read.uses), read.tally.read, read.tally.kept) == (0, 0, 0)


def test_a_log_of_nothing_but_bad_rows_reconciles() -> None:
    for mapping in (LONG, DAILY):
        read = decode("when,grams,day,drank\n1\n2\n", settings_with(mapping))
        assert (read.tally.read, read.tally.quarantined, read.tally.kept) == (2, 2, 0)


FORM: dict[str, Any] = DAILY | {
    "items": [
        {"substance": "alcohol", "answer": "drank"},
        {"substance": "kratom", "amount": "grams", "unit": "g"},
    ]
}


@pytest.mark.parametrize(
    ("rows", "flags"),
    [
        (["no,3", "no,5"], {"alcohol": [None, "restated"], "kratom": ["conflict", "conflict"]}),
        (["yes,3", "no,3"], {"alcohol": ["conflict", "conflict"], "kratom": [None, "restated"]}),
        (["no,3", ",4"], {"alcohol": [None], "kratom": ["conflict", "conflict"]}),
        (["no,", ",4"], {"alcohol": [None], "kratom": [None]}),
        (["no,3", "no,4", "no,3"], {"alcohol": [None, "restated", "restated"],
                                    "kratom": ["conflict", "conflict", "conflict,restated"]}),
    ],
)  # fmt: skip
def test_a_form_handed_in_again_for_a_day_says_the_same_or_otherwise(rows: list[str], flags: dict[str, Any]) -> None:
    text = "day,drank,grams,when\n" + "".join(f"2026-03-05,{row},{i}\n" for i, row in enumerate(rows))
    read = decode(text + "2026-03-06,no,5,9\n", settings_with(FORM))
    assert read.uses is not None
    assert read.tally.kept == len(rows) + 1
    found: dict[str, list[str | None]] = {}
    for use in read.uses.to_pylist():
        if use["use_day"] == date(2026, 3, 5):
            found.setdefault(use["substance_reported"], []).append(use["flags"])
        else:
            assert use["flags"] is None
    assert found == flags


def test_of_a_form_handed_in_again_the_answer_that_was_given_first_counts() -> None:
    mapping = FORM | {"reported_at": {"column": "at"}}
    late, early = "2026-03-05,,3,2026-03-06T09:00\n", "2026-03-05,,3,2026-03-05T22:00\n"
    for rows, expected in ((late + early, ["restated", None]), (early + late, [None, "restated"])):
        assert [use["flags"] for use in uses("day,drank,grams,at\n" + rows, mapping)] == expected


def test_forms_of_two_participants_or_with_ids_of_their_own_are_not_compared() -> None:
    text = "who,id,day,drank,grams\nA,1,2026-03-05,,3\nA,2,2026-03-05,,4\n"
    assert [use["flags"] for use in uses(text, FORM | {"record_id": "id"})] == [None, None]
    text = "who,id,day,drank,grams\nA,1,2026-03-05,,3\nB,2,2026-03-05,,4\n"
    assert [use["flags"] for use in uses(text, FORM | {"participant": "who"})] == [None, None]
    assert [use["flags"] for use in uses(text, FORM)] == ["conflict", "conflict"]

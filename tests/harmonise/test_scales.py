"""Totals by the published rules, bands at their edges, and what makes two sets of answers one response."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decode.log.log_cases import ARRIVED, FACTS, PEOPLE, decode, settings_with
from ingest._core.contract import arrow_schema
from ingest.decode.model import ExportFacts, Tally, decoded_response_schema
from ingest.harmonise.person import Person
from ingest.harmonise.scales import harmonise_responses
from studies import check_counts, command, land, make_study, pid, quarantine, rows, run

# By hand from the published forms: the values of each item, and the highest total.
TO_3, TO_4 = [0, 1, 2, 3], [0, 1, 2, 3, 4]
COWS = {
    "pulse": [0, 1, 2, 4],
    "sweating": [0, 1, 2, 3, 4],
    "restlessness": [0, 1, 3, 5],
    "pupils": [0, 1, 2, 5],
    "aches": [0, 1, 2, 4],
    "nose": [0, 1, 2, 4],
    "gut": [0, 1, 2, 3, 5],
    "tremor": [0, 1, 2, 4],
    "yawning": [0, 1, 2, 4],
    "anxiety": [0, 1, 2, 4],
    "gooseflesh": [0, 3, 5],
}
FORMS: dict[str, tuple[list[list[int]], int]] = {
    "ISI": ([TO_4] * 7, 28),
    "SOWS": ([TO_4] * 16, 64),
    "SOWS_GOSSOP": ([TO_3] * 10, 30),
    "COWS": (list(COWS.values()), 48),
    "AIS": ([TO_3] * 8, 24),
    "PSQI": ([TO_3] * 7, 21),
}
EVERY_ITEM = [(name, k) for name, (items, _) in FORMS.items() for k in range(1, len(items) + 1)]


def response(instrument: str, items: dict[str, Any] | None, total: float | None = None, **other: Any) -> dict[str, Any]:
    """A decoded row; `items` by name."""
    said = None if items is None else json.dumps(items)
    return {"source_row": 1, "answered_day": date(2026, 3, 5), "instrument": instrument, "items": said,
            "total_reported": total, **other}  # fmt: skip


def numbered(values: list[Any]) -> dict[str, Any]:
    return {str(k): value for k, value in enumerate(values, start=1)}


def harmonised(
    *responses: dict[str, Any], only: str | None = "P01", facts: ExportFacts = FACTS,
    people: dict[str, Person] = PEOPLE, tally: Tally | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    given_rows = [{"source_row": number, **{key: value for key, value in row.items() if key != "source_row"}}
                  for number, row in enumerate(responses, start=1)]  # fmt: skip
    table = pa.Table.from_pylist(given_rows, schema=decoded_response_schema())
    counts = tally or Tally()
    counts.read += len(given_rows)
    shares = harmonise_responses(table, counts, facts, people, only)
    found = [row for share in shares.values() for row in share.to_pylist()]
    assert counts.read == len(found) + counts.duplicate + counts.ignored.total() + counts.quarantined
    return found


def only_row(*args: Any, **named: Any) -> dict[str, Any]:
    (row,) = harmonised(response(*args), **named)
    return row


def lines(tally: Tally) -> list[tuple[str, str, str]]:
    return [(each.kind, each.locator, each.reason) for each in tally.refusals]


@pytest.mark.parametrize("instrument", FORMS)
def test_the_ends_of_the_range(instrument: str) -> None:
    items, highest = FORMS[instrument]
    low = only_row(instrument, numbered([min(values) for values in items]))
    high = only_row(instrument, numbered([max(values) for values in items]))
    assert (low["total"], high["total"]) == (0, highest)
    assert json.loads(high["items"]) == numbered([max(values) for values in items])


@pytest.mark.parametrize(("instrument", "k"), EVERY_ITEM)
def test_every_value_of_every_item(instrument: str, k: int) -> None:
    items, _ = FORMS[instrument]
    for value in range(-1, 8):
        tally = Tally()
        answers: list[float] = [0.0] * len(items)
        answers[k - 1] = value
        row = only_row(instrument, numbered(answers), tally=tally)
        if value in items[k - 1]:
            assert row["total"] == value
            assert row["flags"] is None
            assert tally.refusals == []
        else:
            assert row["total"] is None
            assert row["band"] is None
            assert json.loads(row["items"])[str(k)] is None
            assert row["flags"] == "answer_set_aside"
            assert lines(tally) == [("value", f"row 1, item {k}", "impossible_answer")]


@pytest.mark.parametrize("wrong", [0.5, 2.0001, 1e300, -1, 99])
def test_answers_between_and_beyond_the_values_are_set_aside(wrong: float) -> None:
    tally = Tally()
    row = only_row("ISI", numbered([wrong, 1, 1, 1, 1, 1, 1]), tally=tally)
    assert (row["total"], json.loads(row["items"])["1"]) == (None, None)
    assert lines(tally) == [("value", "row 1, item 1", "impossible_answer")]


@pytest.mark.parametrize(("instrument", "k"), EVERY_ITEM)
def test_a_missing_item_leaves_no_total(instrument: str, k: int) -> None:
    items, _ = FORMS[instrument]
    answers = numbered([1 if 1 in values else 3 for values in items])
    for without in ({**answers, str(k): None}, {name: value for name, value in answers.items() if name != str(k)}):
        row = only_row(instrument, without)
        assert (row["total"], row["total_without_sleep_item"], row["band"]) == (None, None, None)
        assert json.loads(row["items"]) == {**answers, str(k): None}


@pytest.mark.parametrize(
    ("instrument", "answers", "total", "band"),
    [
        ("ISI", [3, 2, 1, 4, 2, 3, 1], 16, "moderate"),
        ("COWS", [1, 2, 3, 1, 2, 1, 2, 1, 1, 2, 3], 19, "moderate"),
        ("COWS", [4, 4, 5, 5, 4, 4, 5, 4, 4, 4, 3], 46, "severe"),
        ("SOWS", [1, 2, 3, 4] * 4, 40, None),
        ("AIS", [1, 2, 3, 0, 1, 2, 3, 0], 12, None),
        ("PSQI", [1, 2, 0, 3, 1, 1, 2], 10, None),
    ],
)
def test_sums_by_hand(instrument: str, answers: list[int], total: int, band: str | None) -> None:
    row = only_row(instrument, numbered(answers))
    assert (row["total"], row["band"], row["total_without_sleep_item"]) == (total, band, None)


def test_the_short_opiate_withdrawal_scale_without_its_item_on_sleep() -> None:
    row = only_row("SOWS_GOSSOP", numbered([1, 2, 3, 0, 1, 2, 3, 0, 1, 2]))
    assert (row["total"], row["total_without_sleep_item"], row["band"]) == (15, 13, None)
    only_sleep = only_row("SOWS_GOSSOP", numbered([0] * 9 + [3]))
    assert (only_sleep["total"], only_sleep["total_without_sleep_item"]) == (3, 0)


BANDS = {
    "ISI": {0: "none", 7: "none", 8: "subthreshold", 14: "subthreshold", 15: "moderate", 21: "moderate",
            22: "severe", 28: "severe"},
    "COWS": {0: "none", 4: "none", 5: "mild", 12: "mild", 13: "moderate", 24: "moderate", 25: "moderately_severe",
             36: "moderately_severe", 37: "severe", 48: "severe"},
}  # fmt: skip


@pytest.mark.parametrize("instrument", FORMS)
def test_bands_at_every_edge_and_every_total_has_one_or_none_has(instrument: str) -> None:
    _, highest = FORMS[instrument]
    bands = {total: only_row(instrument, None, float(total))["band"] for total in range(highest + 1)}
    edges = BANDS.get(instrument)
    if edges is None:
        assert set(bands.values()) == {None}
    else:
        assert {total: bands[total] for total in edges} == edges
        assert None not in bands.values()


@pytest.mark.parametrize("instrument", FORMS)
def test_a_total_alone_is_checked_for_its_range(instrument: str) -> None:
    _, highest = FORMS[instrument]
    for total in (0, highest):
        row = only_row(instrument, None, float(total))
        assert (row["total"], row["items"], row["total_without_sleep_item"]) == (total, None, None)
    for wrong in (-1, highest + 1, 0.5, float("nan"), float("inf")):
        tally = Tally()
        assert harmonised(response(instrument, None, wrong), tally=tally) == []
        assert lines(tally) == [("scale", "row 1, total", "impossible_total")]


@pytest.mark.parametrize(
    ("handed_in", "flags", "kinds"),
    [
        (7, None, []),
        (8, "total_differs", []),
        (6, "total_differs", []),
        (29, "answer_set_aside", ["value"]),
        (None, None, []),
    ],
)
def test_the_sum_of_the_items_stands_before_the_total_handed_in(
    handed_in: float | None, flags: str | None, kinds: list[str]
) -> None:
    tally = Tally()
    row = only_row("ISI", numbered([1] * 7), handed_in, tally=tally)
    assert (row["total"], row["flags"]) == (7, flags)
    assert [each.kind for each in tally.refusals] == kinds


def test_a_total_handed_in_does_not_stand_in_for_a_missing_item() -> None:
    row = only_row("ISI", numbered([1, 1, 1, 1, 1, 1, None]), 6)
    assert (row["total"], row["band"], row["flags"]) == (None, None, None)


def test_a_row_of_impossible_answers_only_is_quarantined_once() -> None:
    tally = Tally()
    assert harmonised(response("ISI", numbered([9] * 7), 7), tally=tally) == []
    assert lines(tally) == [("scale", "row 1, item 1", "impossible_answer")]


def test_a_name_that_is_no_item_of_the_form_is_told() -> None:
    tally = Tally()
    row = only_row("ISI", {**numbered([1] * 7), "8": 1, "sleep": None}, tally=tally)
    assert (row["total"], list(json.loads(row["items"]))) == (7, [str(k) for k in range(1, 8)])
    assert lines(tally) == [("value", "row 1, item 8", "unknown_item")]


def test_daily_ratings_keep_their_names_and_have_no_total() -> None:
    row = only_row("DAILY", {"pain": 2.5, "anxiety": 10, "craving": None})
    assert row["items"] == '{"anxiety":10,"craving":null,"pain":2.5}'
    assert (row["total"], row["total_without_sleep_item"], row["band"], row["flags"]) == (None, None, None, None)


@st.composite
def filled_in(draw: st.DrawFn) -> tuple[str, list[int | None]]:
    instrument = draw(st.sampled_from(sorted(FORMS)))
    return instrument, [draw(st.none() | st.integers(-1, 6)) for _ in FORMS[instrument][0]]


@given(filled_in())
def test_a_total_is_the_sum_of_possible_answers_or_nothing(case: tuple[str, list[int | None]]) -> None:
    instrument, answers = case
    allowed, highest = FORMS[instrument]
    possible = [value if value in values else None for value, values in zip(answers, allowed, strict=True)]
    found = harmonised(response(instrument, numbered(answers)))
    if all(value is None for value in possible):
        assert found == []
        return
    (row,) = found
    known = [value for value in possible if value is not None]
    assert row["total"] == (sum(known) if len(known) == len(allowed) else None)
    assert row["total"] is None or 0 <= row["total"] <= highest
    assert list(json.loads(row["items"]).values()) == possible


@given(st.sampled_from(sorted(FORMS)), st.data())
def test_whole_forms_always_have_their_sum(instrument: str, data: st.DataObject) -> None:
    answers = [data.draw(st.sampled_from(values)) for values in FORMS[instrument][0]]
    row = only_row(instrument, numbered(answers))
    assert row["total"] == sum(answers)
    assert (row["total_without_sleep_item"] == sum(answers[:9])) == (instrument == "SOWS_GOSSOP")
    assert (row["band"] is not None) == (instrument in BANDS)


# Whose, when, and which.


def test_rows_have_the_lakes_columns() -> None:
    table = pa.Table.from_pylist([response("ISI", numbered([1] * 7))], schema=decoded_response_schema())
    (share,) = harmonise_responses(table, Tally(), FACTS, PEOPLE, "P01").values()
    wanted = arrow_schema("scale_response")
    assert [(each.name, each.nullable) for each in share.schema] == [(each.name, each.nullable) for each in wanted]
    assert share.cast(wanted).to_pylist() == share.to_pylist()
    (row,) = share.to_pylist()
    assert row["participant_id"] == PEOPLE["P01"].participant_id
    assert (row["source_file_id"], row["exported_at"], row["source_row"]) == (
        FACTS.source_file_id, FACTS.exported_at, 1,
    )  # fmt: skip


def test_no_answers_give_nobody_anything() -> None:
    tally = Tally()
    for only in ("P01", None):
        assert harmonise_responses(decoded_response_schema().empty_table(), tally, FACTS, PEOPLE, only) == {}
    assert tally == Tally()


def test_rows_belong_to_whom_they_name() -> None:
    def of(ref: str | None) -> dict[str, Any]:
        return response("ISI", numbered([1] * 7), participant_ref=ref)

    tally = Tally()
    assert len(harmonised(of(None), of("P02"), tally=tally)) == 1
    assert lines(tally) == [("scale", "row 2", "belongs_to_another_participant")]
    tally = Tally()
    found = harmonised(of("P02"), of("P01"), of(None), of("P99"), only=None, tally=tally)
    assert [row["participant_id"] for row in found] == [PEOPLE[ref].participant_id for ref in ("P01", "P02")]
    assert lines(tally) == [("scale", "row 3", "unknown_participant"), ("scale", "row 4", "unknown_participant")]


@pytest.mark.parametrize(
    ("day", "reason"),
    [
        (date(1999, 12, 31), "before_2000"),
        (date(2000, 1, 2), None),
        (ARRIVED.date().replace(day=2), None),
        (ARRIVED.date().replace(day=3), "in_the_future"),
    ],
)
@pytest.mark.fault(51)
def test_days_that_cannot_be(day: date, reason: str | None) -> None:
    tally = Tally()
    found = harmonised(response("ISI", numbered([1] * 7), answered_day=day), tally=tally)
    assert [row["answered_on"] for row in found] == ([] if reason else [day])
    assert lines(tally) == ([("scale", "row 1", reason)] if reason else [])


@pytest.mark.parametrize(
    ("ref", "instant", "said", "day"),
    [
        ("P01", datetime(2026, 1, 5, 23, 30, tzinfo=UTC), date(2026, 1, 5), date(2026, 1, 6)),
        ("P01", datetime(2026, 1, 5, 22, 30, tzinfo=UTC), date(2026, 1, 5), date(2026, 1, 5)),
        ("P01", datetime(2026, 4, 5, 22, 30, tzinfo=UTC), date(2026, 4, 5), date(2026, 4, 6)),
        ("P02", datetime(2026, 1, 6, 3, 30, tzinfo=UTC), date(2026, 1, 6), date(2026, 1, 5)),
        ("P02", datetime(2026, 1, 6, 3, 30, tzinfo=UTC), date(2026, 1, 5), date(2026, 1, 4)),
    ],
)
def test_a_stamp_in_utc_lies_on_the_participants_own_day(ref: str, instant: datetime, said: date, day: date) -> None:
    (row,) = harmonised(response("ISI", numbered([1] * 7), answered_day=said, answered_utc=instant), only=ref)
    assert (row["answered_on"], row["flags"]) == (day, None)
    assumed = {ref: replace(PEOPLE[ref], time_basis="assumed")}
    (row,) = harmonised(
        response("ISI", numbered([1] * 7), answered_day=said, answered_utc=instant), only=ref, people=assumed
    )
    assert (row["answered_on"], row["flags"]) == (day, "assumed_zone")


ISI_1, ISI_2 = numbered([1] * 7), numbered([2] * 7)


def test_answers_that_differ_for_one_day_are_kept_and_in_conflict() -> None:
    tally = Tally()
    found = harmonised(response("ISI", ISI_1), response("ISI", ISI_2), response("ISI", ISI_1), tally=tally)
    assert [(row["total"], row["flags"]) for row in found] == [(7, "conflict"), (14, "conflict")]
    assert len({row["response_id"] for row in found}) == 2
    assert tally.duplicate == 1
    alone = only_row("ISI", ISI_1)
    assert alone["response_id"] == found[0]["response_id"]
    assert alone["content_hash"] != found[0]["content_hash"]


@pytest.mark.parametrize(
    "differs",
    [
        {"part_of_day": "evening"},
        {"answered_clock": datetime(2026, 3, 5, 20)},
        {"answered_utc": datetime(2026, 3, 5, 20, tzinfo=UTC)},
        {"record_id": "2"},
        {"answered_day": date(2026, 3, 6)},
    ],
    ids=lambda differs: next(iter(differs)),
)
def test_what_tells_two_sets_of_answers_apart(differs: dict[str, Any]) -> None:
    found = harmonised(response("ISI", ISI_1), response("ISI", ISI_2, **differs))
    assert [row["flags"] for row in found] == [None, None]
    assert len({row["response_id"] for row in found}) == 2


def test_forms_of_daily_ratings_with_other_items_are_other_responses() -> None:
    found = harmonised(response("DAILY", {"pain": 1}), response("DAILY", {"anxiety": 1, "pain": None}))
    assert [row["flags"] for row in found] == [None, None]
    assert len({row["response_id"] for row in found}) == 2
    asked_the_same = harmonised(response("DAILY", {"pain": None, "anxiety": 2}))
    assert asked_the_same[0]["response_id"] == found[1]["response_id"]


def test_ids_are_of_the_report_and_hashes_of_what_it_says() -> None:
    first = only_row("ISI", ISI_1)
    newer = replace(FACTS, source_file_id="e" * 64, exported_at=datetime(2026, 5, 1, tzinfo=UTC))
    again, edited = only_row("ISI", ISI_1, facts=newer), only_row("ISI", ISI_2, facts=newer)
    assert (again["response_id"], again["content_hash"]) == (first["response_id"], first["content_hash"])
    assert edited["response_id"] == first["response_id"]
    assert edited["content_hash"] != first["content_hash"]
    other = [only_row("SOWS", numbered([1] * 16)), only_row("ISI", ISI_1, only="P02")]
    other.append(only_row("ISI", ISI_1, facts=replace(FACTS, source="redcap")))
    assert len({row["response_id"] for row in [first, *other]}) == 4


def test_rows_are_ordered_by_day_then_as_in_the_file() -> None:
    days = [date(2026, 3, 7), date(2026, 3, 5), date(2026, 3, 6)]
    found = harmonised(*(response("ISI", ISI_1, answered_day=day) for day in days))
    assert [row["answered_on"] for row in found] == sorted(days)
    assert [row["source_row"] for row in found] == [2, 3, 1]


# The whole way.

MAPPING: dict[str, Any] = {
    "name": "cows",
    "layout": "scale",
    "record_id": "id",
    "date": {"column": "day"},
    "date_means": "use_day",
    "scale": {"instrument": "COWS", "items": dict(enumerate(COWS, start=1)), "part_of_day": "morning"},
}
HEADER = ",".join(["id", "day", *COWS]) + "\n"
SELECT = "select answered_on, part_of_day, instrument, total, band, is_current from scale_response order by all"


def test_from_the_log_to_the_warehouse_with_an_edited_answer(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study", logs=[MAPPING])
    land(root, "K01/cows-1.csv", HEADER + "1,2026-01-05,1,1,1,1,1,1,1,1,1,1,3\n2,2026-01-06,0,0,0,0,0,0,0,0,0,0,0\n",
         datetime(2026, 1, 10, tzinfo=UTC))  # fmt: skip
    run(root)
    land(root, "K01/cows-2.csv", HEADER + "1,2026-01-05,4,4,5,5,4,4,5,4,4,4,5\n2,2026-01-06,0,0,0,0,0,0,0,0,0,0,0\n",
         datetime(2026, 1, 20, tzinfo=UTC))  # fmt: skip
    run(root)
    assert rows(root, SELECT) == [
        (date(2026, 1, 5), "morning", "COWS", 13.0, "moderate", False),
        (date(2026, 1, 5), "morning", "COWS", 48.0, "severe", True),
        (date(2026, 1, 6), "morning", "COWS", 0.0, "none", True),
    ]
    check_counts(root)
    assert quarantine(root) == []
    assert command("--study", root, "verify").returncode == 0


def test_a_file_of_the_whole_study_is_split_by_participant(tmp_path: Path) -> None:
    mapping = {**MAPPING, "participant": "who"}
    root = make_study(tmp_path / "study", logs=[mapping], refs=("K01", "K02"))
    zeros = ",".join("0" * 11)
    text = ("who," + HEADER + f"K01,1,2026-01-05,{zeros}\nK02,1,2026-01-05,{zeros}\nK09,1,2026-01-05,{zeros}\n"
            f"K02,2,2026-01-06,3,{zeros[2:]}\n")  # fmt: skip
    land(root, "_logs/cows.csv", text)
    run(root)
    found = rows(
        root, "select participant_id, answered_on, total, flags from scale_response where is_current order by all"
    )
    assert found == sorted([
        (pid(root, "K01"), date(2026, 1, 5), 0.0, None),
        (pid(root, "K02"), date(2026, 1, 5), 0.0, None),
        (pid(root, "K02"), date(2026, 1, 6), None, "answer_set_aside"),
    ], key=lambda row: row[:2])  # fmt: skip
    kinds = sorted((line.kind, line.locator, line.reason) for line in quarantine(root))
    assert kinds == [("scale", "row 3", "unknown_participant"), ("value", "row 4, item 1", "impossible_answer")]
    check_counts(root)


def test_decoder_and_rules_agree_on_what_is_missing() -> None:
    text = HEADER + "1,2026-01-05,1,2,3,,2,1,2,1,1,2,3\n"
    decoded = decode(text, settings_with(MAPPING))
    assert decoded.responses is not None
    (share,) = harmonise_responses(decoded.responses, decoded.tally, FACTS, PEOPLE, "P01").values()
    (row,) = share.to_pylist()
    assert (row["total"], row["band"], json.loads(row["items"])["4"]) == (None, None, None)
    assert (decoded.tally.read, decoded.tally.kept, decoded.tally.refusals) == (1, 1, [])

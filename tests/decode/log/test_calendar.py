"""Calendars with a column per day: which columns are days, what cells say, what a faulty header does."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from decode.log.log_cases import decode, harmonise, lines_of, role_of, settings_with, uses_of
from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping

CALENDAR: dict[str, Any] = {
    "name": "tlfb",
    "layout": "calendar",
    "date_means": "use_day",
    "substance": "drug",
    "unit_is": "g",
}


def test_a_file_without_a_day_in_its_header_is_no_calendar() -> None:
    settings = settings_with(CALENDAR)
    assert role_of(b"drug,2026-03-01\n", settings) == "mapping:tlfb"
    assert role_of(b"drug,2026-03-01 00:00:00\n", settings) == "mapping:tlfb"
    for header in (b"drug,monday\n", b"drug,01/03/2026\n", b"drug,2026-03-01T08:00\n", b"drug\n", b"2026-03-01\n"):
        assert role_of(header, settings) is None


@pytest.mark.parametrize(
    ("header", "reason", "says"),
    [
        (b"drug,2026-02-30,2026-03-01\n", "impossible_date", "column 2"),
        (b"drug,2026-03-01,x,2026-03-01\n", "repeated_column", "column 4"),
    ],
)
def test_a_day_that_cannot_be_or_stands_twice_refuses_the_file(header: bytes, reason: str, says: str) -> None:
    with pytest.raises(Refused) as refused:
        decode(header + b"kratom,1,2\n", settings_with(CALENDAR))
    assert refused.value.reason == reason
    assert says in refused.value.detail


def test_a_format_may_hold_more_than_the_day() -> None:
    mapping = CALENDAR | {"day_format": "grams_%Y_%m_%d"}
    (use,) = uses_of("drug,grams_2026_03_01,grams_total\nkratom,2.5,2.5\n", settings_with(mapping))
    assert (use["local_date"], use["amount"]) == (date(2026, 3, 1), 2.5)


def test_decimal_commas_and_words_for_numbers_follow_the_mapping() -> None:
    mapping = CALENDAR | {"delimiter": ";", "decimal": ",", "answers": {"none": ["", "99"], "no": ["none"]}}
    read = decode("drug;2026-03-01;2026-03-02;2026-03-03\nkratom;2,5;99;none\n", settings_with(mapping))
    assert [(str(use["local_date"]), use["no_use"], use["amount"]) for use in harmonise(read).to_pylist()] == [
        ("2026-03-01", False, 2.5),
        ("2026-03-03", True, 0.0),
    ]
    assert read.tally.refusals == []


def test_a_row_with_an_id_of_its_own_replaces_the_earlier_one() -> None:
    mapping = CALENDAR | {"record_id": "id"}
    text = "id,drug,2026-03-01,2026-03-02\n7,kratom,1,2\n8,kratom,1,\n7,kratom,1,3\n"
    read = decode(text, settings_with(mapping))
    assert (read.tally.read, read.tally.duplicate, read.tally.kept) == (3, 1, 2)
    uses = harmonise(read).to_pylist()
    assert [(use["source_row"], use["amount"]) for use in uses] == [(2, 1.0), (3, 1.0), (3, 3.0)]
    assert len({use["use_id"] for use in uses}) == 3
    before = harmonise(decode("id,drug,2026-03-01,2026-03-02\n7,kratom,1,2\n", settings_with(mapping))).to_pylist()
    assert [use["use_id"] for use in before] == [use["use_id"] for use in uses if use["source_row"] == 3]


def test_days_to_come_are_refused_day_by_day() -> None:
    read = decode("drug,2026-03-01,2027-03-01\nkratom,1,1\nalcohol,,1\n", settings_with(CALENDAR))
    assert [use["source_row"] for use in harmonise(read).to_pylist()] == [1]
    assert [locator for locator, _ in lines_of(read, "value")] == ["row 1, use 2, column 3"]
    assert [locator for locator, _ in lines_of(read, "substance_use")] == ["row 2, column 3"]


@given(
    cells=st.lists(
        st.sampled_from(["", "0", "1", "2.5", "yes", "no", "-1", "lots", "1_000", "٣"]), min_size=3, max_size=3
    )
)
def test_every_cell_is_a_use_or_silence_or_told(cells: list[str]) -> None:
    header = "drug,2026-03-01,2026-03-02,2026-03-03\n"
    read = decode(header + "kratom," + ",".join(cells) + "\n", settings_with(CALENDAR))
    answered = [cell for cell in cells if cell in ("0", "1", "2.5", "yes", "no")]
    wrong = [cell for cell in cells if cell not in ("", *answered)]
    assert read.uses is not None
    assert len(read.uses) == len(answered)
    assert sum(read.uses["no_use"].to_pylist()) == sum(cell in ("0", "no") for cell in cells)
    kinds = [each.kind for each in read.tally.refusals]
    assert kinds == (["value"] * len(wrong) if answered else ["substance_use"] * bool(wrong))
    assert read.tally.kept == bool(answered)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"substance": None}, "substance"),
        ({"substance_is": "kratom"}, "substance"),
        ({"unit": "u"}, "not both"),
        ({"date": {"column": "d"}}, "header"),
        ({"date_means": None}, "date_means"),
        ({"amount": "a"}, "amount"),
        ({"day_format": "%d/%m"}, "year, month and day"),
        ({"layout": "long", "taken_at": {"column": "t"}, "day_format": "%Y-%m-%d"}, "layout calendar"),
    ],
)
def test_a_calendar_that_is_not_whole_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LogMapping.model_validate(CALENDAR | change)

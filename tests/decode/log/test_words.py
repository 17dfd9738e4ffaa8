"""Cells to numbers, answers and plain words."""

from __future__ import annotations

import math
import re
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode.log import _words
from ingest.decode.log._words import (
    DROPPED,
    flag_column,
    read_answers,
    read_name,
    read_numbers,
    read_unit,
    read_word,
    read_words,
    shape_of,
)

NUMBER_KINDS = {
    _words.NO_NUMBER: "empty",
    _words.NUMBER: "number",
    _words.NOT_A_NUMBER: "none",
    _words.NEGATIVE: "negative",
}


def number(text: str, decimal: str = ".") -> tuple[str, float]:
    kinds, values = read_numbers(pa.array([text]), decimal)  # type: ignore[arg-type]
    return NUMBER_KINDS[int(kinds[0])], float(values[0])


@given(st.decimals(0, 10**9, places=4), st.sampled_from(".,"))
def test_plain_decimals_are_read_exactly(value: Decimal, decimal: str) -> None:
    assert number(format(value, "f").replace(".", decimal), decimal) == ("number", float(value))


@given(st.text(max_size=8))
@pytest.mark.fault(54)
def test_nothing_but_digits_with_one_mark_is_a_number(text: str) -> None:
    kind, value = number(text)
    plain = re.fullmatch(r"\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\s*", text, re.ASCII)
    assert (kind in ("number", "negative")) == bool(plain)
    assert math.isnan(value) == (plain is None)


@pytest.mark.parametrize(
    "text",
    [
        "6,5",
        "1_000",
        "1 000",
        "1'000",
        "６",
        "٣",
        "NaN",
        "inf",
        "-inf",
        "+1",
        "0x1",
        "1e400",
        "3g",
        "1.2.3",
        ".",
    ],
)
@pytest.mark.fault(54)
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    assert number(text)[0] == "none"


@pytest.mark.parametrize("text", ["1.000,5", "1.5", "1,000,5", "NaN"])
def test_under_a_decimal_comma_a_point_is_no_number(text: str) -> None:
    assert number(text, ",")[0] == "none"


def test_signs_and_nothing() -> None:
    assert number("-0.5") == ("negative", -0.5)
    assert number("-0") == ("number", 0.0)
    assert math.copysign(1, number("-0")[1]) == 1
    assert number("  ")[0] == "empty"
    assert number("1e-2") == ("number", 0.01)


def test_answers_are_compared_without_case_and_blanks() -> None:
    words = pa.array(["Yes", " YES ", "no", "", "Perhaps", "ja"])
    answers = read_answers(words, {"yes": True, "ja": True, "no": False, "": None}).tolist()
    assert answers == [_words.YES, _words.YES, _words.NO, _words.NO_ANSWER, _words.UNKNOWN_ANSWER, _words.YES]


@pytest.mark.parametrize(
    ("cell", "words", "dropped"),
    [
        ("pain; Avoid withdrawal", "avoid_withdrawal,pain", False),
        ("sleep|pain|sleep", "pain,sleep", False),
        ("energy, mood", "energy,mood", False),
        ("", None, False),
        (" ; ", None, False),
        ("pain; because my neighbour's dog barked at 3", "pain", True),
        ("because my dear friend asked", None, True),
        ("a" * 41, None, True),
        ("a" * 40, "a" * 40, False),
        ("call +47 123 45 678", None, True),
    ],
)
def test_reasons_are_plain_words_and_free_text_stays_behind(cell: str, words: str | None, dropped: bool) -> None:
    assert read_words(cell) == (words, dropped)


def test_a_word() -> None:
    assert read_word(" Loose  Powder ") == "loose_powder"
    assert read_word("") is None
    assert read_word("my very own special tea blend") == DROPPED
    assert read_word("thé") == DROPPED


@pytest.mark.parametrize(
    "name", ["Kratom", "7-hydroxymitragynine", "Norco (10/325)", "Mitragyna speciosa", "2C-B", "Ælé"]
)
def test_names_of_substances_pass(name: str) -> None:
    assert read_name(f"  {name} ") == name


@pytest.mark.parametrize(
    "text",
    ["what Ola gave me last week", "x" * 41, "ola@example.org", "phone 12345678", "; drop table night"],
)
def test_what_is_longer_or_other_than_a_name_does_not(text: str) -> None:
    assert read_name(text) == DROPPED


def test_units_pass_and_notes_do_not() -> None:
    assert read_unit("ml of 10 mg/ml") == "ml of 10 mg/ml"
    assert read_unit("µg") == "µg"
    assert read_unit("") is None
    assert read_unit("a big one from the blue box by the door") == DROPPED
    assert read_unit("g; see note") == DROPPED


def test_messages_name_the_kind_of_a_cell_only() -> None:
    assert [shape_of(cell) for cell in ("", "abc", "1234", "a1 b")] == [
        "nothing",
        "a word of 3 letters",
        "a word of 4 digits",
        "a word of 4 characters",
    ]


def test_flags_are_sorted_words() -> None:
    masks = {"b": np.array([True, True, False]), "a": np.array([False, True, False]), "c": np.zeros(3, bool)}
    assert flag_column(3, masks).to_pylist() == ["b", "a,b", None]
    assert flag_column(2, {}).to_pylist() == [None, None]

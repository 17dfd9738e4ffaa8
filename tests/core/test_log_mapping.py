"""A study's description of its logs: what it may say, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from ingest._core.log_mapping import Answers, LogMapping, When

DAILY: dict[str, Any] = {
    "name": "form",
    "layout": "daily",
    "date": {"column": "Day", "format": "%d/%m/%Y"},
    "date_means": "use_day",
    "items": [{"substance": "alcohol", "answer": "Drank"}],
}
LONG: dict[str, Any] = {
    "name": "diary",
    "layout": "long",
    "taken_at": {"column": "When"},
    "substance": "What",
}


@pytest.mark.parametrize(
    ("base", "change", "says"),
    [
        (DAILY, {"date_means": None}, "date_means"),
        (DAILY, {"date": None}, "needs `date` and `items`"),
        (DAILY, {"items": []}, "needs `date` and `items`"),
        (DAILY, {"amount": "Grams"}, "`amount` belongs to layout long"),
        (DAILY, {"items": [{"substance": "alcohol"}]}, "needs `answer` or `amount`"),
        (DAILY, {"items": [{"substance": "alcohol", "amount": "n"}]}, "an amount needs its `unit`"),
        (DAILY, {"name": "canonical"}, "choose another name"),
        (DAILY, {"name": "Form 1"}, "pattern"),
        (DAILY, {"colour": "red"}, "Extra inputs"),
        (DAILY, {"encoding": "utf8x"}, "no encoding that Python knows"),
        (DAILY, {"encoding": "base64"}, "no encoding that Python knows"),
        (DAILY, {"delimiter": '"'}, "one ASCII character"),
        (DAILY, {"delimiter": "\n"}, "one ASCII character"),
        (DAILY, {"delimiter": ", "}, "at most 1 character"),
        (DAILY, {"decimal": ","}, "same character"),
        (DAILY, {"files": ""}, "is empty"),
        (DAILY, {"date": {"column": "Day", "format": "%d %B"}}, "year, month and day"),
        (DAILY, {"date": {"column": "Day", "format": "%H:%M"}}, "year, month and day"),
        (DAILY, {"date": {"column": "Day", "format": "%q"}}, "no strptime format"),
        (DAILY, {"answers": {"yes": ["Y", "x"], "no": ["N", " X "]}}, "two of yes, no and none"),
        (LONG, {"taken_at": None}, "needs `taken_at`"),
        (LONG, {"substance": None}, "either `substance` or `substance_is`"),
        (LONG, {"substance_is": "kratom"}, "either `substance` or `substance_is`"),
        (LONG, {"items": DAILY["items"]}, "layouts daily and wide"),
        (LONG, {"unit": "u", "unit_is": "g"}, "not both"),
        (LONG, {"taken_at": {"column": "When", "format": "%d/%m/%Y"}}, "`taken_at` without a clock"),
    ],
)
def test_what_cannot_be_right_is_told(base: dict[str, Any], change: dict[str, Any], says: str) -> None:
    LogMapping.model_validate(base)
    with pytest.raises(ValidationError, match=says):
        LogMapping.model_validate({**base, **change})


def test_an_item_is_placed_in_the_day_in_one_way() -> None:
    item = {"substance": "kratom", "answer": "a", "at": "t", "part_of_day": "evening"}
    with pytest.raises(ValidationError, match="not both"):
        LogMapping.model_validate({**DAILY, "items": [item]})


def test_bare_yes_and_no_in_yaml_are_words() -> None:
    text = "yes: [Yes, Ja, 1]\nno: [No]\nnone: [Maybe, ~]\n"
    assert yaml.safe_load(text)[True] == [True, "Ja", 1]
    meanings = Answers.model_validate(yaml.safe_load(text)).meanings()
    assert {word: meanings[word] for word in ("yes", "ja", "1", "no", "maybe", "")} == {
        "yes": True,
        "ja": True,
        "1": True,
        "no": False,
        "maybe": None,
        "": None,
    }


def test_an_empty_cell_is_no_answer_unless_it_is_listed() -> None:
    assert Answers(none=["Maybe"]).meanings()[""] is None
    assert Answers(no=["no", ""], none=["Maybe"]).meanings()[""] is False
    assert Answers().meanings() == {
        "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("form", "clock"),
    [
        (None, True),
        ("%d/%m/%Y", False),
        ("%d/%m/%Y %H:%M", True),
        ("%d.%m.%y %I:%M %p", True),
        ("%Y-%j", False),
    ],
)
def test_formats_that_hold_a_clock(form: str | None, clock: bool) -> None:
    assert When(column="When", format=form).may_hold_a_clock is clock


def test_every_named_column_is_one_of_its_columns() -> None:
    long = {
        **LONG,
        "participant": "c1",
        "record_id": "c2",
        "reported_at": {"column": "c3"},
        **{name: f"c_{name}" for name in ("amount", "unit", "no_use", "product_form", "route", "reason")},
        **{name: f"c_{name}" for name in ("mitragynine_mg", "mitragynine_pct", "time_precision", "recall")},
    }
    assert LogMapping.model_validate(long).columns() == {
        "When", "What", "c1", "c2", "c3", "c_amount", "c_unit", "c_no_use", "c_product_form", "c_route",
        "c_reason", "c_mitragynine_mg", "c_mitragynine_pct", "c_time_precision", "c_recall",
    }  # fmt: skip
    items = [{"substance": "kratom", "amount": "a1", "unit": "g", "at": "t1"}, *DAILY["items"]]
    assert LogMapping.model_validate({**DAILY, "items": items}).columns() == {"Day", "a1", "t1", "Drank"}

"""Blocks of seven nights and their states, against the golden cases and a reference that reads the whole history."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest._core.settings_insomnia import Insomnia
from ingest.mart.insomnia import insomnia_week, states, week_class
from ingest.mart.person import PersonSettings
from studies import PROJECT

GOLDEN = json.loads((PROJECT / "tests" / "golden" / "insomnia_state_machine.json").read_text())
LETTER = {"positive": "P", "negative": "N", "insufficient": "I"}
EPISODE = re.compile(r"PP(?:P|NP)*(?P<over>NN|N?$)")
WHO, ENROLLED = "p0000000000000000000a", date(2026, 1, 5)
GOOD, BAD, POSITIVE, SILENT = [False] * 7, [True] * 7, [True] * 3 + [False] * 4, [None] * 7
Nights = list[bool | None]


def week_rows(
    blocks: list[Nights],
    last_seen: date | None = None,
    settings: Insomnia | None = None,
    basis: str = "diary",
    **person: Any,
) -> list[dict[str, Any]]:
    """Rows of insomnia_week of one participant whose nights from enrolment on are these."""
    nights = [(ENROLLED + timedelta(days=i), is_bad) for i, is_bad in enumerate(x for block in blocks for x in block)]
    rows = [{"participant_id": WHO, "night_date": day, "basis": basis, "preset": "x", "is_bad": is_bad}
            for day, is_bad in nights if is_bad is not None]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=arrow_schema("insomnia_night"))
    people = {WHO: PersonSettings(WHO, **{"zone_name": "UTC", "enrolled_on": ENROLLED, **person})}
    seen = {WHO: last_seen or ENROLLED + timedelta(days=7 * len(blocks))}
    found = insomnia_week(table, people, settings or Insomnia(), seen)
    assert found.schema.equals(arrow_schema("insomnia_week"))
    return found.to_pylist()


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=str)
def test_golden(case: str) -> None:
    settings = Insomnia(**GOLDEN["parameters"])
    weeks, expected = GOLDEN["cases"][case]["weeks"], GOLDEN["cases"][case]["expected"]
    classes = [week_class(week, settings.bad_nights) for week in weeks]
    found = [
        {"block": i, "valid": sum(night is not None for night in week), "bad": sum(night is True for night in week),
         "week_class": classes[i], "state": state.name, "run_bad": state.run_bad, "episode_no": state.episode_no}
        for i, (week, state) in enumerate(zip(weeks, states(classes, settings), strict=True))
    ]  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("case", [name for name in GOLDEN["cases"] if name != "J_partial_last_block"])
def test_golden_as_rows(case: str) -> None:
    """The same through the table; a block that is still open (case J) has no row."""
    weeks, expected = GOLDEN["cases"][case]["weeks"], GOLDEN["cases"][case]["expected"]
    names = {"valid": "valid_nights", "bad": "bad_nights"}
    found = week_rows(weeks)
    assert [{name: row[names.get(name, name)] for name in expected[0]} for row in found] == expected
    assert [row["block_start"] for row in found] == [ENROLLED + timedelta(days=7 * i) for i in range(len(weeks))]


def test_the_golden_parameters_are_the_defaults() -> None:
    assert GOLDEN["parameters"] == {name: getattr(Insomnia(), name) for name in GOLDEN["parameters"]}


def _by_history(classes: str) -> tuple[str, int, int]:
    """State, run_bad and episode_no after all of `classes` (letters), read from the whole history at once.

    More than four I in a row part it into stretches. In a stretch only P and N count; an episode is there where
    the letters read PP, and lasts to the first NN.
    """
    *past, stretch = re.split(r"I{5,}", classes)
    episodes = sum(len(EPISODE.findall(part.replace("I", ""))) for part in past)
    if classes.endswith("IIIII"):
        return "unknown", 0, episodes
    letters = stretch.replace("I", "")
    found = list(EPISODE.finditer(letters))
    number = episodes + len(found)
    if found and found[-1].end() == len(letters) and found[-1]["over"] != "NN":
        run = found[-1].group().count("P")
        return "persistent" if run >= 13 else "episode", run, number
    rest = letters[found[-1].end() :] if found else letters
    if rest.endswith("P"):
        return "pending", 1, number
    return "remitted" if found and "P" not in rest else "none", 0, number


@given(st.text("PNI", max_size=60) | st.text("PPPPPNI", max_size=60) | st.text("PIIIII", max_size=40))
def test_states_are_those_of_the_whole_history(letters: str) -> None:
    words = {letter: word for word, letter in LETTER.items()}
    found = [(each.name, each.run_bad, each.episode_no) for each in states([words[c] for c in letters], Insomnia())]
    assert found == [_by_history(letters[: i + 1]) for i in range(len(letters))]


@given(st.lists(st.sampled_from([True, False, None]), min_size=7, max_size=7), st.integers(1, 7))
def test_a_block_is_classed_only_if_no_reading_of_its_missing_nights_says_otherwise(week: Nights, least: int) -> None:
    """Each missing night taken as good and as bad: negative means that no reading is positive."""
    lowest = sum(night is True for night in week)
    highest = sum(night is not False for night in week)
    expected = "positive" if lowest >= least else "negative" if highest < least else "insufficient"
    assert week_class(week, least) == expected


def test_settings_change_the_machine() -> None:
    blocks = [POSITIVE, POSITIVE, POSITIVE, GOOD, GOOD, GOOD]
    assert [row["state"] for row in week_rows(blocks, settings=Insomnia(onset_blocks=3))] == [
        "pending", "pending", "episode", "episode", "remitted", "remitted",
    ]  # fmt: skip
    assert [row["state"] for row in week_rows(blocks, settings=Insomnia(onset_blocks=1, remission_blocks=3))] == [
        "episode", "episode", "episode", "episode", "episode", "remitted",
    ]  # fmt: skip
    assert [row["state"] for row in week_rows(blocks, settings=Insomnia(persistent_blocks=2))][:2] == [
        "pending", "persistent",
    ]  # fmt: skip
    assert {row["week_class"] for row in week_rows([POSITIVE], settings=Insomnia(bad_nights=4))} == {"negative"}
    silent = week_rows([GOOD, SILENT, SILENT], settings=Insomnia(max_insufficient_run=1))
    assert [row["state"] for row in silent] == ["none", "none", "unknown"]


def test_detected_on_is_the_last_night_of_the_block_that_decided() -> None:
    rows = week_rows([GOOD, POSITIVE, POSITIVE, POSITIVE, GOOD, GOOD, POSITIVE, GOOD])
    ends = [str(row["block_start"] + timedelta(days=6)) for row in rows]
    assert [(row["state"], row["detected_on"] and str(row["detected_on"])) for row in rows] == [
        ("none", None), ("pending", ends[1]), ("episode", ends[2]), ("episode", ends[2]), ("episode", ends[2]),
        ("remitted", ends[5]), ("pending", ends[6]), ("none", ends[7]),
    ]  # fmt: skip


def test_a_block_counts_once_its_seven_nights_have_ended() -> None:
    last = ENROLLED + timedelta(days=6)
    # Six nights: the seventh has not ended as long as no export covers the morning after it.
    assert week_rows([BAD[:6]], last_seen=last) == []
    (row,) = week_rows([BAD[:6]], last_seen=last + timedelta(days=1))
    assert (row["valid_nights"], row["bad_nights"]) == (6, 6)
    # The seventh night itself is there, though nothing is dated later.
    assert len(week_rows([BAD], last_seen=last)) == 1
    assert len(week_rows([BAD, BAD], withdrew_on=last)) == 1
    assert week_rows([BAD, BAD], withdrew_on=last - timedelta(days=1)) == []


def test_blocks_need_an_enrolment_and_a_night_of_the_basis() -> None:
    assert week_rows([BAD], enrolled_on=None) == []
    assert week_rows([SILENT, SILENT]) == []
    assert {row["basis"] for row in week_rows([BAD], basis="wearable")} == {"wearable"}
    later = week_rows([BAD, BAD], enrolled_on=ENROLLED + timedelta(days=7))
    assert [(row["block"], row["block_start"]) for row in later] == [(0, ENROLLED + timedelta(days=7))]


def test_taper_weeks_count_from_the_first_day_of_the_taper() -> None:
    rows = week_rows([GOOD] * 4, taper_start_on=ENROLLED + timedelta(days=10))
    assert [row["taper_week"] for row in rows] == [-2, -1, 0, 1]
    assert [row["taper_week"] for row in week_rows([GOOD])] == [None]
    assert week_rows([GOOD], taper_start_on=ENROLLED)[0]["taper_week"] == 0

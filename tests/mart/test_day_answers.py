"""Several reports of one day: which count, and where they contradict each other (decided rule 6)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.settings import Exposure
from ingest.mart.day_answers import with_day_answers
from ingest.mart.exposure import night_exposure
from ingest.mart.person import PersonSettings
from ingest.mart.record_versions import current_records, record_versions
from mart.exposure_rows import WHO, day_use, dose, night, nights_table, no_use, one, uses_table

Row = dict[str, Any]
DAY = "2024-03-04"
EVENING = night(DAY, "2024-03-04T23:00:00Z", "2024-03-05T07:00:00Z")
PEOPLE = {WHO: PersonSettings(WHO, "UTC")}


def said(row: Row, instrument: str, export: str = "a", **other: Any) -> Row:
    """A report of an instrument in an export; exports are as old as the alphabet says."""
    made = datetime(2024, 5, 1 + "abcdefgh".index(export), tzinfo=UTC)
    return {**row, "instrument": instrument, "source_file_id": export * 64, "exported_at": made, **other}


def whole(reports: Sequence[Row]) -> list[Row]:
    """Reports with ids as logs get them: without a record id by instrument, time and place among equal times."""
    seen: dict[tuple[Any, ...], int] = {}
    rows = []
    for row in reports:
        about = (row["instrument"], row["substance"], row["local_date"], row.get("taken_utc"), row.get("flags"))
        number = seen[*about, row["source_file_id"]] = seen.get((*about, row["source_file_id"]), -1) + 1
        content = f"{about}{row['amount']}{row['no_use']}{row['unit']}"
        rows.append({"use_id": f"{about}{number}", "content_hash": content, "has_record_id": False, **row})
    return rows


def answered(reports: Sequence[Row]) -> dict[tuple[str, str], str | None]:
    """day_answer of each report that counts, by use_id and content_hash."""
    every = uses_table(whole(reports))
    versions, current = _settled(every)
    contents = dict(zip(current["use_id"].to_pylist(), current["content_hash"].to_pylist(), strict=True))
    return {(row["use_id"], contents[row["use_id"]]): row["day_answer"]
            for row in versions.to_pylist() if row["is_current"]}  # fmt: skip


def _settled(every: Any) -> tuple[Any, Any]:
    return with_day_answers(record_versions("use_version", every), current_records("use_version", every), every,
                            PEOPLE, Exposure())  # fmt: skip


def words(reports: Sequence[Row]) -> list[str | None]:
    """The same, in order of instrument, then of the answer."""
    found = answered(reports)
    return [found[key] for key in sorted(found)]


def exposure(reports: Sequence[Row]) -> Row:
    """The night's row, at the measured onset."""
    every = uses_table(whole(reports))
    return one(night_exposure(nights_table([EVENING]), _settled(every)[1], PEOPLE, Exposure()).to_pylist())


def test_equal_answers_of_two_instruments_count_once() -> None:
    reports = [said(day_use(DAY, 3.0), "calendar"), said(day_use(DAY, 3.0), "form", "b")]
    assert words(reports) == ["counted", "repeats"]
    assert (exposure(reports)["amount_day"], exposure(reports)["log_status"]) == (3.0, "logged")


def test_different_answers_of_two_instruments_are_a_conflict() -> None:
    reports = [said(day_use(DAY, 3.0), "calendar"), said(day_use(DAY, 2.0), "form", "b")]
    assert words(reports) == ["conflict", "conflict"]
    row = exposure(reports)
    assert row["log_status"] == "conflict"
    assert [row[name] for name in ("amount_day", "amount_24h", "dose_count_24h", "hours_since_last_dose")] == [None] * 4


def test_an_answer_that_a_later_export_changes_without_an_id_is_a_conflict() -> None:
    reports = [said(day_use(DAY, 3.0), "form"), said(day_use(DAY, 2.0), "form", "b")]
    assert words(reports) == ["conflict"]
    assert exposure(reports)["log_status"] == "conflict"


def test_an_answer_that_a_later_export_changes_under_its_id_is_replaced() -> None:
    reports = [said(day_use(DAY, amount), "form", export, use_id="u1", has_record_id=True)
               for amount, export in ((3.0, "a"), (2.0, "b"))]  # fmt: skip
    assert words(reports) == ["counted"]
    assert exposure(reports)["amount_day"] == 2.0


def test_a_changed_no_is_a_conflict() -> None:
    reports = [said(day_use(DAY, 3.0), "form"), said(no_use(DAY), "form", "b")]
    assert words(reports) == ["conflict"]
    assert exposure(reports)["log_status"] == "conflict"


def test_items_of_one_form_add_up() -> None:
    reports = [said(day_use(DAY, 1.0), "form"), said(day_use(DAY, 2.5), "form")]
    assert words(reports) == ["counted", "counted"]
    assert exposure(reports)["amount_day"] == 3.5


def test_the_sum_of_the_items_is_what_is_compared() -> None:
    items = [said(day_use(DAY, 1.0), "form"), said(day_use(DAY, 2.5), "form")]
    assert words([*items, said(day_use(DAY, 3.5), "tlfb", "b")]) == ["counted", "counted", "repeats"]
    assert words([*items, said(day_use(DAY, 2.5), "tlfb", "b")]) == ["conflict", "conflict", "conflict"]


def test_an_item_that_a_later_export_adds_is_no_contradiction() -> None:
    first = said(day_use(DAY, 1.0), "form")
    reports = [first, {**first, **said({}, "form", "b")}, said(day_use(DAY, 2.0), "form", "b")]
    assert words(reports) == ["counted", "counted"]
    assert exposure(reports)["amount_day"] == 3.0


def test_the_total_of_timed_doses_is_not_counted_beside_them() -> None:
    doses = [said(dose(f"{DAY}T{hour}:00:00Z", amount), "app") for hour, amount in (("09", 1.0), ("21", 2.0))]
    reports = [*doses, said(day_use(DAY, 3.0), "tlfb", "b")]
    assert words(reports) == [None, None, "total_of_doses"]
    row = exposure(reports)
    assert (row["log_status"], row["amount_day"], row["amount_3h"], row["dose_count_6h"]) == ("logged", 3.0, 2.0, 1)
    assert row["hours_since_last_dose"] == 2.0


def test_a_total_that_differs_from_the_timed_doses_is_a_conflict() -> None:
    reports = [said(dose(f"{DAY}T21:00:00Z", 2.0), "app"), said(day_use(DAY, 3.0), "tlfb", "b")]
    assert words(reports) == [None, "conflict"]
    assert (exposure(reports)["log_status"], exposure(reports)["amount_3h"]) == ("conflict", None)


def test_a_use_of_unknown_time_in_the_log_of_the_doses_is_one_more() -> None:
    reports = [said(dose(f"{DAY}T21:00:00Z", 2.0), "app"), said(day_use(DAY, 1.0), "app")]
    assert words(reports) == ["counted", None]
    assert exposure(reports)["amount_day"] == 3.0


@pytest.mark.parametrize("unit", ["g", None])
def test_a_bare_yes_says_no_more_than_an_amount(unit: str | None) -> None:
    yes = said(day_use(DAY, None, unit), "form")
    assert words([yes, said(day_use(DAY, 3.0), "tlfb", "b")]) == ["repeats", "counted"]
    assert words([said(dose(f"{DAY}T21:00:00Z", 2.0), "app", "b"), yes]) == [None, "repeats"]
    assert words([yes]) == ["counted"]


def test_a_total_smaller_than_what_is_known_of_the_doses_is_a_conflict() -> None:
    doses = [said(dose(f"{DAY}T09:00:00Z", None), "app"), said(dose(f"{DAY}T21:00:00Z", 4.0), "app")]
    assert "conflict" in words([*doses, said(day_use(DAY, 3.0), "tlfb", "b")])
    assert words([*doses, said(day_use(DAY, 5.0), "tlfb", "b")]) == [None, None, "total_of_doses"]


def test_a_use_and_a_no_of_two_instruments_are_a_conflict() -> None:
    reports = [said(dose(f"{DAY}T21:00:00Z", 2.0), "app"), said(no_use(DAY), "form", "b")]
    assert words(reports) == [None, "conflict"]
    assert exposure(reports)["log_status"] == "conflict"


def test_other_days_substances_and_people_are_left_alone() -> None:
    reports = [said(day_use(DAY, 3.0), "calendar"), said(day_use("2024-03-05", 2.0), "form", "b"),
               said(day_use(DAY, 1.0, substance="alcohol"), "form", "b")]  # fmt: skip
    assert set(words(reports)) == {"counted"}


@pytest.mark.parametrize("other", [{"time_precision": "part_of_day"}, {}])
def test_a_no_about_a_part_says_nothing_of_the_day(other: Row) -> None:
    part = said(no_use(DAY, flags="part:morning,partial_no", **other), "form")
    assert words([part]) == [None]
    assert (exposure([part])["log_status"], exposure([part])["amount_day"]) == ("not_logged", None)
    used = said(day_use(DAY, 3.0), "form")
    assert (exposure([part, used])["log_status"], exposure([part, used])["amount_day"]) == ("logged", 3.0)
    other_instrument = said(day_use(DAY, 3.0), "tlfb", "b")
    assert exposure([part, used, other_instrument])["amount_day"] == 3.0
    assert exposure([part, said(no_use(DAY), "tlfb", "b")])["log_status"] == "none_reported"


_AMOUNTS = st.sampled_from([1.0, 2.0, 3.0])
_REPORTS = st.lists(
    st.builds(
        lambda form, export, amount, hour: said(
            no_use(DAY, flags="partial_no") if amount == 0 and hour else
            no_use(DAY) if amount == 0 else dose(f"{DAY}T{hour:02d}:00:00Z", amount) if hour else day_use(DAY, amount),
            form, export,
        ),
        st.sampled_from(["app", "form", "tlfb"]), st.sampled_from("abc"), _AMOUNTS | st.just(0) | st.none(),
        st.sampled_from([0, 0, 0, 9, 21]),
    ),
    min_size=1, max_size=5,
)  # fmt: skip


def _told(rows: Sequence[Row]) -> list[list[Row]]:
    """Statements that no other export of their instrument holds whole."""
    newest = {row["use_id"]: row["content_hash"] for row in sorted(rows, key=lambda row: row["exported_at"])}
    statements: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["time_precision"] == "day" or row["content_hash"] == newest[row["use_id"]]:
            statements.setdefault((row["instrument"], row["source_file_id"]), []).append(row)
    told: list[list[Row]] = []
    contents = {key: {(row["use_id"], row["content_hash"]) for row in held} for key, held in statements.items()}
    kept: list[tuple[str, str]] = []
    for key in sorted(contents, key=lambda key: -len(contents[key])):
        if not any(contents[key] <= contents[other] and key[0] == other[0] for other in kept):
            kept.append(key)
            told.append(statements[key])
    return told


def reference(reports: Sequence[Row]) -> tuple[str, float | None]:
    """log_status and amount of the day in g, told from the rule alone."""
    told = _told([row for row in whole(reports) if row.get("flags") != "partial_no"])
    if not told:
        return "not_logged", None
    denials = {row["no_use"] for statement in told for row in statement}
    if len(denials) > 1:
        return "conflict", None
    if denials == {True}:
        return "none_reported", 0.0
    lists = [s for s in told if any(row["time_precision"] != "day" for row in s)]
    sums = [[row["amount"] for s in lists for row in s]] if lists else []
    sums += [[row["amount"] for row in s] for s in told if s not in lists]
    known = [(sum(amount for amount in each if amount), None not in each) for each in sums]
    complete = [amount for amount, whole_of_it in known if whole_of_it]
    if len(set(complete)) > 1 or any(amount > total for amount, _ in known for total in complete):
        return "conflict", None
    if lists:
        return "logged", known[0][0] if known[0][1] else None
    return "logged", complete[0] if complete else None


@given(_REPORTS, st.randoms(use_true_random=False))
def test_agrees_with_the_rule_told_straight_and_not_with_the_order_of_rows(reports: list[Row], random: Any) -> None:
    row = exposure(reports)
    assert (row["log_status"], row["amount_day"]) == reference(reports)
    rows = whole(reports)
    every = uses_table(rows)
    shuffled = uses_table(random.sample(rows, len(rows)))
    assert _settled(every)[0].equals(_settled(shuffled)[0])

"""Phases: the study's own, or derived from the roster's dates and the log."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from ingest._core.contract import arrow_schema
from ingest._core.phases import Phase
from ingest._core.settings import Settings
from ingest.mart.person import PersonSettings
from ingest.mart.phase import phase_rows, phases
from mart.exposure_rows import WHO, day_use, dose, no_use, no_uses, uses_table

Row = dict[str, Any]
ENROLLED, TAPER = date(2026, 3, 1), date(2026, 3, 11)
REGISTRY = {"kratom": ("kratom", "g"), "oxycodone": ("opioid", "mg"), "alcohol": ("alcohol", "g")}


def table(*uses: Row, settings: dict[str, Any] | None = None, **person: Any) -> pa.Table:
    """Rows of phase of one participant in Oslo, enrolled on 1 March, taper from 11 March."""
    known = {"zone_name": "Europe/Oslo", "enrolled_on": ENROLLED, "taper_start_on": TAPER, **person}
    people = {WHO: PersonSettings(WHO, **known)}
    chosen = Settings.model_validate({"study": "s", **(settings or {})})
    return phase_rows(phases(uses_table(uses), people, chosen, REGISTRY), people)


def spans(*uses: Row, **other: Any) -> list[tuple[str, str, str | None]]:
    """Phase, first and last day."""
    found = table(*uses, **other)
    assert found.schema.equals(arrow_schema("phase"))
    return [(row["phase"], f"{row['start_on']:%m-%d}", row["end_on"] and f"{row['end_on']:%m-%d}")
            for row in found.to_pylist()]  # fmt: skip


def test_the_taper_of_the_roster_parts_baseline_and_taper() -> None:
    assert spans() == [("baseline", "03-01", "03-10"), ("taper", "03-11", None)]
    assert spans(taper_start_on=ENROLLED) == [("taper", "03-01", None)]
    assert spans(enrolled_on=None) == [("taper", "03-11", None)]
    assert spans(taper_start_on=None) == []
    assert spans(withdrew_on=date(2026, 3, 20)) == [("baseline", "03-01", "03-10"), ("taper", "03-11", "03-20")]
    assert spans(withdrew_on=date(2026, 3, 5)) == [("baseline", "03-01", "03-05")]


def test_abstinence_begins_the_day_after_the_seventh_dose_free_day() -> None:
    before = [("baseline", "03-01", "03-10")]
    assert spans(*no_uses("2026-03-15", "2026-03-20")) == [*before, ("taper", "03-11", None)]
    assert spans(*no_uses("2026-03-15", "2026-03-21")) == [
        *before, ("taper", "03-11", "03-21"), ("abstinence", "03-22", None),
    ]  # fmt: skip
    assert spans(*no_uses("2026-03-15", "2026-03-21"), settings={"phases": {"dose_free_days": 8}})[-1][0] == "taper"


def test_abstinence_ends_before_the_next_use() -> None:
    used = day_use("2026-03-25", 1.0)
    assert spans(*no_uses("2026-03-15", "2026-03-24"), used)[1:] == [
        ("taper", "03-11", "03-21"), ("abstinence", "03-22", "03-24"), ("taper", "03-25", None),
    ]  # fmt: skip
    # A use on the very day on which it would begin leaves none.
    assert spans(*no_uses("2026-03-15", "2026-03-21"), day_use("2026-03-22", 1.0))[1:] == [("taper", "03-11", None)]
    # A use at 03:30 of the 26th belongs to the exposure day before.
    late = dose("2026-03-26T02:30Z", 1.0, zone="Europe/Oslo")
    assert spans(*no_uses("2026-03-15", "2026-03-24"), late)[2] == ("abstinence", "03-22", "03-24")


def test_silence_breaks_the_seven_days_but_no_abstinence() -> None:
    days = no_uses("2026-03-15", "2026-03-17") + no_uses("2026-03-19", "2026-03-22")
    assert spans(*days)[-1][0] == "taper"
    later = [*no_uses("2026-03-12", "2026-03-18"), no_use("2026-03-30"), day_use("2026-04-02", 1.0)]
    assert spans(*later)[1:] == [
        ("taper", "03-11", "03-18"), ("abstinence", "03-19", "04-01"), ("taper", "04-02", None),
    ]  # fmt: skip


def test_a_day_with_a_use_and_a_no_is_not_dose_free_and_ends_an_abstinence() -> None:
    both = [*no_uses("2026-03-12", "2026-03-21"), day_use("2026-03-16", 1.0)]
    assert spans(*both)[-1][0] == "taper"
    ended = [*no_uses("2026-03-12", "2026-03-21"), day_use("2026-03-20", 1.0)]
    assert ("abstinence", "03-19", "03-19") in spans(*ended)


def test_all_that_is_tapered_must_be_reported_free() -> None:
    kratom, oxycodone = no_uses("2026-03-12", "2026-03-20"), {"substance": "oxycodone", "substance_class": "opioid"}
    used = day_use("2026-03-05", 10.0, unit="mg", **oxycodone)
    assert spans(*kratom, used)[-1][0] == "taper"
    assert spans(*kratom, used, *no_uses("2026-03-12", "2026-03-20", **oxycodone))[-1] == ("abstinence", "03-19", None)
    # What the study lists is asked of everybody; a use of the class ends it all the same.
    listed = {"exposure": {"substances": ["kratom", "alcohol"]}}
    assert spans(*kratom, used, settings=listed)[-1] == ("abstinence", "03-19", None)
    again = day_use("2026-03-22", 10.0, unit="mg", **oxycodone)
    assert spans(*kratom, again, settings=listed)[2:] == [("abstinence", "03-19", "03-21"), ("taper", "03-22", None)]
    # Alcohol is none of the tapered classes.
    drunk = day_use("2026-03-22", 14.0, substance="alcohol", substance_class="alcohol")
    assert spans(*kratom, drunk)[-1] == ("abstinence", "03-19", None)
    by_name = {"phases": {"substances": ["alcohol"]}}
    assert spans(*kratom, settings=by_name)[-1][0] == "taper"


def test_a_listed_substance_nobody_speaks_of_makes_no_abstinence() -> None:
    assert spans(*no_uses("2026-03-12", "2026-03-20"), settings={"exposure": {"substances": ["kratom", "oxycodone"]}})[
        -1
    ] == ("taper", "03-11", None)


def test_nothing_begins_before_enrolment() -> None:
    early = no_uses("2026-02-10", "2026-02-20")
    assert spans(*early) == [("abstinence", "03-01", None)]
    assert spans(*early, day_use("2026-03-04", 1.0))[:2] == [
        ("abstinence", "03-01", "03-03"), ("baseline", "03-04", "03-10"),
    ]  # fmt: skip


def test_the_studys_own_phases_stand_as_they_are() -> None:
    own = (Phase("run_in", date(2026, 2, 1), date(2026, 2, 20)), Phase("detox", date(2026, 3, 1), None))
    found = table(*no_uses("2026-03-12", "2026-03-20"), phases=own)
    assert found.to_pylist() == [
        {"participant_id": WHO, "phase": "run_in", "start_on": date(2026, 2, 1), "end_on": date(2026, 2, 20),
         "source": "roster"},
        {"participant_id": WHO, "phase": "detox", "start_on": date(2026, 3, 1), "end_on": None, "source": "roster"},
    ]  # fmt: skip
    assert set(table()["source"].to_pylist()) == {"derived"}


@given(st.lists(st.sampled_from("nu."), max_size=70), st.integers(0, 40), st.integers(2, 8))
def test_each_day_is_in_the_phase_that_the_definition_gives_it(said: list[str], taper_at: int, needed: int) -> None:
    """Day by day: n a reported no, u a use, . silence. Counted anew on every day, without spans."""
    uses = [(no_use if word == "n" else day_use)(str(ENROLLED + timedelta(days=i))) for i, word in enumerate(said)
            if word != "."]  # fmt: skip
    found = table(*uses, settings={"phases": {"dose_free_days": needed}},
                  taper_start_on=ENROLLED + timedelta(days=taper_at)).to_pylist()  # fmt: skip
    abstinent = False
    for i in range(len(said) + 1):
        word = said[i] if i < len(said) else "."
        abstinent = word != "u" and (abstinent or (i >= needed and said[i - needed : i] == ["n"] * needed))
        expected = "abstinence" if abstinent else "taper" if i >= taper_at else "baseline"
        day = ENROLLED + timedelta(days=i)
        held = [row["phase"] for row in found if row["start_on"] <= day <= (row["end_on"] or date.max)]
        assert held == [expected]

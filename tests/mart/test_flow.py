"""From enrolled to analysed: every exclusion has its reason, and the counts reconcile."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ingest._core.settings_association import Association, Primary
from ingest.mart.association import person_blocks
from ingest.mart.flow import PersonFlow, flow, person_flow
from ingest.mart.series import CONFLICT, Series
from mart.association_rows import doses, noise, person

SETTINGS = Association(primary=Primary(substance="kratom", exposure="amount_day", outcome="tst"))


def somebody(days: int = 60) -> Series:
    """Days 0 and 1: no log. Day 2: two answers. Days 3 to 5: a use of unknown amount. Days 6 to 9: no TST."""
    rng = np.random.default_rng(37)
    amount = doses(rng, days)
    tst = 400 + noise(rng, days, 1)[:, 0]
    waso = 40 + noise(rng, days, 1, sd=5)[:, 0]
    known = amount.copy()
    known[:6] = np.nan
    tst[6:10] = np.nan
    of = person(known, {("tst", "wearable"): tst, ("waso", "wearable"): waso})
    status = of.doses["kratom", "g"].status.copy()
    status[2], status[3:6] = CONFLICT, 0
    of.doses["kratom", "g"] = replace(of.doses["kratom", "g"], status=status)
    return replace(of, outside={"before_enrolment": 7, "after_withdrawal": 0})


def excluded(settings: Association, days: int = 60) -> dict[str, int]:
    of = somebody(days)
    found = person_flow(of, person_blocks(of, settings), settings.primary)
    return {reason: n for reason, n in found.items() if n}


def test_each_night_is_excluded_for_one_reason() -> None:
    assert excluded(SETTINGS) == {
        "before_enrolment": 7, "not_logged": 2, "log_conflict": 1, "exposure_unknown": 3, "outcome_missing": 4,
    }  # fmt: skip


def test_the_primary_takes_its_persons_reason() -> None:
    assert excluded(SETTINGS, 30) == {
        "before_enrolment": 7, "not_logged": 2, "log_conflict": 1, "exposure_unknown": 3, "outcome_missing": 4,
        "few_pairs": 20,
    }  # fmt: skip


def test_without_a_primary_a_night_in_any_estimate_counts() -> None:
    """WASO is there where TST is not; nights of unknown amount are in no estimate of any use here."""
    assert excluded(Association()) == {
        "before_enrolment": 7, "not_logged": 2, "log_conflict": 1, "no_estimable_association": 3,
    }  # fmt: skip


def test_counts_reconcile() -> None:
    people = [
        PersonFlow(True, 67, {"before_enrolment": 7, "not_logged": 2}),
        PersonFlow(True, 20, {"not_logged": 5, "few_pairs": 15}),
        PersonFlow(True, 9, {"not_logged": 9}),
        PersonFlow(True, 0, {}),
        PersonFlow(False, 0, {}),
    ]
    rows: list[dict[str, Any]] = flow(people).to_pylist()
    at = {(row["step"], row["reason"]): (row["n_participants"], row["n_nights"]) for row in rows}
    assert at["enrolled", ""] == (5, None)
    assert at["exported", ""] == (4, None)
    assert at["nights", ""] == (3, 96)
    assert at["excluded", "not_logged"] == (1, 16)
    assert at["excluded", "few_pairs"] == (1, 15)
    assert at["analysed", ""] == (1, 58)
    gone = [row for row in rows if row["step"] == "excluded"]
    assert sum(row["n_participants"] for row in gone) + 1 == 5
    assert sum(row["n_nights"] for row in gone) + 58 == 96
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize("people", [[], [PersonFlow(False, 0, {})]])
def test_nobody(people: list[PersonFlow]) -> None:
    rows = flow(people).to_pylist()
    assert (rows[0]["n_participants"], rows[-1]["n_participants"], rows[-1]["n_nights"]) == (len(people), 0, 0)

"""Rows of `association`: who is in them, what is corrected together, and the declared primary (decided rule 14)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from ingest._core.settings_association import Association, Primary
from ingest.mart.association import COHORT_ID, association, person_blocks
from ingest.mart.pooled import pool
from ingest.mart.series import OUTCOMES, Series
from mart.association_rows import doses, noise, person, row_of

PRIMARY = Primary(substance="kratom", exposure="amount_day", outcome="tst")
SETTINGS = Association(min_people=3, primary=PRIMARY)
AT = {"exposure": "amount_day", "anchor": "usual", "outcome": "tst", "basis": "wearable"}


def somebody(number: int, days: int = 60) -> Series:
    rng = np.random.default_rng([29, number])
    amount = doses(rng, days)
    tst = 400 - 3 * amount + noise(rng, days, 1)[:, 0]
    return person(amount, {("tst", "wearable"): tst, ("waso", "wearable"): 60 - tst / 10 + rng.normal(0, 5, days)},
                  pid=f"p{number}")  # fmt: skip


@pytest.fixture(scope="module")
def people() -> list[Series]:
    return [*(somebody(number) for number in range(4)), somebody(4, days=20)]


@pytest.fixture(scope="module")
def table(people: list[Series]) -> Any:
    return association([block for of in people for block in person_blocks(of, SETTINGS)], [], SETTINGS)


def test_everybody_has_a_row_and_the_cohort_counts_who_has_no_estimate(table: Any) -> None:
    whole = row_of(table, **AT, lag=0, participant_id=COHORT_ID, method="random_effects")
    assert (whole["n_participants"], whole["n_excluded"], whole["n_nights"]) == (4, 1, 240)
    alone = row_of(table, **AT, lag=0, participant_id="p4", is_primary=True)
    assert (alone["n_nights"], alone["estimable"], alone["reason"], alone["estimate"]) == (20, False, "few_pairs", None)


def test_the_pooled_row_by_the_formulas(table: Any) -> None:
    """Paule and Mandel's variance solves Q = people - 1; Hartung and Knapp's error is the weighted scatter."""
    rows = [row for row in table.to_pylist() if row["estimable"] and row["level"] == "participant" and row["lag"] == 0
            and all(row[name] == value for name, value in AT.items()) and not row["sensitivity_of"]]  # fmt: skip
    effect, variance = (np.array([f(row) for row in rows]) for f in (
        lambda row: row["estimate"], lambda row: row["std_error"] ** 2))  # fmt: skip

    def excess(tau2: float) -> float:
        weight = 1 / (variance + tau2)
        return float((weight * (effect - (weight * effect).sum() / weight.sum()) ** 2).sum() - (len(effect) - 1))

    tau2 = optimize.brentq(excess, 0, 1e4) if excess(0) > 0 else 0.0
    weight = 1 / (variance + tau2)
    mean = (weight * effect).sum() / weight.sum()
    error = np.sqrt((weight * (effect - mean) ** 2).sum() / weight.sum() / (len(effect) - 1))
    half = stats.t.ppf(0.975, len(effect) - 1) * error
    whole = row_of(table, **AT, lag=0, participant_id=COHORT_ID, method="random_effects")
    assert whole["estimate"] == pytest.approx(mean, rel=1e-5)
    assert [whole["ci_low"], whole["ci_high"]] == pytest.approx([mean - half, mean + half], rel=1e-5)


def test_few_people_have_no_pooled_row() -> None:
    found = pool(np.array([[1.0], [2.0]]), np.ones((2, 1)), np.ones((2, 1), bool), 3)
    assert np.isnan(found.estimate).all()


def test_families_and_their_false_discovery_rate(table: Any) -> None:
    """Benjamini and Hochberg by definition: the smallest p m / rank of those not smaller."""
    rows = [
        row for row in table.to_pylist() if row["estimable"] and not row["is_primary"] and not row["sensitivity_of"]
    ]
    for family in ("participant", "cohort", "participant_reverse", "cohort_reverse"):
        level, _, reverse = family.partition("_")
        mine = [row for row in rows if row["level"] == level and (row["lag"] < 0) == bool(reverse)]
        assert len(mine) > 5
        assert {row["family"] for row in mine} == {family}
        ranked = sorted(mine, key=lambda row: row["p_value"])
        q = [row["p_value"] * len(ranked) / rank for rank, row in enumerate(ranked, start=1)]
        wanted = [min(1, *q[at:]) for at in range(len(q))]
        assert [row["q_value"] for row in ranked] == pytest.approx(wanted)


def test_the_primary_stands_alone(table: Any) -> None:
    rows = [row for row in table.to_pylist() if row["is_primary"]]
    assert {row["participant_id"] for row in rows} == {"p0", "p1", "p2", "p3", "p4", COHORT_ID}
    assert {(row["family"], row["q_value"]) for row in rows if row["estimable"]} == {("primary", None)}
    assert all(row[name] == value for row in rows for name, value in (AT | {"lag": 0}).items())


def test_the_night_before_enters_as_sensitivity_only(table: Any) -> None:
    rows = [row for row in table.to_pylist() if row["sensitivity_of"]]
    assert len(rows) == 6
    assert {(row["family"], row["q_value"], row["is_primary"]) for row in rows} == {(None, None, False)}
    assert all("outcome_of_night_before" in row["covariates"] for row in rows)
    assert not any("outcome_of_night_before" in row["covariates"] for row in table.to_pylist() if row not in rows)
    whole = row_of(table, **AT, lag=0, method="random_effects_lagged_outcome")
    assert (whole["sensitivity_of"], whole["n_participants"]) == ("random_effects", 4)


def test_the_sensitivity_row_is_least_squares_with_the_night_before(people: list[Series], table: Any) -> None:
    y = people[0].values["tst", "wearable"][1:]
    x = people[0].doses["kratom", "g"].amount_day[1:]
    design = np.column_stack([x, np.ones(59), np.arange(59.0), people[0].values["tst", "wearable"][:-1]])
    wanted = np.linalg.lstsq(design, y)[0][0]
    row = next(row for row in table.to_pylist() if row["participant_id"] == "p0" and row["sensitivity_of"])
    assert row["estimate"] == pytest.approx(wanted, rel=1e-9)
    assert row["method"] == row["sensitivity_of"] + "_lagged_outcome"


def test_onset_is_bound_to_its_own_anchor(table: Any) -> None:
    rows = [
        row for row in table.to_pylist() if row["anchor"] == "onset" and row["outcome"] in ("onset", "midsleep", "sol")
    ]
    assert len(rows) > 100
    assert {(row["estimable"], row["reason"], row["estimate"]) for row in rows} == {(False, "coupled", None)}


def test_every_combination_has_a_row(table: Any) -> None:
    """Per person and for the cohort 7 exposures, 2 anchors, 3 lags, 11 outcomes, and the sensitivity of the primary."""
    assert len(table) == 6 * (7 * 2 * 3 * len(OUTCOMES) + 1)
    assert all((row["reason"] is None) == row["estimable"] for row in table.to_pylist())


def test_the_order_of_people_changes_nothing(people: list[Series], table: Any) -> None:
    blocks = [block for of in reversed(people) for block in person_blocks(of, SETTINGS)]
    assert association(blocks, [], SETTINGS).equals(table)


def test_a_primary_that_is_coupled_is_refused() -> None:
    with pytest.raises(ValueError, match="use anchor: usual"):
        Primary(substance="kratom", exposure="amount_since_wake", outcome="onset", anchor="onset")

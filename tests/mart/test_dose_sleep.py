"""The five answers, and what the rows of `dose_sleep` hold (decided rule 15)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ingest._core.settings_association import Association, DoseSleep
from ingest.mart.dose_sleep import BETTER, NOT, OPEN, SAME, WORSE, answer, dose_sleep, person_cells
from ingest.mart.series import NONE_REPORTED, Series
from mart.association_rows import doses, noise, person, row_of

SETTINGS = Association(min_people=2)


@pytest.mark.parametrize(("outcome", "margin", "low", "high", "said"), [
    ("tst", 20, 5, 30, BETTER), ("tst", 20, -30, -5, WORSE), ("tst", 20, -5, 30, OPEN), ("tst", 20, -19, 20, SAME),
    ("tst", 20, 5, 20, SAME), ("tst", None, -1, 1, OPEN), ("tst", None, 1, 2, BETTER),
    ("waso", 10, -30, -5, BETTER), ("waso", 10, 5, 30, WORSE), ("sol", None, -3, -1, BETTER), ("se", 2, 1, 4, BETTER),
])  # fmt: skip
def test_answers(outcome: Any, margin: float | None, low: float, high: float, said: str) -> None:
    assert answer(True, low, high, DoseSleep(outcome=outcome, margin=margin)) == said
    assert answer(False, low, high, DoseSleep(outcome=outcome, margin=margin)) == NOT


def somebody(number: int, bands: bool = True) -> Series:
    """120 days, first in one phase then in another; bands under and from 5 g."""
    rng = np.random.default_rng([31, number])
    amount = doses(rng, 120)
    tst = 420 - 8 * amount + noise(rng, 120, 1)[:, 0]
    waso = np.where(np.arange(120) % 9 == 0, np.nan, 40 + noise(rng, 120, 1, sd=5)[:, 0])
    of = person(amount, {("tst", "wearable"): tst, ("waso", "wearable"): waso}, pid=f"p{number}",
                phase=[0] * 50 + [1] * 70, phases=("baseline", "taper", ""))  # fmt: skip
    dose = of.doses["kratom", "g"]
    band = np.where(amount == 0, 0, np.where(amount < 5, 1, 2)) if bands else dose.band
    since = np.where(dose.status == NONE_REPORTED, 1.0, np.nan)
    labels = ("none", "[0,5)", "[5,inf)") if bands else dose.labels
    of.doses["kratom", "g"] = replace(dose, band=band, labels=labels, days_since=since)
    return of


@pytest.fixture(scope="module")
def table() -> Any:
    return dose_sleep([cell for number in (1, 2) for cell in person_cells(somebody(number), SETTINGS)], SETTINGS)


def test_counts_and_means_by_band_and_phase(table: Any) -> None:
    of = somebody(1)
    amount, tst, waso = of.doses["kratom", "g"].amount_day, *(of.values[name, "wearable"] for name in ("tst", "waso"))
    early = np.arange(120) < 50
    for phase, here in (("all", early | ~early), ("baseline", early), ("taper", ~early)):
        for band, mine in (("[0,5)", (amount > 0) & (amount < 5)), ("[5,inf)", amount >= 5), ("none", amount == 0)):
            row = row_of(
                table, participant_id="p1", basis="wearable", phase=phase, dose_band=band, days_since_dose="all"
            )
            assert row["n_nights"] == (mine & here).sum()
            assert row["tst_mean_min"] == pytest.approx(tst[mine & here].mean())
            assert row["waso_mean_min"] == pytest.approx(np.nanmean(waso[mine & here]))
            assert (row["answer"], row["se_mean_pct"]) == (None, None)


def test_a_bands_difference_is_from_the_other_dosed_nights(table: Any) -> None:
    """Least squares written out, on nights with a dose only."""
    of = somebody(1)
    amount, day = of.doses["kratom", "g"].amount_day, np.arange(120.0)
    late = day >= 50
    used = amount > 0
    design = np.column_stack([amount < 5, ~late, late, day * ~late, day * late]).astype(float)[used]
    wanted = np.linalg.lstsq(design, of.values["tst", "wearable"][used])[0][0]
    row = row_of(table, participant_id="p1", basis="wearable", phase="all", dose_band="[0,5)")
    assert row["tst_diff_min"] == pytest.approx(wanted, rel=1e-9)
    assert row["tst_diff_low_min"] < wanted < row["tst_diff_high_min"]


def test_the_answer_is_of_the_lower_quartile_against_the_upper(table: Any) -> None:
    of = somebody(1)
    amount, day = of.doses["kratom", "g"].amount_day, np.arange(120.0)
    late = day >= 50
    used = amount > 0
    design = np.column_stack([amount, ~late, late, day * ~late, day * late]).astype(float)[used]
    slope = np.linalg.lstsq(design, of.values["tst", "wearable"][used])[0][0]
    apart = np.quantile(amount[used], 0.25) - np.quantile(amount[used], 0.75)
    row = row_of(table, participant_id="p1", basis="wearable", phase="all", dose_band="all")
    assert row["tst_diff_min"] == pytest.approx(slope * apart, rel=1e-9)
    assert (row["n_nights"], row["answer"], row["answer_outcome"]) == (used.sum(), BETTER, "tst")


def test_no_dose_is_shown_by_phase_and_days_since_the_last(table: Any) -> None:
    rows = [row for row in table.to_pylist() if row["dose_band"] == "none" and row["participant_id"] == "p1"]
    assert {(row["phase"], row["days_since_dose"]) for row in rows} == {
        (phase, since) for phase in ("all", "baseline", "taper") for since in ("all", "1")}  # fmt: skip


def test_the_cohort_is_pooled_from_its_people(table: Any) -> None:
    rows = [row_of(table, participant_id=pid, basis="wearable", phase="all", dose_band="all")
            for pid in ("p1", "p2", "_cohort")]  # fmt: skip
    assert rows[2]["n_nights"] == rows[0]["n_nights"] + rows[1]["n_nights"]
    assert rows[2]["n_participants"] == 2
    assert rows[2]["tst_mean_min"] == pytest.approx((rows[0]["tst_mean_min"] + rows[1]["tst_mean_min"]) / 2)
    low, high = sorted(row["tst_diff_min"] for row in rows[:2])
    assert low <= rows[2]["tst_diff_min"] <= high


def test_without_diary_nights_the_diary_has_no_answer(table: Any) -> None:
    row = row_of(table, participant_id="p1", basis="diary", phase="all", dose_band="all")
    assert (row["n_nights"], row["answer"], row["reason"]) == (0, NOT, "few_pairs")


def test_without_bands_there_are_nights_with_and_without_a_dose() -> None:
    table = dose_sleep(person_cells(somebody(1, bands=False), SETTINGS), SETTINGS)
    assert {row["dose_band"] for row in table.to_pylist() if row["level"] == "participant"} == {"all", "dosed", "none"}


def test_inconclusive_says_whether_a_margin_was_declared() -> None:
    of = somebody(3)
    of.values["tst", "wearable"][:] = 400 + noise(np.random.default_rng(1), 120, 1)[:, 0]
    for margin, reason in ((None, "no_margin_declared"), (0.001, "interval_too_wide")):
        settings = Association(dose_sleep=DoseSleep(margin=margin))
        row = row_of(dose_sleep(person_cells(of, settings), settings), participant_id="p3", basis="wearable",
                     phase="all", dose_band="all")  # fmt: skip
        assert (row["answer"], row["reason"]) == (OPEN, reason)

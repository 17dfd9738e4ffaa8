"""Amounts into canonical units, against the golden cases and by hand arithmetic."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.harmonise._unit_words import parse_unit
from ingest.harmonise.substances import registry
from ingest.harmonise.units import Reports, convert, mme

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "units.json").read_text())


def converted(substance: str, amount: float | None, unit: str | None, **more: Any) -> dict[str, Any]:
    """The columns that follow from one report."""
    report = Reports(
        substances=[registry()[substance]],
        substance=np.zeros(1, dtype=np.int64),
        no_use=np.array([more.get("no_use", False)]),
        amount=np.array([math.nan if amount is None else amount]),
        **{
            name: pa.array([value], pa.string())
            for name, value in (
                ("unit", unit),
                ("product_form", more.get("form")),
                ("route", more.get("route")),
                ("reasons", more.get("reasons")),
            )
        },
        mitragynine_mg=np.array([more.get("mg", math.nan)], dtype=float),
        mitragynine_pct=np.array([more.get("pct", math.nan)], dtype=float),
    )
    found = convert(report)
    return {
        "amount": found.amount[0].as_py(),
        "basis": found.amount_basis[0].as_py(),
        "mitragynine_mg": found.mitragynine_mg[0].as_py(),
        "mme_mg": found.mme_mg[0].as_py(),
        "flags": sorted(word for word, mask in found.flags.items() if mask[0]),
        "unknown_unit": bool(found.unknown_unit[0]),
    }


@pytest.mark.parametrize("case", GOLDEN["mme_cases"], ids=lambda case: case["drug"])
def test_golden_equivalents_of_a_day(case: dict[str, Any]) -> None:
    drug = case["drug"].removesuffix("_transdermal_mcg_per_h")
    amount = case.get("mg_per_day", case.get("mcg_per_h"))
    assert mme(registry()[drug], amount) == (None if case["mme"] is None else pytest.approx(case["mme"]))


@pytest.mark.parametrize(
    "case", [each for each in GOLDEN["mme_cases"] if "mg_per_day" in each], ids=lambda case: case["drug"]
)
def test_golden_equivalents_of_a_use(case: dict[str, Any]) -> None:
    found = converted(case["drug"], case["mg_per_day"], "mg")
    assert found["mme_mg"] == (None if case["mme"] is None else pytest.approx(case["mme"]))
    assert found["flags"] == (["no_mme_factor"] if case["mme"] is None else [])


def test_a_patch_has_no_equivalents_without_a_wearing_time() -> None:
    found = converted("fentanyl", 25, "mcg/h", form="patch")
    assert (found["amount"], found["basis"]) == (None, "unit_of_another_kind")
    assert (found["mme_mg"], found["flags"]) == (None, ["no_mme_patch"])
    assert converted("fentanyl", 0.1, "mg")["mme_mg"] is None


GOLDEN_KRATOM = [
    ("capsule", 8, "capsule_500mg", None),
    ("powder", 1.5, "tsp", None),
    ("extract", 15, "ml of 10 mg/ml", None),
    ("powder", 4000, "mg", None),
    ("powder", 4.0, "g", 1.33),
    ("powder", 0.5, "g", 1.33),
]


@pytest.mark.parametrize(("ours", "case"), list(zip(GOLDEN_KRATOM, GOLDEN["kratom_cases"], strict=True)))
def test_golden_kratom(ours: tuple[str, float, str, float | None], case: dict[str, Any]) -> None:
    form, amount, unit, pct = ours
    assert form == case["form"]
    found = converted("kratom", amount, unit, form=form, pct=math.nan if pct is None else pct)
    assert found["amount"] == (None if case["leaf_g"] is None else pytest.approx(case["leaf_g"], rel=1e-15))
    if "mitragynine_mg" in case:
        assert found["mitragynine_mg"] == pytest.approx(case["mitragynine_mg"])
    assert (found["mme_mg"], found["flags"]) == (None, ["no_mme_factor"])


@pytest.mark.parametrize("case", GOLDEN["alcohol_cases"])
def test_golden_alcohol(case: dict[str, Any]) -> None:
    if "country" in case:
        amount, unit = case["std_drinks"], f"std_drink_{case['country'].lower()}"
    else:
        amount, unit = case["volume_ml"], f"ml of {case['abv_pct']} %"
    assert converted("alcohol", amount, unit)["amount"] == pytest.approx(case["ethanol_g"], rel=1e-15)


@pytest.mark.parametrize(
    ("substance", "amount", "unit", "form", "expected"),
    [
        ("kratom", 3, "g", None, (3.0, "reported")),
        ("kratom", 3, "GRAMS", None, (3.0, "reported")),
        ("kratom", 250, "µg", None, (0.00025, "converted")),
        ("oxycodone", 5, "mg", None, (5.0, "reported")),
        ("oxycodone", 0.005, "g", None, (5.0, "converted")),
        ("oxycodone", 2, "5 mg tablets", None, (10.0, "converted")),
        ("methadone", 4, "ml of 10 mg/ml", None, (40.0, "converted")),
        ("methadone", 4, "ml", None, (None, "no_strength")),
        ("caffeine", 2, "cup of 95 mg", None, (190.0, "converted")),
        ("caffeine", 2, "cups", None, (None, "no_strength")),
        ("kratom", 3, "capsules", None, (None, "no_strength")),
        ("kratom", 3, "tablespoons", None, (None, "no_density")),
        ("kratom", 2, "g", "extract", (None, "unit_of_another_kind")),
        ("kratom", 2, "std_drink_us", None, (None, "unit_of_another_kind")),
        ("kratom", 2, "ml of 5 %", None, (None, "unit_of_another_kind")),
        ("alcohol", 2, "standard drinks", None, (None, "no_strength")),
        ("alcohol", 2, "ml of 10 mg/ml", None, (None, "unit_of_another_kind")),
        ("alcohol", 2, "cl of 40 pct", None, (2 * 10 * 0.40 * 0.789, "converted")),
        ("alcohol", 14, "g", None, (14.0, "reported")),
        ("kratom", 3, "blops", None, (None, "unknown_unit")),
        ("kratom", 3, "gr", None, (None, "unknown_unit")),
        ("kratom", 3, None, None, (None, "unknown_unit")),
        ("kratom", None, "blops", None, (None, "not_reported")),
        ("kratom", None, None, None, (None, "not_reported")),
    ],
)
def test_amounts_and_their_basis(
    substance: str,
    amount: float | None,
    unit: str | None,
    form: str | None,
    expected: tuple[float | None, str],
) -> None:
    found = converted(substance, amount, unit, form=form)
    value = None if expected[0] is None else pytest.approx(expected[0], rel=1e-14)
    assert (found["amount"], found["basis"]) == (value, expected[1])
    assert found["unknown_unit"] == (expected[1] == "unknown_unit")


def test_a_stated_no_is_nothing_of_everything_that_counts() -> None:
    none = converted("oxycodone", None, None, no_use=True)
    assert (none["amount"], none["basis"], none["mme_mg"]) == (0.0, "stated_none", 0.0)
    assert none["mitragynine_mg"] is None
    kratom = converted("kratom", None, "blops", no_use=True)
    assert (kratom["amount"], kratom["mitragynine_mg"], kratom["mme_mg"]) == (0.0, 0.0, None)
    assert (kratom["flags"], kratom["unknown_unit"]) == ([], False)


def test_mitragynine_as_reported_goes_before_what_is_computed() -> None:
    assert converted("kratom", 4, "g", pct=1.33, mg=50)["mitragynine_mg"] == 50
    assert converted("kratom", 2, "g", form="extract", pct=45)["mitragynine_mg"] == pytest.approx(900)
    assert converted("kratom", 4, "g")["mitragynine_mg"] is None
    assert converted("mitragynine", 25, "mg")["mitragynine_mg"] == 25
    assert converted("kratom", 3, "tsp", pct=1.33)["mitragynine_mg"] is None


@pytest.mark.parametrize(
    ("substance", "more", "flag"),
    [
        ("morphine", {"route": "injection"}, "no_mme_injected"),
        ("morphine", {"route": "transdermal"}, "no_mme_patch"),
        ("buprenorphine", {}, "no_mme_factor"),
        ("heroin", {}, "no_mme_factor"),
        ("methadone", {"reasons": "maintenance,pain"}, "no_mme_maintenance"),
    ],
)
def test_where_no_factor_is_accepted_the_reason_stands(substance: str, more: dict[str, Any], flag: str) -> None:
    found = converted(substance, 10, "mg", **more)
    assert (found["amount"], found["mme_mg"], found["flags"]) == (10.0, None, [flag])


def test_methadone_for_pain_has_its_factor() -> None:
    assert converted("methadone", 10, "mg", reasons="pain")["mme_mg"] == pytest.approx(47)
    assert converted("morphine", 10, "mg", route="oral", reasons="maintenance")["mme_mg"] == 10
    assert converted("alcohol", 10, "g")["flags"] == []


REPORTS = st.tuples(
    st.sampled_from(["kratom", "oxycodone", "alcohol"]),
    st.sampled_from(["g", "mg", "tsp", None]),
    st.sampled_from(["powder", "extract", None]),
    st.floats(0, 1e6),
)


@given(st.lists(REPORTS, min_size=1, max_size=30))
def test_a_column_converts_like_its_single_reports(
    rows: list[tuple[str, str | None, str | None, float]],
) -> None:
    names = sorted({row[0] for row in rows})
    found = convert(
        Reports(
            substances=[registry()[name] for name in names],
            substance=np.array([names.index(row[0]) for row in rows]),
            no_use=np.zeros(len(rows), dtype=bool),
            amount=np.array([row[3] for row in rows]),
            unit=pa.array([row[1] for row in rows], pa.string()),
            product_form=pa.array([row[2] for row in rows], pa.string()),
            route=pa.nulls(len(rows), pa.string()),
            reasons=pa.nulls(len(rows), pa.string()),
            mitragynine_mg=np.full(len(rows), math.nan),
            mitragynine_pct=np.full(len(rows), 1.5),
        )
    )
    for i, (substance, unit, form, amount) in enumerate(rows):
        single = converted(substance, amount, unit, form=form, pct=1.5)
        columns = (found.amount, found.amount_basis, found.mitragynine_mg, found.mme_mg)
        assert [column[i].as_py() for column in columns] == [
            single[name] for name in ("amount", "basis", "mitragynine_mg", "mme_mg")
        ]


@pytest.mark.parametrize("text", ["", "ＭＧ", "2 mg", "mg/kg", "g g", "mgs of stuff", "ml of x mg/ml", "capsule of mg"])
def test_words_that_are_no_unit(text: str) -> None:
    assert parse_unit(text) is None


@pytest.mark.parametrize(
    "text",
    ["capsule_500mg", "Capsules of 500 mg", "500mg capsule", "cap 500 mg", "0.5 g caps", "tablet_0.5g"],
)
def test_a_piece_with_its_strength_is_a_mass(text: str) -> None:
    unit = parse_unit(text)
    assert unit is not None
    assert (unit.kind, unit.numerator / unit.denominator) == ("mass", 500)

"""Amounts as reported into canonical units: exact where the unit says enough, NULL with the reason else.

Masses are exact. A capsule, a spoon or a millilitre is no mass without its strength, and a drink no ethanol
without its country: nothing is guessed. Opioids also get morphine milligram equivalents by the factors of
the CDC's 2022 guideline (decided rule 19); buprenorphine and kratom have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.harmonise._codes import combinations, spread, words_of
from ingest.harmonise._unit_words import Unit, is_capsule, is_teaspoon, parse_unit
from ingest.harmonise.substances import Substance

Basis = Literal[
    "reported",
    "converted",
    "not_reported",
    "no_strength",
    "no_density",
    "unknown_unit",
    "unit_of_another_kind",
    "stated_none",
]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]

_BASES: tuple[Basis, ...] = get_args(Basis)
_EXTRACTS = ("extract", "shot", "tincture", "resin")
_INJECTED = ("injection", "injected", "injecting", "intravenous", "iv", "intramuscular", "im", "subcutaneous")
_PATCHES = ("patch", "transdermal", "patches")
_MAINTENANCE = "oud|opioid_use_disorder|maintenance|opioid_substitution|opioid_substitute|mat|moud"


@dataclass(frozen=True)
class Conversion:
    """How one combination of substance, unit and form converts.

    An amount times `numerator / denominator` is canonical, times `product_mg` is mg of product, times
    `mitragynine_mg` is mg of mitragynine; NaN where it is not.
    """

    basis: Basis
    numerator: float = np.nan
    denominator: float = 1.0
    product_mg: float = np.nan
    mitragynine_mg: float = np.nan


@dataclass(frozen=True)
class Amounts:
    """Columns of substance_use that follow from an amount; `flags` by word, `unknown_unit` as a mask."""

    amount: pa.Array
    amount_basis: pa.Array
    mitragynine_mg: pa.Array
    mme_mg: pa.Array
    flags: Mapping[str, Bools]
    unknown_unit: Bools


@dataclass(frozen=True)
class Reports:
    """What was reported, one element per use; numbers are NaN where nothing was."""

    substances: Sequence[Substance]
    substance: NDArray[np.int64]
    no_use: Bools
    amount: Floats
    unit: pa.Array
    product_form: pa.Array
    route: pa.Array
    reasons: pa.Array
    mitragynine_mg: Floats
    mitragynine_pct: Floats


def conversion(substance: Substance, unit: str | None, product_form: str | None) -> Conversion:
    """How amounts of `substance` in `unit` become canonical; the basis says why where they do not."""
    parsed = None if unit is None else parse_unit(unit)
    if unit is None or parsed is None:
        return Conversion("unknown_unit")
    parsed = _as_the_study_states(substance, unit, parsed)
    if parsed.kind in ("bare", "spoon"):
        return Conversion("no_density" if parsed.kind == "spoon" else "no_strength")
    is_kratom = substance.code == "kratom"
    mg = parsed.numerator / parsed.denominator
    if parsed.kind == "solution" and is_kratom:
        return Conversion("no_strength", mitragynine_mg=mg)
    if parsed.kind == "mass" and is_kratom and _is_extract(product_form):
        return Conversion("unit_of_another_kind", product_mg=mg)
    if parsed.kind == "rate" or (parsed.kind != "mass" and (parsed.kind == "ethanol") != _is_drink(substance)):
        return Conversion("unit_of_another_kind")
    per = 1000 if substance.unit == "g" else 1
    same = parsed.is_plain and parsed.numerator == per
    return Conversion("reported" if same else "converted", parsed.numerator, parsed.denominator * per, product_mg=mg)


def _as_the_study_states(substance: Substance, unit: str, parsed: Unit) -> Unit:
    """A capsule or a teaspoon as a mass, where the study says what one holds of this substance."""
    if parsed.kind == "bare" and substance.mg_per_capsule is not None and is_capsule(unit):
        return Unit("mass", substance.mg_per_capsule)
    if parsed.kind == "spoon" and substance.g_per_tsp is not None and is_teaspoon(unit):
        return Unit("mass", substance.g_per_tsp * 1000)
    return parsed


def mme(substance: Substance, amount: float) -> float | None:
    """Morphine milligram equivalents of a day's `amount`, in the factor's own unit; None without a factor."""
    return None if substance.mme_factor is None else amount * substance.mme_factor


def why_no_mme(substance: Substance, product_form: str | None, route: str | None, maintenance: bool) -> str | None:
    """The flag that says why a use has no equivalents; None if it has, or nobody would ask for them."""
    if substance.mme_factor is None:
        return "no_mme_factor" if substance.mme_reason else None
    if substance.mme_unit != "mg" or product_form in _PATCHES or route in _PATCHES:
        return "no_mme_patch"
    if route in _INJECTED:
        return "no_mme_injected"
    return "no_mme_maintenance" if maintenance and substance.code == "methadone" else None


def convert(reports: Reports) -> Amounts:
    """Canonical amounts of all uses; each different combination of words is looked up once."""
    maintenance = _says(reports.reasons, _MAINTENANCE)
    examples, which = _combinations(reports, maintenance)
    substances = [reports.substances[code] for code in reports.substance[examples]]
    units, forms, routes = (
        column.take(pa.array(examples)).to_pylist() for column in (reports.unit, reports.product_form, reports.route)
    )
    how = [conversion(*each) for each in zip(substances, units, forms, strict=True)]
    why = [why_no_mme(*each) for each in zip(substances, forms, routes, maintenance[examples].tolist(), strict=True)]
    factor = [np.nan if w or s.mme_factor is None else s.mme_factor for s, w in zip(substances, why, strict=True)]
    canonical = reports.amount * _spread(how, "numerator", which) / _spread(how, "denominator", which)
    canonical[reports.no_use] = 0.0
    basis = np.array([_BASES.index(each.basis) for each in how], dtype=np.int8)[which]
    basis[np.isnan(reports.amount)] = _BASES.index("not_reported")
    basis[reports.no_use] = _BASES.index("stated_none")
    mitragynine = _mitragynine(reports, how, which, substances, canonical)
    return Amounts(
        amount=_nullable(canonical),
        amount_basis=spread(_BASES, basis),
        mitragynine_mg=_nullable(mitragynine),
        mme_mg=_nullable(canonical * np.array(factor, dtype=np.float64)[which]),
        flags={
            word: np.array([each == word for each in why], dtype=np.bool_)[which] & ~reports.no_use
            for word in sorted(set(filter(None, why)))
        },
        unknown_unit=basis == _BASES.index("unknown_unit"),
    )


def _mitragynine(
    reports: Reports, how: list[Conversion], which: Codes, substances: list[Substance], canonical: Floats
) -> Floats:
    """As reported; else by per cent of the product's mass, by the strength of a liquid, or as the drug."""
    by_mass = reports.amount * _spread(how, "product_mg", which) * reports.mitragynine_pct / 100
    by_volume = reports.amount * _spread(how, "mitragynine_mg", which)
    is_drug = np.array([each.code == "mitragynine" for each in substances], dtype=np.bool_)[which]
    holds_none = np.array([each.substance_class == "kratom" for each in substances], dtype=np.bool_)[which]
    mg = reports.mitragynine_mg.copy()
    for other in (by_mass, by_volume, np.where(is_drug, canonical, np.nan)):
        mg = np.where(np.isnan(mg), other, mg)
    return np.where(holds_none & reports.no_use, 0.0, mg)


def _combinations(reports: Reports, maintenance: Bools) -> tuple[Codes, Codes]:
    """A row of each combination of substance, unit, form, route and purpose, and every row's combination."""
    words = [words_of(column) for column in (reports.unit, reports.product_form, reports.route)]
    parts = [(column.codes, len(column.values)) for column in words]
    return combinations((reports.substance, len(reports.substances)), *parts, (maintenance.astype(np.int8), 2))


def _says(words: pa.Array, pattern: str) -> Bools:
    found = words_of(words)
    asked = re.compile(rf"(^|,)({pattern})(,|$)")
    said = np.array([asked.search(word or "") is not None for word in found.values], dtype=np.bool_)
    mask: Bools = said[found.codes]
    return mask


def _spread(how: list[Conversion], name: str, which: Codes) -> Floats:
    return np.array([getattr(each, name) for each in how], dtype=np.float64)[which]


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _is_extract(product_form: str | None) -> bool:
    return product_form is not None and any(word in product_form for word in _EXTRACTS)


def _is_drink(substance: Substance) -> bool:
    return substance.substance_class == "alcohol"

"""The registry of substances: one code per drug, its class, its canonical unit, what is known of strength.

The data stand in _core/substances.json. A name the registry does not know keeps its row: it becomes a code of its
own, made of its letters, of class `unknown`, and is flagged. A study may add substances, and what it knows of
those that are here (`substances:` of study.yaml): wherever `own` is asked for, it means these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Literal

from ingest._core.errors import WrongUse
from ingest._core.files import digest
from ingest._core.settings import OwnSubstance
from ingest._core.settings_codes import contradictions

UNKNOWN_CLASS = "unknown"
UNKNOWN_FLAG = "unknown_substance"
MAX_CODE = 40
_FALLBACK = "other"


@dataclass(frozen=True)
class Substance:
    """One drug. `unit` is the canonical one of its amounts: g of leaf or ethanol, mg else.

    `mme_factor` counts per `mme_unit`; NULL with `mme_reason` where no factor is accepted for a substance
    that could be asked for one. `extreme_per_use`, in the canonical unit, marks reports to look at.
    `mg_per_capsule` and `g_per_tsp` are what the study states of its product.
    """

    code: str
    name: str
    substance_class: str
    unit: Literal["g", "mg"]
    synonyms: tuple[str, ...] = ()
    unii: str | None = None
    mme_factor: float | None = None
    mme_unit: Literal["mg", "mcg/h"] = "mg"
    mme_reason: str | None = None
    extreme_per_use: float | None = None
    mg_per_capsule: float | None = None
    g_per_tsp: float | None = None


Own = tuple[OwnSubstance, ...]


@cache
def registry(own: Own = ()) -> Mapping[str, Substance]:
    """Every substance by code, in the order of substances.json, the study's new ones last.

    Raises WrongUse where the study's substances contradict the registry or each other.
    """
    for place, told in contradictions(own):
        raise WrongUse(f"study.yaml, {'.'.join(map(str, place))}: {told}")
    found = {entry["code"]: _substance(entry) for entry in json.loads(_text())["substances"]}
    for each in own:
        known = found.get(each.code)
        found[each.code] = _new(each) if known is None else _added(known, each)
    return found


@cache
def registry_digest(own: Own = ()) -> str:
    """Hash of the registry: harmonised uses depend on it."""
    return digest(_text(), *(each.model_dump_json() for each in own))


def class_and_unit(own: Own = ()) -> dict[str, tuple[str, str]]:
    """Class and canonical unit by code."""
    return {code: (each.substance_class, each.unit) for code, each in registry(own).items()}


@lru_cache(maxsize=4096)
def resolve(name: str | None, own: Own = ()) -> tuple[Substance, bool]:
    """The substance meant by `name` (a code, a name or a synonym), and whether the registry knows it.

    Case, blanks, hyphens and underscores make no difference. An unknown name becomes a code of at most 40 of
    [a-z0-9_]; one without any such character becomes `other`.
    """
    every = registry(own)
    found = _by_key(tuple(every.values())).get(_key(name or ""))
    if found is not None:
        return found, True
    code = re.sub(r"[^a-z0-9]+", "_", (name or "").lower()).strip("_")[:MAX_CODE].strip("_")
    if not code:
        return every[_FALLBACK], False
    return Substance(code, code, UNKNOWN_CLASS, "mg"), False


@lru_cache(maxsize=16)
def _by_key(every: tuple[Substance, ...]) -> dict[str, Substance]:
    return {_key(name): each for each in every for name in (each.code, each.name, *each.synonyms)}


def _new(own: OwnSubstance) -> Substance:
    assert own.substance_class is not None
    assert own.unit is not None
    asked = own.substance_class in ("opioid", "kratom")
    plain = Substance(own.code, own.code, own.substance_class, own.unit,
                      mme_reason="no accepted factor" if asked else None)  # fmt: skip
    return _added(plain, own)


def _added(known: Substance, own: OwnSubstance) -> Substance:
    """What is known, with what the study adds."""
    return replace(
        known,
        synonyms=(*known.synonyms, *own.names),
        extreme_per_use=own.extreme_per_use or known.extreme_per_use,
        mg_per_capsule=own.mg_per_capsule,
        g_per_tsp=own.g_per_tsp,
    )


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _substance(entry: dict[str, Any]) -> Substance:
    return Substance(
        code=entry["code"],
        name=entry["name"],
        substance_class=entry["class"],
        unit=entry["unit"],
        synonyms=tuple(entry["synonyms"]),
        unii=entry.get("unii"),
        mme_factor=entry.get("mme_factor"),
        mme_unit=entry.get("mme_unit", "mg"),
        mme_reason=entry.get("mme_reason"),
        extreme_per_use=entry.get("extreme_per_use"),
    )


def _text() -> str:
    return resources.files("ingest._core").joinpath("substances.json").read_text(encoding="utf-8")

"""The registry of substances: one code per drug, its class, its canonical unit, what is known of strength.

The data stand in substances.json. A name the registry does not know keeps its row: it becomes a code of its
own, made of its letters, of class `unknown`, and is flagged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Literal

from ingest._core.files import digest

UNKNOWN_CLASS = "unknown"
UNKNOWN_FLAG = "unknown_substance"
MAX_CODE = 40
_FALLBACK = "other"


@dataclass(frozen=True)
class Substance:
    """One drug. `unit` is the canonical one of its amounts: g of leaf or ethanol, mg else.

    `mme_factor` counts per `mme_unit`; NULL with `mme_reason` where no factor is accepted for a substance
    that could be asked for one. `extreme_per_use`, in the canonical unit, marks reports to look at.
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


@cache
def registry() -> Mapping[str, Substance]:
    """Every substance by code, in the order of substances.json."""
    return {entry["code"]: _substance(entry) for entry in json.loads(_text())["substances"]}


@cache
def registry_digest() -> str:
    """Hash of the registry: harmonised uses depend on it."""
    return digest(_text())


def class_and_unit() -> dict[str, tuple[str, str]]:
    """Class and canonical unit by code."""
    return {code: (each.substance_class, each.unit) for code, each in registry().items()}


@lru_cache(maxsize=4096)
def resolve(name: str | None) -> tuple[Substance, bool]:
    """The substance meant by `name` (a code, a name or a synonym), and whether the registry knows it.

    Case, blanks, hyphens and underscores make no difference. An unknown name becomes a code of at most 40 of
    [a-z0-9_]; one without any such character becomes `other`.
    """
    found = _by_key().get(_key(name or ""))
    if found is not None:
        return found, True
    code = re.sub(r"[^a-z0-9]+", "_", (name or "").lower()).strip("_")[:MAX_CODE].strip("_")
    if not code:
        return registry()[_FALLBACK], False
    return Substance(code, code, UNKNOWN_CLASS, "mg"), False


@cache
def _by_key() -> dict[str, Substance]:
    keys: dict[str, Substance] = {}
    for each in registry().values():
        for name in (each.code, each.name, *each.synonyms):
            keys.setdefault(_key(name), each)
    return keys


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
    return resources.files("ingest.harmonise").joinpath("substances.json").read_text(encoding="utf-8")

"""Codes of substances and classes in study.yaml: each must be in the registry or among the study's own."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ingest._core.settings import OwnSubstance, Settings

Place = tuple[str | int, ...]


def strange_codes(settings: Settings) -> Iterator[tuple[Place, str]]:
    """Where a code stands that neither the registry nor `substances` knows, and what is told of it.

    A mapping may also use a substance's other names; case, blanks, hyphens and underscores make no difference there.
    """
    known = {entry["code"]: entry for entry in _registry()}
    codes = [*known, *(own.code for own in settings.substances)]
    names = [name for entry in known.values() for name in (entry["name"], *entry["synonyms"])]
    names += [name for own in settings.substances for name in own.names]
    keys = {_key(name) for name in (*codes, *names)}
    for place, code in _exposed(settings):
        if code not in codes:
            yield place, _told("substance", code, codes)
    for place, code in _mapped(settings):
        if _key(code) not in keys:
            yield place, _told("substance", code, codes)
    classes = sorted({entry["class"] for entry in known.values()} | {"unknown"})
    yield from contradictions(settings.substances)
    for code, bands in settings.exposure.dose_bands.items():
        unit = _unit_of(code, known, settings.substances)
        if unit is not None and bands.unit != unit:
            yield ("exposure", "dose_bands", code, "unit"), f"amounts of {code} are in {unit}; give its bands in {unit}"
    for place, name in _classes(settings):
        if name not in classes:
            yield place, _told("class of substances", name, classes)


def contradictions(own: Sequence[OwnSubstance]) -> Iterator[tuple[Place, str]]:
    """Where an entry of `substances` contradicts the registry or another entry, and what is told of it."""
    entries = _registry()
    known = {entry["code"]: entry for entry in entries}
    classes = sorted({entry["class"] for entry in entries})
    meant = {
        _key(name): entry["code"] for entry in entries for name in (entry["code"], entry["name"], *entry["synonyms"])
    }
    for number, each in enumerate(own):
        place: Place = ("substances", number)
        entry = known.get(each.code)
        if entry is None:
            yield from _of_a_new_one(each, place, classes)
        else:
            for key, said, there in (
                ("class", each.substance_class, entry["class"]),
                ("unit", each.unit, entry["unit"]),
            ):
                if said not in (None, there):
                    yield (*place, key), (f"the registry has {each.code} with {key} {there}; leave `{key}` out, or "
                                          "choose another code")  # fmt: skip
        for at, name in ((("code",), each.code), *((("names", i), name) for i, name in enumerate(each.names))):
            other = meant.setdefault(_key(name), each.code)
            if other != each.code:
                yield (*place, *at), f"this is a name of {other} already; a name means one substance"


def _of_a_new_one(each: OwnSubstance, place: Place, classes: list[str]) -> Iterator[tuple[Place, str]]:
    if each.substance_class is None or each.unit is None:
        yield place, f"{each.code} is not in the registry and needs `class` and `unit`"
    elif each.substance_class not in classes:
        near = difflib.get_close_matches(each.substance_class, classes, n=1)
        others = f"did you mean {near[0]}?" if near else f"one of {', '.join(classes)}"
        yield (*place, "class"), f"no such class of substances: {each.substance_class}; {others}"


def _registry() -> list[dict[str, Any]]:
    text = resources.files("ingest._core").joinpath("substances.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["substances"]
    return found


def _unit_of(code: str, known: Mapping[str, dict[str, Any]], own: Sequence[OwnSubstance]) -> str | None:
    unit: str | None = known[code]["unit"] if code in known else None
    return unit or next((each.unit for each in own if each.code == code), None)


def _told(what: str, code: str, known: list[str]) -> str:
    near = difflib.get_close_matches(code, known, n=1)
    add = "" if what != "substance" else "; a substance of the study's own is listed under `substances`"
    return f"no such {what}: {code}" + (f"; did you mean {near[0]}?" if near else add)


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _exposed(settings: Settings) -> Iterator[tuple[Place, str]]:
    exposure = settings.exposure
    for place, code in enumerate(exposure.substances):
        yield ("exposure", "substances", place), code
    for name, by_code in (("half_lives_h", exposure.half_lives_h), ("dose_bands", exposure.dose_bands)):
        for code in by_code:
            yield ("exposure", name, code), code
    for place, code in enumerate(settings.phases.substances):
        yield ("phases", "substances", place), code
    if settings.association.primary is not None:
        yield ("association", "primary", "substance"), settings.association.primary.substance


def _mapped(settings: Settings) -> Iterator[tuple[Place, str]]:
    for number, mapping in enumerate(settings.logs):
        for place, item in enumerate(mapping.items):
            yield ("logs", number, "items", place, "substance"), item.substance
        for word, code in mapping.substances.items():
            yield ("logs", number, "substances", word), code
        if mapping.substance_is is not None:
            yield ("logs", number, "substance_is"), mapping.substance_is
    for question, code in settings.journals.whoop_questions.items():
        yield ("journals", "whoop_questions", question), code


def _classes(settings: Settings) -> Iterator[tuple[Place, str]]:
    for place, word in enumerate(settings.phases.classes):
        yield ("phases", "classes", place), word
    safety = settings.safety
    if safety is None:
        return
    for name, words in (("return_classes", safety.return_classes), ("combined_classes", safety.combined_classes),
                        ("with_classes", safety.with_classes)):  # fmt: skip
        for place, word in enumerate(words):
            yield ("safety", name, place), word
    for place, word in enumerate(safety.abrupt_stop.classes):
        yield ("safety", "abrupt_stop", "classes", place), word

"""Codes of substances and classes in study.yaml: each must be in the registry or among the study's own."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest._core.settings import Settings

Place = tuple[str | int, ...]


def strange_codes(settings: Settings) -> Iterator[tuple[Place, str]]:
    """Where a code stands that neither the registry nor `substances` knows, and what is told of it.

    A mapping may also use a substance's other names; case, blanks, hyphens and underscores make no difference there.
    """
    entries = json.loads(resources.files("ingest._core").joinpath("substances.json").read_text(encoding="utf-8"))
    known = {entry["code"]: entry for entry in entries["substances"]}
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
    for place, name in _classes(settings):
        if name not in classes:
            yield place, _told("class of substances", name, classes)


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

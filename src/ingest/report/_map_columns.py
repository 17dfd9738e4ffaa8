"""What a column of a log may be, told by its name and its cells."""

from __future__ import annotations

import re

from ingest.harmonise.substances import resolve
from ingest.report import _map_names as names
from ingest.report._map_sample import Column


def why_never(column: Column) -> str | None:
    """Why a column is never proposed, whatever it holds; None where it may be."""
    if names.NEVER.search(column.words):
        return "says something of the person"
    return "free text" if column.is_free_text or names.NOTES.search(column.words) else None


def why_unusable(column: Column) -> str:
    """Why a column cannot be named in a mapping."""
    return "empty" if column.usable else "its name is empty, repeated or too long"


def holds(column: Column, kind: str) -> bool:
    """True where the cells are of the kind that a question of a sleep diary needs."""
    if kind == "clock":
        return column.is_clock or (
            column.dates is not None and column.dates.format is None and not column.dates.some_bare
        )
    return column.is_number() and not column.dates


def is_words(pattern: re.Pattern[str], column: Column) -> bool:
    """True for a column of words that is called so."""
    return bool(pattern.search(column.words)) and not column.is_number() and not column.dates


def is_amount(pattern: re.Pattern[str], column: Column) -> bool:
    """True for a column of numbers that is called so, and is not the code of a substance or a unit."""
    called = bool(pattern.search(column.words)) and not names.CODE_OF.search(column.words)
    return called and column.is_number() and not column.dates


def is_rating(column: Column) -> bool:
    """True where every cell is a whole number of 0 to 10."""
    return (
        not column.dates
        and not column.is_tick
        and column.is_number()
        and all(re.fullmatch(r"\d|10", cell) for cell in column.different)
    )


def is_substance(column: Column) -> bool:
    """By what the cells say, or by the name where they are words."""
    if column.dates or column.is_number() or column.is_answer or column.is_clock:
        return False
    known = sum(resolve(cell)[1] for cell in column.different[:200])
    return known * 2 >= min(len(column.different), 200) or bool(names.SUBSTANCE.search(column.words))


def code_in(text: str) -> str | None:
    """The code of a known substance that is named in a column's name; the longest name counts."""
    words = re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.casefold())
    for length in range(min(4, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            substance, known = resolve(" ".join(words[start : start + length]))
            if known and substance.code != "other":
                return substance.code
    return "alcohol" if names.DRINKS.fullmatch(" ".join(words)) else None


def code_of(column: Column) -> str | None:
    """The code of the substance that a column is about: by what the data dictionary calls it, else by its name."""
    return code_in(column.label or column.name)


def unit_in(column: Column) -> str | None:
    """The unit of mass that is a word of a column's name."""
    return next((names.UNITS_IN_NAMES[word] for word in column.words.split() if word in names.UNITS_IN_NAMES), None)

"""REDCap's data dictionary: the words that stand behind the codes of a record export.

The header is that of the page "Data Dictionary" or of the API's metadata. Choices are written `1, Kratom | 2, Tea`.
Boxes (`field___1`) stay 0 and 1, the status of forms stays 0, 1 and 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from ingest._core.errors import Refused
from ingest.decode.log._words import each
from ingest.decode.sheets import Sheet

Codes = dict[str, dict[str, str]]
_HEADERS = (
    ("Variable / Field Name", "Field Type", "Choices, Calculations, OR Slider Labels"),
    ("field_name", "field_type", "select_choices_or_calculations"),
)
_LABELS = (("Field Label", "Form Name"), ("field_label", "form_name"))
_CHOSEN = {"radio", "dropdown"}
_FIXED = {"yesno": {"1": "Yes", "0": "No"}, "truefalse": {"1": "True", "0": "False"}}


def is_codebook(header: Sequence[str]) -> bool:
    """True for the header of a data dictionary."""
    return any(set(names) <= set(header) for names in _HEADERS)


def read_codebook(sheet: Sheet) -> Codes:
    """The words of each field's codes; fields without choices are left out."""
    names = next(names for names in _HEADERS if set(names) <= set(sheet.header))
    fields, kinds, choices = (sheet.column(name).to_pylist() for name in names)
    found = {}
    for name, kind, text in zip(fields, kinds, choices, strict=True):
        word = kind.strip().lower()
        codes = _FIXED.get(word) or (_choices(text) if word in _CHOSEN else {})
        if codes:
            found[name.strip()] = codes
    return found


def boxes_of(sheet: Sheet) -> dict[str, str]:
    """The word of each box of a checkbox field, by the box's column (`field___code`)."""
    names = next(names for names in _HEADERS if set(names) <= set(sheet.header))
    fields, kinds, choices = (sheet.column(name).to_pylist() for name in names)
    return {
        f"{name.strip()}___{re.sub(r'[^a-z0-9_]', '_', code.lower())}": word
        for name, kind, text in zip(fields, kinds, choices, strict=True)
        if kind.strip().lower() == "checkbox"
        for code, word in _choices(text).items()
    }


def labels_of(sheet: Sheet) -> list[tuple[str, str, str]]:
    """Header in an export with labels, column in one with codes, and form, of each field and each box of a field."""
    names = next(names for names in _HEADERS if set(names) <= set(sheet.header))
    label, form = next(both for raw, both in zip(_HEADERS, _LABELS, strict=True) if raw == names)
    if not {label, form} <= set(sheet.header):
        return []
    fields, labels, forms = (sheet.column(name).to_pylist() for name in (names[0], label, form))
    boxes: dict[str, list[tuple[str, str]]] = {}
    for box, word in boxes_of(sheet).items():
        boxes.setdefault(box.partition("___")[0], []).append((box, word))
    found: list[tuple[str, str, str]] = []
    for field, text, of in zip(fields, labels, forms, strict=True):
        ticks = boxes.get(field.strip())
        found += [(f"{text} (choice={word})", box, of) for box, word in ticks] if ticks else [(text, field.strip(), of)]
    return found


def merged(books: Sequence[Codes]) -> Codes:
    """Several dictionaries as one; raises Refused where they differ about a field."""
    found: Codes = {}
    for book in books:
        for name, codes in book.items():
            if found.setdefault(name, codes) != codes:
                raise Refused("two_codebooks", "expected one data dictionary beside the file, got several that differ "
                              "about a field; keep the one that belongs to it")  # fmt: skip
    return found


def in_words(sheet: Sheet, codes: Mapping[str, Mapping[str, str]]) -> Sheet:
    """The sheet with its codes replaced by their words; a cell that is no code stays as it is."""
    cells = sheet.cells
    for place, name in enumerate(sheet.header):
        if name in codes:
            words = _worded(cells.column(place).combine_chunks(), codes[name])
            cells = cells.set_column(place, str(place), words)
    return Sheet(sheet.header, cells, sheet.rows, sheet.bad, sheet.text, sheet.delimiter, sheet.known_lines)


def _worded(column: pa.Array, words: Mapping[str, str]) -> pa.Array:
    return each(column, lambda cell: words.get(cell, cell), pa.string())


def _choices(text: str) -> dict[str, str]:
    found = {}
    for choice in text.split("|"):
        code, comma, word = choice.partition(",")
        if comma and code.strip() and word.strip():
            found[code.strip()] = word.strip()
    return found

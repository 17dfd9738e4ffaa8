"""Record exports of REDCap with labels: headers are the questions' texts, cells the words of the answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ingest.decode.log._files import numbered
from ingest.report._map_sample import Column, Sample

KEYS = {
    "redcap_repeat_instrument": "Repeat Instrument",
    "redcap_repeat_instance": "Repeat Instance",
    "redcap_event_name": "Event Name",
}
COMPLETE = re.compile(r"Complete\?( \(\d+\))?")
_CHOICE = re.compile(r".*\(choice=(.*)\)( \(\d+\))?", re.DOTALL)
Labels = Sequence[tuple[str, str, str]]


def is_labelled(header: Sequence[str]) -> bool:
    """True for the header of an export with labels that tells the state of its forms, or repeating ones."""
    return any(map(COMPLETE.fullmatch, header)) or {"Repeat Instrument", "Repeat Instance"} <= {*header}


def told_apart(sample: Sample) -> Sample:
    """The sample with names that stand twice numbered, as a mapping calls them: each form has its `Complete?`."""
    return replace(sample, header=numbered(sample.header)) if is_labelled(sample.header) else sample


def choice_of(name: str) -> str:
    """What a box stands for, by its header; empty for another column."""
    match = _CHOICE.fullmatch(name)
    return match[1].strip() if match else ""


def fields_of(header: Sequence[str], labels: Labels) -> dict[str, tuple[str, str]]:
    """Field and form of each column whose header is a label of the data dictionary.

    A label that several fields have stands for them in the order of the dictionary, which is that of the export.
    """
    waiting: dict[str, list[tuple[str, str]]] = {}
    for text, field, form in labels:
        waiting.setdefault(_plain(text), []).append((field, form))
    found = {}
    for name in header:
        fields = waiting.get(_plain(name)) or waiting.get(_plain(re.sub(r" \(\d+\)\Z", "", name)))
        if fields:
            found[name] = fields.pop(0) if len(fields) > 1 else fields[0]
    return found


def as_fields(columns: Sequence[Column], fields: Mapping[str, tuple[str, str]], codes: Mapping[str, Mapping[str, str]],
              *, coded: bool) -> list[Column]:  # fmt: skip
    """The columns under the names of their fields, with the codes of their words in the cells where asked for."""
    found = []
    for column in columns:
        name = fields.get(column.name, (column.name, ""))[0]
        back = {word.casefold(): code for code, word in codes.get(name, {}).items()} if coded else {}
        cells = [back.get(cell.casefold(), cell) for cell in column.cells]
        found.append(Column(name, cells, column.usable, column.label))
    return found


def by_labels(value: Any, fields: Mapping[str, tuple[str, str]]) -> Any:
    """A mapping, or a part of it, with the names of fields replaced by the headers that stand for them."""
    names = {field: name for name, (field, _) in fields.items()}
    if isinstance(value, dict):
        return {key: each if key in ("substance_is", "name", "instrument") else by_labels(each, fields)
                for key, each in value.items()}  # fmt: skip
    if isinstance(value, list):
        return [by_labels(each, fields) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _plain(text: str) -> str:
    """A label without the marks of a web page, which an export leaves out."""
    return " ".join(re.sub(r"<[^>]*>", "", text).split()).casefold()

"""Record exports of REDCap: a proposal for each form whose rows make a log of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ingest._core.errors import Refused, WrongUse
from ingest.decode.log._codebook import Codes, boxes_of, is_codebook, labels_of, merged, read_codebook
from ingest.decode.model import HEAD_BYTES
from ingest.decode.sheets import header_of, read_sheet
from ingest.report._map_base import UNSAID, Proposal
from ingest.report._map_guess import propose
from ingest.report._map_labels import (
    COMPLETE,
    KEYS,
    Labels,
    as_fields,
    by_labels,
    choice_of,
    fields_of,
    is_labelled,
    told_apart,
)
from ingest.report._map_sample import Column, Sample, columns_of

_REPEAT, _INSTANCE, _EVENT = "redcap_repeat_instrument", "redcap_repeat_instance", "redcap_event_name"
_COMPLETE = "_complete"
_STATES = frozenset({"0", "1", "2", "incomplete", "unverified", "complete"})
_FILLED = frozenset({"2", "complete"})
_FIELD_BYTES = 1 << 20


@dataclass(frozen=True)
class Dictionary:
    """The data dictionaries beside a file, by name and bytes: the words of their codes and boxes, their labels."""

    files: tuple[tuple[str, bytes], ...] = ()
    codes: Codes = field(default_factory=dict)
    boxes: dict[str, str] = field(default_factory=dict)
    labels: Labels = ()


@dataclass
class _Form:
    name: str
    complete: str | None
    places: list[int]
    rows: list[int]
    proposal: Proposal | None = None
    only: dict[str, list[str]] = field(default_factory=dict)


def is_redcap(sample: Sample) -> bool:
    """True for a record export: it tells instruments, events, or the state of its forms."""
    known = {_REPEAT, _EVENT} & set(sample.header)
    return (
        bool(known)
        or is_labelled(sample.header)
        or (sample.header[0] == "record_id" and any(form.complete for form in _forms(sample)))
    )


def dictionary_beside(path: Path) -> Dictionary:
    """The data dictionaries (CSV) in the file's folder, as one; raises WrongUse where they cannot be read as one."""
    files, codes, boxes, labels = [], [], [], []
    try:
        for other in sorted(path.parent.glob("*.csv")):
            with other.open("rb") as file:
                start = file.read(HEAD_BYTES)
            if other != path and is_codebook(header_of(start, "utf-8", ",")):
                files.append((other.name, other.read_bytes()))
                sheet = read_sheet(files[-1][1], "utf-8", ",", _FIELD_BYTES)
                codes.append(read_codebook(sheet))
                boxes.append({column: {"1": word} for column, word in boxes_of(sheet).items()})
                labels += labels_of(sheet)
        ticked = {column: words["1"] for column, words in merged(boxes).items()}
        return Dictionary(tuple(files), merged(codes), ticked, tuple(dict.fromkeys(labels)))
    except Refused as refused:
        raise WrongUse(f"the data dictionary: {refused.reason}: {refused.detail}") from refused


def propose_forms(sample: Sample, layout: str | None, book: Dictionary) -> tuple[list[Proposal], dict[str, str]]:
    """A proposal for each form that makes a log, and the columns that none of them uses, with the reason.

    Raises WrongUse where no form does.
    """
    unused: dict[str, str] = {}
    logs: list[_Form] = []
    sample = told_apart(sample)
    for form in _with_names(sample, _forms(sample), book):
        why = "no form of it was filled in" if not form.rows else _guess(sample, form, layout, book)
        if why is None:
            logs.append(form)
        else:
            unused.update((sample.header[place], f"{form.name}: {why}") for place in form.places)
    if not logs:
        raise WrongUse("expected a form of REDCap with a date, and substances, a sleep diary or a scale, got none; "
                       "export the form with its <form>_complete, or describe it by hand (docs/logs.md)")  # fmt: skip
    _apart(sample, logs)
    for form in logs:
        assert form.proposal is not None
        unused |= form.proposal.unused
    coded = any(form.proposal.mapping.get("codebook") for form in logs if form.proposal)
    return [_finished(sample, form, coded) for form in logs], unused


def _forms(sample: Sample) -> list[_Form]:
    """The forms in their order: a form's fields end with its <form>_complete, or are those its rows fill."""
    forms: list[_Form] = []
    places: list[int] = []
    for place, name in enumerate(sample.header[1:], start=1):
        if name.startswith("redcap_") or name in KEYS.values():
            continue
        cells = {row[place].strip().casefold() for row in sample.rows} - {""}
        if (name.endswith(_COMPLETE) or COMPLETE.fullmatch(name)) and cells <= _STATES:
            rows = [k for k, row in enumerate(sample.rows) if row[place].strip().casefold() in _FILLED]
            forms.append(_Form(name.removesuffix(_COMPLETE), name, places, rows))
            places = []
        else:
            places.append(place)
    return forms or list(_instruments(sample, places))


def _with_names(sample: Sample, forms: list[_Form], book: Dictionary) -> list[_Form]:
    """The forms with names: in an export with labels those of the dictionary, else of the repeating instrument."""
    fields = fields_of(sample.header, book.labels)
    at = sample.header.index(KEYS[_REPEAT]) if KEYS[_REPEAT] in sample.header else None
    for number, form in enumerate(forms, start=1):
        if form.complete is not None and COMPLETE.fullmatch(form.complete):
            told = [fields[sample.header[place]][1] for place in form.places if sample.header[place] in fields]
            words = {sample.rows[k][at].strip() for k in form.rows} if at is not None else set()
            called = words.pop() if len(words) == 1 else ""
            form.name = max(set(told), key=told.count) if told else called or f"form_{number}"
    return forms


def _called(sample: Sample, key: str) -> str:
    """A column of REDCap's own as this export calls it."""
    return key if key in sample.header or KEYS[key] not in sample.header else KEYS[key]


def _instruments(sample: Sample, places: list[int]) -> Iterator[_Form]:
    if _called(sample, _REPEAT) not in sample.header:
        return
    at = sample.header.index(_called(sample, _REPEAT))
    for name in dict.fromkeys(row[at].strip() for row in sample.rows):
        rows = [k for k, row in enumerate(sample.rows) if row[at].strip() == name]
        held = [p for p in places if {sample.rows[k][p].strip().casefold() for k in rows} - {"", "0", "unchecked"}]
        if name:
            yield _Form(name, None, held, rows)


def _guess(sample: Sample, form: _Form, layout: str | None, book: Dictionary) -> str | None:
    """Enter the form's proposal; the reason where it makes no log."""
    given: dict[str, Any] = {"participant": sample.header[0], **_ids(sample, form)}
    if form.complete is not None:
        given["filled_in"] = {"column": form.complete}
    rows = [[sample.rows[k][place] for place in form.places] for k in form.rows]
    columns = columns_of([sample.header[place] for place in form.places], rows)
    raw = [replace(column, label=book.boxes.get(column.name, "") or choice_of(column.name)) for column in columns]
    if is_labelled(sample.header):
        return _guess_labelled(sample, form, layout, book, raw, given)
    worded = [_in_words(column, book) for column in raw]
    as_raw, why = _tried(sample, form, raw, layout, given)
    if as_raw is not None and as_raw.mapping.get("scale", {}).get("instrument", "DAILY") != "DAILY":
        form.proposal = as_raw
        _label(as_raw.mapping, book)
        return None
    as_worded, why = _tried(sample, form, worded, layout, given)
    form.proposal = as_worded or as_raw
    if as_worded is not None and _uses_codes(as_worded.mapping, raw, worded):
        as_worded.mapping["codebook"] = True
    return None if form.proposal else why


def _guess_labelled(
    sample: Sample, form: _Form, layout: str | None, book: Dictionary, columns: list[Column], given: dict[str, Any]
) -> str | None:
    """The same where headers are labels: by them, or where that makes no log by the names of their fields."""
    fields = fields_of(sample.header, book.labels)
    scale, _ = _tried(sample, form, as_fields(columns, fields, book.codes, coded=True), layout, given)
    if scale is not None and scale.mapping.get("scale", {}).get("instrument", "DAILY") != "DAILY":
        _label(scale.mapping, book)
        form.proposal = _by_labels(scale, fields)
        return None
    found, why = _tried(sample, form, columns, layout, given)
    if found is None and fields:
        by_field, why = _tried(sample, form, as_fields(columns, fields, book.codes, coded=False), layout, given)
        found = None if by_field is None else _by_labels(by_field, fields)
    form.proposal = found
    return None if found else why


def _by_labels(proposal: Proposal, fields: dict[str, tuple[str, str]]) -> Proposal:
    return Proposal(by_labels(proposal.mapping, fields), proposal.remarks,
                    {by_labels(name, fields): why for name, why in proposal.unused.items()})  # fmt: skip


def _tried(
    sample: Sample, form: _Form, columns: list[Column], layout: str | None, given: dict[str, Any]
) -> tuple[Proposal | None, str]:
    rows = [sample.rows[k] for k in form.rows]
    part = replace(sample, name=form.name + ".csv", rows=rows, chosen=columns)
    try:
        proposal = propose(part, layout, given)
    except WrongUse:
        return None, "makes no log"
    mapping = proposal.mapping
    idle = mapping["layout"] == "long" and mapping.get("substance_is") == UNSAID and "amount" not in mapping
    return (None, "tells of no substance") if idle else (proposal, "")


def _in_words(column: Column, book: Dictionary) -> Column:
    words = book.codes.get(column.name)
    return column if words is None else replace(column, cells=[words.get(cell, cell) for cell in column.cells])


def _named(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _named(each)
    elif isinstance(value, list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, str):
        yield value


def _uses_codes(mapping: dict[str, Any], raw: list[Column], worded: list[Column]) -> bool:
    named = set(_named(mapping))
    return any(a.name in named and a.cells != b.cells for a, b in zip(raw, worded, strict=True))


def _label(mapping: dict[str, Any], book: Dictionary) -> None:
    """The numbers of a scale's answers, needed where another form of the file has its codes read as words."""
    labels: dict[str, float] = {}
    for column in mapping["scale"].get("items", {}).values():
        labels |= {word: float(code) for code, word in book.codes.get(column, {}).items() if code.isdigit()}
    if labels:
        mapping["scale"]["labels"] = labels


def _ids(sample: Sample, form: _Form) -> dict[str, Any]:
    """What tells an edited row from a second one: its instance, within its event where there are events."""
    header = sample.header
    instance, event = _called(sample, _INSTANCE), _called(sample, _EVENT)

    def told(name: str) -> list[str]:
        return [sample.rows[k][header.index(name)].strip() for k in form.rows] if name in header else [""]

    instances, events = told(instance), told(event)
    if all(instances):
        return {"record_id": instance} | ({"record_id_with": [event]} if all(events) else {})
    records = [sample.rows[k][0] for k in form.rows]
    unique = all(events) and len(set(zip(records, events, strict=True))) == len(records)
    return {"record_id": event} if unique else {}


def _apart(sample: Sample, logs: list[_Form]) -> None:
    """Enter the words that tell the rows of forms apart; forms that share rows are told by their `filled_in`."""
    repeat, event = _called(sample, _REPEAT), _called(sample, _EVENT)
    repeats = repeat in sample.header and any(row[sample.header.index(repeat)].strip() for row in sample.rows)
    keys = [repeat] if repeats else []
    if not _choose(sample, logs, keys) and event in sample.header:
        _choose(sample, logs, [*keys, event])


def _choose(sample: Sample, logs: list[_Form], keys: list[str]) -> bool:
    """Enter `only` by these columns; False where two forms would still want one row."""
    places = {key: sample.header.index(key) for key in keys}
    for form in logs:
        form.only = {key: list(dict.fromkeys(sample.rows[k][place].strip() for k in form.rows))
                     for key, place in places.items()}  # fmt: skip
    matching = [_matching(sample, form.only) for form in logs]
    return len(set().union(*matching)) == sum(map(len, matching))


def _matching(sample: Sample, only: dict[str, list[str]]) -> set[int]:
    places = [(sample.header.index(key), words) for key, words in only.items()]
    return {k for k, row in enumerate(sample.rows) if all(row[place].strip() in words for place, words in places)}


def _finished(sample: Sample, form: _Form, coded: bool) -> Proposal:
    """The proposal with `only` and `codebook` before the other keys."""
    proposal = form.proposal
    assert proposal is not None
    rest = {key: value for key, value in proposal.mapping.items() if key not in ("name", "layout", "codebook")}
    first: dict[str, Any] = {"name": proposal.mapping["name"], "layout": proposal.mapping["layout"]}
    if form.only:
        first["only"] = form.only
        event = _called(sample, _EVENT)
        if event in form.only:
            proposal.remarks[f"only.{event}"] = "add the events that are to come"
    if coded:
        first["codebook"] = True
        proposal.remarks["codebook"] = "the data dictionary must lie beside the file in landing/, too"
    elif "scale" in rest and not is_labelled(sample.header):
        rest["scale"].pop("labels", None)
    proposal.remarks["participant"] = "must hold the participant_ref of roster.csv"
    proposal.mapping = first | rest
    return proposal

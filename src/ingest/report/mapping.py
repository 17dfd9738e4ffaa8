"""`ingest map`: a mapping proposed for a log that nobody described yet, with the rows that it would give."""

from __future__ import annotations

import io
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from pydantic import ValidationError

from ingest._core.errors import Refused, WrongUse
from ingest._core.log_mapping import LogMapping
from ingest._core.settings import Settings
from ingest.decode.log.csv_log import DECODER
from ingest.decode.model import HEAD_BYTES, IGNORED, Decoded, Head, Member
from ingest.harmonise.substances import resolve
from ingest.report._map_base import Proposal
from ingest.report._map_guess import LAYOUTS, propose
from ingest.report._map_redcap import Dictionary, dictionary_beside, is_redcap, propose_forms
from ingest.report._map_sample import Sample, read_sample

PREVIEW_ROWS = 5


def show(path: Path, layout: str | None = None) -> str:
    """The proposal, its preview and the columns left over, for the person at the terminal; ends in a newline.

    Raises WrongUse where the file is no log that can be described, or `layout` is none.
    """
    if layout is not None and layout not in LAYOUTS:
        raise WrongUse(f"--layout is one of {', '.join(LAYOUTS)}")
    sample = read_sample(path)
    if {"substance", "taken_at"} <= {column.name for column in sample.columns} and not layout:
        return "this is the canonical log, which needs no mapping; lay it in landing/ as it is\n"
    book = Dictionary()
    if is_redcap(sample):
        book = dictionary_beside(path)
        proposals, unused = propose_forms(sample, layout, book)
    else:
        proposals = [propose(sample, layout)]
        unused = proposals[0].unused
    lines = [
        f"{sample.n_read} rows looked at: {_what(sample)}, layout {_layouts(proposals)}",
        "paste this under `logs:` in study.yaml, after a look at every line with a remark",
        "",
        *(line for proposal in proposals for line in as_yaml(proposal).splitlines()),
        "",
        *_preview(sample, proposals, book),
    ]
    if unused:
        lines += ["", "columns not used", *(f"  {name or '(no name)'}: {why}" for name, why in unused.items())]
    return "\n".join(lines) + "\n"


def _what(sample: Sample) -> str:
    if sample.is_workbook:
        return "a workbook, " + (f"sheet {sample.sheet}" if sample.sheet else "its first sheet")
    mark = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}[sample.delimiter]
    return f"{sample.encoding}, parted by {mark}"


def _layouts(proposals: list[Proposal]) -> str:
    return " and ".join(dict.fromkeys(proposal.mapping["layout"] for proposal in proposals))


def as_yaml(proposal: Proposal) -> str:
    """The mapping as an item of `logs`, in block style, with its remarks; raises WrongUse if it is no valid one."""
    _checked(proposal)
    first, *rest = _lines(proposal.mapping, "", proposal.remarks)
    return "\n".join([f"  - {first}", *(f"    {line}" for line in rest)]) + "\n"


def _checked(proposal: Proposal) -> LogMapping:
    try:
        return LogMapping.model_validate(proposal.mapping)
    except ValidationError as error:
        told = error.errors()[0]
        place = ".".join(str(part) for part in told["loc"]) or "the mapping"
        raise WrongUse(f"the columns do not make a log of layout {proposal.mapping['layout']}: {place}: {told['msg']}; "
                       "choose another --layout, or describe it by hand (docs/logs.md)") from None  # fmt: skip


def _lines(value: dict[str, Any], path: str, remarks: dict[str, str]) -> list[str]:
    lines = []
    for key, each in value.items():
        place = f"{path}{key}"
        remark = f"  # {remarks[place]}" if place in remarks else ""
        if isinstance(each, dict):
            lines += [f"{_scalar(key)}:{remark}", *(f"  {line}" for line in _lines(each, place + ".", remarks))]
        elif isinstance(each, list):
            lines.append(f"{_scalar(key)}:{remark}" if each else f"{_scalar(key)}: []")
            for number, item in enumerate(each):
                inner = _lines(item, f"{place}.{number}.", remarks) if isinstance(item, dict) else [_scalar(item)]
                lines += [f"  - {inner[0]}", *(f"    {line}" for line in inner[1:])]
        else:
            lines.append(f"{_scalar(key)}: {_scalar(each)}{remark}")
    return lines


def _scalar(value: object) -> str:
    text: str = yaml.safe_dump(value, allow_unicode=True, width=10_000, default_style=None)
    return text.removesuffix("\n").removesuffix("\n...")


def _preview(sample: Sample, proposals: list[Proposal], book: Dictionary) -> list[str]:
    """What the rows looked at would become, read by the decoder itself."""
    settings = Settings.model_validate({"study": "map", "logs": [proposal.mapping for proposal in proposals]})
    members = []
    for number, (name, data) in enumerate([(sample.name, sample.data), *book.files], start=1):
        head = Head(name, len(data), data if sample.is_workbook else data[:HEAD_BYTES])
        role = DECODER.claim(head, settings)
        if role is not None and not role.startswith(IGNORED):
            members.append(Member(number, name, role, partial(io.BytesIO, data)))
    if not members or members[0].ordinal != 1 or "ambiguous:" in members[0].role:
        return ["no preview: the header also holds the columns of the canonical log; rename `substance` or `taken_at`"]
    try:
        decoded = DECODER.decode(members, settings)
    except Refused as refused:
        return [f"would be refused as it stands: {refused.reason}: {refused.detail}"]
    tally = decoded.tally
    fates = f"{tally.duplicate} are duplicates, {tally.ignored.total()} ignored, {tally.quarantined} set aside"
    lines = [f"of {tally.read} rows {tally.kept} would be kept, {fates}; the first as they come out:"]
    for rows in _rows(decoded):
        lines += _table(rows)
    reasons = Counter(each.reason for each in tally.refusals)
    first = {each.reason: each for each in reversed(tally.refusals)}
    lines += [f"set aside {n}: {reason}, first {first[reason].locator}: {first[reason].detail}"
              for reason, n in sorted(reasons.items())]  # fmt: skip
    return lines


def _rows(decoded: Decoded) -> list[list[dict[str, str]]]:
    """The first rows of each table that has any; of that of uses where none has."""
    others = [_plain(table) for table in (decoded.diaries, decoded.responses) if table is not None and len(table)]
    uses = [] if decoded.uses is None else _uses(decoded.uses)
    return [*([uses] if uses or not others else []), *others]


def _uses(table: pa.Table) -> list[dict[str, str]]:
    found = []
    for use in table.slice(0, PREVIEW_ROWS).to_pylist():
        substance, known = resolve(use["substance_reported"])
        at = use["taken_clock"] or use["taken_utc"] or use["use_day"]
        amount = "none" if use["no_use"] else use["amount_reported"]
        found.append({
            "row": str(use["source_row"]),
            "substance": substance.code + ("" if known else " (unknown)"),
            "taken_at or day": _said(at),
            "precision": use["part_of_day"] or use["time_precision"],
            "amount": _said(amount),
            "unit": _said(use["unit_reported"]),
        })  # fmt: skip
    return found


def _plain(table: pa.Table) -> list[dict[str, str]]:
    """The first rows, with the columns in which they say anything."""
    rows = table.slice(0, PREVIEW_ROWS).to_pylist()
    hidden = {"participant_ref", "record_id", "flags", "reported_clock", "recall_method", "recall_lag_days"}
    names = [name for name in table.column_names if name not in hidden and any(row[name] is not None for row in rows)]
    names.sort(key=lambda name: name != "source_row")
    return [{name.replace("source_row", "row"): _said(row[name]) for name in names} for row in rows]


def _said(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M}" + ("Z" if value.tzinfo else "")
    return str(value)


def _table(rows: list[dict[str, str]]) -> list[str]:
    if not rows:
        return ["  (none)"]
    names = list(rows[0])
    width = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    return [
        "  " + "  ".join(row[name].ljust(width[name]) for name in names).rstrip()
        for row in [{name: name for name in names}, *rows]
    ]

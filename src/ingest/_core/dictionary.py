"""The dictionary of tables and columns, rendered from `schemas/`."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from html import escape
from typing import Any

from ingest._core.contract import kind, primary_key, required, schemas
from ingest._core.errors import WrongUse

SQL_TYPES = {
    "string": "text",
    "number": "double",
    "integer": "bigint",
    "boolean": "boolean",
    "date": "date",
    "instant": "timestamptz",
    "clock": "timestamp",
}
_INTRO = (
    "Every table of the lake and the warehouse, from `schemas/`. A `timestamptz` is an instant, shown in "
    "UTC; a `timestamp` is a local clock without a zone. Durations are minutes unless the unit says "
    "otherwise. NULL means that the value is not known or does not apply, never 0."
)
_STAGES = {
    "lake": "decoded from exports; Parquet in the lake, one file per export",
    "mart": "built from the lake; Parquet in the lake, one file per participant",
    "cohort": "computed from the marts of all participants at once; Parquet in the lake, one file",
    "publish": "written when the warehouse is published",
    "ops": "operational history, from the study's folder ops/; written when the warehouse is published",
    "view": "a view of the warehouse",
}
_HEADINGS = ("Column", "Type", "Unit", "Definition", "Source of the definition", "Allowed values")
_CSV_HEADER = (
    "table",
    "column",
    "type",
    "not_null",
    "in_key",
    "unit",
    "definition",
    "source",
    "allowed_values",
    "in_lake",
    "in_warehouse",
)
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}"
    "th,td{border:1px solid #bbb;padding:.3em .5em;text-align:left;vertical-align:top}"
    "code{font-size:.9em}@media(max-width:60em){table{display:block;overflow-x:auto}}"
)


def render(format: str) -> str:
    """The whole dictionary as text: `md`, `csv` (a row per column), `json` (the schemas) or `html`.

    Raises WrongUse for any other.
    """
    if format not in _RENDERERS:
        raise WrongUse(f"a dictionary can be had as {', '.join(_RENDERERS)}")
    return _RENDERERS[format]()


def _allowed(field: dict[str, Any]) -> str:
    limits = field.get("constraints", {})
    words = [", ".join(limits["enum"])] if "enum" in limits else []
    if "minimum" in limits and "maximum" in limits:
        words.append(f"{limits['minimum']} to {limits['maximum']}")
    elif "minimum" in limits:
        words.append(f"{limits['minimum']} or more")
    elif "maximum" in limits:
        words.append(f"{limits['maximum']} or less")
    if "pattern" in limits:
        words.append(f"matches {limits['pattern']}")
    return "; ".join(words)


def _type(field: dict[str, Any]) -> str:
    return SQL_TYPES[kind(field)] + (", not NULL" if required(field) else "")


def _definition(field: dict[str, Any]) -> str:
    text = str(field["description"])
    if "addedBy" in field:
        text += " (In the warehouse only.)"
    if not field.get("published", True):
        text += " (In the lake only.)"
    return text


def _facts(name: str) -> list[tuple[str, str]]:
    schema = schemas()[name]
    where = _STAGES[schema["stage"]] + ("" if schema.get("published", True) else "; not in the warehouse")
    return [("Key", ", ".join(primary_key(name))), ("Stage", f"{schema['stage']}; {where}")]


def _cells(field: dict[str, Any]) -> list[str]:
    return [
        field["name"],
        _type(field),
        field.get("unit", ""),
        _definition(field),
        field.get("source", ""),
        _allowed(field),
    ]


def _markdown() -> str:
    lines = ["# Dictionary", "", _INTRO, ""]
    lines += [f"- [{name}](#{name}): {schema['title']}" for name, schema in schemas().items()]
    for name, schema in schemas().items():
        lines += ["", f"## {name}", "", schema["description"], ""]
        lines += [f"- {label}: {text}" for label, text in _facts(name)]
        lines += ["", _markdown_row(_HEADINGS), _markdown_row(["---"] * len(_HEADINGS))]
        for field in schema["fields"]:
            column, *others = _cells(field)
            lines.append(_markdown_row([f"`{column}`", *others]))
    return "\n".join(lines) + "\n"


def _markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _csv() -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for name, schema in schemas().items():
        in_warehouse, in_lake = schema.get("published", True), schema["stage"] not in ("publish", "ops", "view")
        for field in schema["fields"]:
            yes_no = [
                in_lake and "addedBy" not in field,
                in_warehouse and field.get("published", True),
            ]
            writer.writerow(
                [
                    name,
                    field["name"],
                    SQL_TYPES[kind(field)],
                    _word(required(field)),
                    _word(field["name"] in primary_key(name)),
                    field.get("unit", ""),
                    field["description"],
                    field.get("source", ""),
                    _allowed(field),
                    *map(_word, yes_no),
                ]
            )
    return out.getvalue()


def _word(value: bool) -> str:
    return "true" if value else "false"


def _json() -> str:
    return json.dumps(list(schemas().values()), indent=2, ensure_ascii=False) + "\n"


def _html() -> str:
    contents = "".join(
        f'<li><a href="#{name}">{name}</a>: {escape(schema["title"])}</li>\n' for name, schema in schemas().items()
    )
    sections = "".join(map(_html_section, schemas()))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>Dictionary</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>Dictionary</h1>\n"
        f"<p>{_html_text(_INTRO)}</p>\n<ul>\n{contents}</ul>\n{sections}</body>\n</html>\n"
    )


def _html_section(name: str) -> str:
    schema = schemas()[name]
    facts = "".join(f"<li>{label}: {escape(text)}</li>" for label, text in _facts(name))
    head = "".join(f'<th scope="col">{heading}</th>' for heading in _HEADINGS)
    rows = []
    for field in schema["fields"]:
        column, *others = _cells(field)
        cells = "".join(f"<td>{_html_text(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row"><code>{column}</code></th>{cells}</tr>\n')
    return (
        f'<h2 id="{name}">{name}</h2>\n<p>{_html_text(schema["description"])}</p>\n<ul>{facts}</ul>\n'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(rows)}</tbody>\n</table>\n"
    )


def _html_text(text: str) -> str:
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if i % 2 else piece for i, piece in enumerate(pieces))


_RENDERERS: dict[str, Callable[[], str]] = {"md": _markdown, "csv": _csv, "json": _json, "html": _html}

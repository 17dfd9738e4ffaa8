"""A page of sections: texts, notices, tables and Vega-Lite charts, in one HTML file that needs nothing else.

Every chart has a text alternative, a table and a CSV of its data. All text is escaped; scripts and styles are named by
their hashes in a content security policy, so that a browser runs no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ingest._core.files import write_bytes
from ingest.report.pages import theme
from ingest.report.pages.bundle import LICENCE, asset, csp_hash, vega
from ingest.report.pages.embed import columns, script_json

NOT_A_DIAGNOSIS = "A monitoring aid, not a diagnosis: it shows what goes with what, never causes."
NOT_WATCHED = "Nobody watches this page in real time."
NOTHING = Markup()


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind = "text"


@dataclass(frozen=True)
class Notice:
    """What must not be overlooked: a line or more in a box; `alert` in the colour of warnings."""

    title: str
    lines: Sequence[str] = ()
    alert: bool = False
    kind = "notice"


@dataclass(frozen=True)
class Table:
    """A table as it is read: headers, and cells as text; `numeric` names the headers whose cells stand right."""

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[str] = ()
    note: str = ""
    links: Sequence[str] = ()
    """Addresses that the first cells lead to, one for each row."""
    kind = "table"


@dataclass(frozen=True)
class Figures:
    """Key figures side by side: name, value, and what stands behind it."""

    figures: Sequence[tuple[str, str, str]]
    kind = "figures"


@dataclass(frozen=True)
class Links:
    """Pages beside this one: address and words."""

    links: Sequence[tuple[str, str]]
    kind = "links"


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite chart over tables that stand in the page under their names.

    `spec`      a specification without `data` values: layers name their data as `{"data": {"name": ...}}`
    `data`      the page's datasets it needs; the first is the one its table and CSV show, unless `shown` names another
    `alt`       what the chart shows, in words and numbers, for who does not see it
    `on_time`   its x axis is the page's shared axis of time: dragging zooms all such charts, pointing reads a night
    """

    id: str
    title: str
    alt: str
    spec: Mapping[str, Any]
    data: Sequence[str]
    shown: str = ""
    on_time: bool = False
    note: str = ""
    kind = "chart"

    @property
    def table(self) -> str:
        """Name of the dataset that its table and CSV show."""
        return self.shown or self.data[0]


Part = Text | Notice | Table | Figures | Links | Chart


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it; `folded` is opened by the reader."""

    title: str
    parts: Sequence[Part]
    id: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """All of a page. `time` is its shared axis of time, if its charts have one: first and last date, and `readout`,
    the name of a dataset with a row for each date (its first column, type date) of what is read off there.
    """

    title: str
    sections: Sequence[Section]
    data: Mapping[str, pa.Table] = field(default_factory=dict)
    subtitle: str = ""
    time: Mapping[str, Any] | None = None
    footer: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Words for column names, in tables and the read-out."""
    above: Markup = NOTHING
    """HTML of a template of the caller's own, above the sections."""
    form_action: str = "'none'"
    """Where forms may go to, in the words of a content security policy."""


def write_page(path: Path, page: Page) -> int:
    """Put the page at `path`, whole or not at all; returns its bytes. Twice the same page is twice the same bytes."""
    data = render(page)
    write_bytes(path, data, 0o600)
    return len(data)


def render(page: Page) -> bytes:
    """The page as HTML in UTF-8."""
    drawn = any(part.kind == "chart" for section in page.sections for part in section.parts)
    scripts = [vega(), asset("page.js")] if drawn else []
    style = _style()
    policy = "; ".join([
        "default-src 'none'",
        f"script-src {' '.join(map(csp_hash, scripts)) or chr(39) + 'none' + chr(39)}",
        f"style-src {csp_hash(style)}",
        "img-src data:",
        f"form-action {page.form_action}",
        "base-uri 'none'",
    ])  # fmt: skip
    html: str = _template().render(
        page=page,
        policy=policy,
        style=Markup(style),  # noqa: S704 - assets of this package
        scripts=[Markup(each) for each in scripts],  # noqa: S704 - the same
        data=script_json(_data(page)) if drawn else "",
        licence=LICENCE if drawn else "",
        promises=(NOT_A_DIAGNOSIS, NOT_WATCHED),
    )
    return html.encode()


def _data(page: Page) -> dict[str, Any]:
    charts = [part for section in page.sections for part in section.parts if isinstance(part, Chart)]
    return {
        "themes": {name: {**colours, "ramp": theme.RAMP[name]} for name, colours in theme.THEMES.items()},
        "labels": dict(page.labels),
        "time": page.time,
        "charts": [
            {"id": each.id, "spec": each.spec, "data": list(each.data), "table": each.table, "on_time": each.on_time}
            for each in charts
        ],
        "tables": {name: columns(table) for name, table in page.data.items()},
    }


@cache
def _style() -> str:
    return theme.variables() + asset("page.css")


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("ingest.report.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2")

"""The server's own pages, and the bar above all of them: links, pickers, data as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from ingest._core.study import Study
from ingest.publish.reading import Reader
from ingest.report.overview import overview_of
from ingest.report.pages.page import Notice, Page, Part, Section, Table, render

Span = tuple[date | None, date | None]
SHOWN = 1000
_PEOPLE = """
SELECT p.participant_id, p.arm, p.enrolled_on, p.withdrew_on, n.nights, n.first_night, n.last_night, s.signals
FROM participant p
LEFT JOIN (SELECT participant_id, CAST(count(*) AS bigint) AS nights, min(night_date) AS first_night,
                  max(night_date) AS last_night FROM night GROUP BY participant_id) AS n
     ON n.participant_id = p.participant_id
LEFT JOIN (SELECT participant_id, CAST(count(*) AS bigint) AS signals FROM safety_signal
           WHERE acknowledged_at IS NULL GROUP BY participant_id) AS s ON s.participant_id = p.participant_id
"""
_WORDS = {"participants": "Participants", "nights": "Nights", "exports": "Exports", "refused": "Exports refused",
          "partial": "Exports loaded in part", "quarantine_rows": "Rows set aside",
          "open_safety_signals": "Open safety signals"}  # fmt: skip


class Bar:
    """What the server puts above a page."""

    def __init__(self, logout: bool, refs: bool) -> None:
        self._fixed = {"logout": logout, "refs": refs}

    def html(self, **parts: Any) -> Markup:
        """The bar with a search box (`search`, its text), dates (`span`), a login (`login`, `next`), `files`."""
        nothing: dict[str, Any] = {"search": None, "span": None, "login": False, "next": "/", "files": ()}
        return Markup(_template().render({**nothing, **self._fixed, **parts}))  # noqa: S704 - escaped by the template

    def shown(self, page: Page, **parts: Any) -> bytes:
        """The page below the bar, as HTML."""
        return render(replace(page, above=self.html(**parts), form_action="'self'"))


@cache
def _template() -> Template:
    loader = PackageLoader("ingest.serve", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True).get_template(
        "bar.html.j2"
    )


def files_of(page: Page, below: str, span: Span) -> list[tuple[str, str]]:
    """Address and words of the CSV of each table of a page."""
    asked = {name: str(value) for name, value in zip(("from", "to"), span, strict=True) if value is not None}
    query = f"?{urlencode(asked)}" if asked else ""
    return [(f"{below}/{quote(name)}.csv{query}", name) for name in page.data]


def home(study: Study, reader: Reader) -> Page:
    """The study in a few numbers, and where to go from here."""
    counts = overview_of(reader)
    rows = [[words, str(counts[name])] for name, words in _WORDS.items()]
    published = reader.rows("SELECT max(published_at) FROM publication")[0][0]
    last = f"Last publication: {published:%Y-%m-%d %H:%M} UTC" if published else "Nothing has been published yet"
    return Page(study.settings.study, [Section("", [Table("The study in numbers", ["", "Number"], rows, ["Number"])])],
                subtitle=last)  # fmt: skip


def participants(study: Study, reader: Reader, search: str) -> Page:
    """Who is in the study, by id; those whose id or arm holds `search`."""
    found = reader.table(_PEOPLE).sort_by("participant_id").to_pylist()
    word = search.casefold()
    chosen = [row for row in found if word in row["participant_id"] or word in (row["arm"] or "").casefold()]
    names = ("arm", "enrolled_on", "withdrew_on", "nights", "first_night", "last_night", "signals")
    rows = [[row["participant_id"], *("" if row[name] is None else str(row[name]) for name in names)]
            for row in chosen[:SHOWN]]  # fmt: skip
    headers = ["Participant", "Arm", "Enrolled", "Withdrew", "Nights", "First night", "Last night", "Open signals"]
    note = f"The first {SHOWN} of {len(chosen)}; search for others." if len(chosen) > SHOWN else ""
    table = Table(f"{len(chosen)} of {len(found)} participants", headers, rows, ["Nights", "Open signals"], note,
                  links=[f"/participant/{row['participant_id']}" for row in chosen[:SHOWN]])  # fmt: skip
    parts: list[Part] = [table] if rows else [Notice("Nobody is found.")]
    return Page(f"{study.settings.study}: participants", [Section("", parts)])


def told(title: str, lines: Sequence[str]) -> Page:
    """A page that says what went wrong and what to do."""
    return Page(title, [Section("", [Notice(title, lines, alert=True)])])


def login(wrong: bool) -> Page:
    """Asks for the token."""
    parts = [Notice("This is not the token of this server.", alert=True)] if wrong else []
    return Page("Log in", [Section("", parts)], subtitle="Who runs `ingest serve` knows the token.")

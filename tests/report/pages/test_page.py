"""What holds for any page: hostile text stays text, data come through whole, the same page is the same bytes."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import Browser

from browser import open_page
from ingest.report.pages import theme
from ingest.report.pages.embed import columns
from ingest.report.pages.page import Chart, Notice, Page, Section, Table, Text, render, write_page

HOSTILE = ["</script><script>document.title='taken'</script>", "<img src=x onerror=\"document.title='taken'\">",
           "=HYPERLINK(\"x\")", "\u202eevil", "a\u2028b\u2029c", "{{ 7*7 }}", "&lt;b&gt;"]  # fmt: skip
DATA = pa.table({
    "day": [date(2026, 1, 1), date(2026, 1, 2), None, date(2026, 1, 4), date(2026, 1, 5), None, date(1969, 12, 31)],
    "at": pa.array([datetime(2026, 1, 1, 23, 5, 1, tzinfo=UTC), *[None] * 6], pa.timestamp("us", "UTC")),
    "minutes": [1.5, 0.0, None, 400.0, -2.25, 1 / 3, 7.0],
    "yes": [True, False, None, True, True, False, True],
    "words": HOSTILE,
})  # fmt: skip


def hostile_page() -> Page:
    text = " ".join(HOSTILE)
    spec = {"width": 300, "height": 60, "data": {"name": "rows"}, "mark": {"type": "point", "color": "$blue"},
            "encoding": {"x": {"field": "minutes", "type": "quantitative"}, "y": {"field": "words", "type": "nominal"},
                         "tooltip": {"field": "words", "type": "nominal"}}}  # fmt: skip
    parts = [Text(text), Notice(text, HOSTILE, alert=True), Table(text, ["a", "b"], [HOSTILE[:2]], note=text),
             Chart("one", text, text, spec, ["rows"])]  # fmt: skip
    return Page(text, [Section(text, parts)], {"rows": DATA}, subtitle=text, footer=HOSTILE)


def test_hostile_text_is_shown_as_text(chromium: Browser, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", hostile_page())
    opened = open_page(chromium, tmp_path / "page.html")
    assert opened.complaints == []
    assert opened.page.title() == " ".join(HOSTILE)
    cells = opened.page.locator("main table").first.locator("tbody th, tbody td").all_text_contents()
    assert cells == HOSTILE[:2]
    opened.page.locator("details.data summary").click()
    shown = opened.page.locator("details.data table tr td:last-child").all_text_contents()
    assert shown == HOSTILE
    assert opened.page.locator("img, iframe, object").count() == 0
    with opened.page.expect_download() as saved:
        opened.page.locator("button.csv").click()
    given = list(csv.DictReader(io.StringIO(saved.value.path().read_bytes().decode())))
    assert [row["words"] for row in given] == [f"'{text}" if text[0] == "=" else text for text in HOSTILE]
    opened.context.close()


def test_a_policy_allows_only_the_scripts_of_the_page(chromium: Browser, tmp_path: Path) -> None:
    html = render(hostile_page()).decode()
    body, end, rest = html.rpartition("</body>")  # the last one: Vega's scripts have some of their own
    strange = f"{body}<script>document.title = 'taken'</script>{end}{rest}"
    (tmp_path / "page.html").write_text(strange)
    opened = open_page(chromium, tmp_path / "page.html")
    assert opened.page.title() != "taken"
    assert len([said for said in opened.complaints if "Content Security Policy" in said]) == 1
    opened.context.close()


def test_a_page_asks_for_nothing(chromium: Browser, tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", hostile_page())
    opened = open_page(chromium, tmp_path / "page.html")
    assert opened.asked == []
    opened.context.close()


def test_the_same_page_is_the_same_bytes(tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", hostile_page())
    write_page(tmp_path / "b.html", hostile_page())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_columns_hold_every_value() -> None:
    held = json.loads(json.dumps(columns(DATA)))
    values = dict(zip(held["names"], held["values"], strict=True))
    assert dict(zip(held["names"], held["types"], strict=True)) == {
        "day": "date", "at": "instant", "minutes": "number", "yes": "boolean", "words": "text"}  # fmt: skip
    assert values["day"] == [None if day is None else (day - date(1970, 1, 1)).days for day in DATA["day"].to_pylist()]
    assert values["at"][0] == int(datetime(2026, 1, 1, 23, 5, 1, tzinfo=UTC).timestamp())
    assert values["minutes"] == [1.5, 0, None, 400, -2.25, pytest.approx(1 / 3, abs=5e-4), 7]
    assert [held["words"]["words"][number] for number in values["words"]] == HOSTILE


@pytest.mark.parametrize("name", theme.THEMES)
def test_colours_stand_out(name: str) -> None:
    colours = theme.THEMES[name]
    texts = [("ink", "paper"), ("muted", "paper"), ("accent", "paper"), ("ink", "panel"), ("muted", "panel"),
             ("alert", "alertpaper"), ("ink", "alertpaper")]  # fmt: skip
    assert [pair for pair in texts if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []
    assert [mark for mark in theme.MARKS if contrast(colours[mark], colours["paper"]) < 3] == []


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue

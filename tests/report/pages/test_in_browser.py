"""A participant's page in Chromium with the network cut: drawn, zoomed, read off, printed, and open to everybody."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from browser import Opened, open_page
from report_pages import HOSTILE, SILENT, page_of
from studies import pid, rows


@pytest.fixture(scope="module")
def opened(chromium: Browser, paged: Path, busy: str) -> Iterator[Opened]:
    """The page of who answered every instrument."""
    found = open_page(chromium, page_of(paged, busy), viewport={"width": 1280, "height": 900})
    yield found
    found.context.close()


def shown_dates(opened: Opened) -> tuple[date, date]:
    found = opened.page.evaluate("[document.body.dataset.from, document.body.dataset.to]")
    return date.fromisoformat(found[0]), date.fromisoformat(found[1])


def test_it_asks_for_nothing_and_complains_of_nothing(opened: Opened) -> None:
    assert opened.asked == []
    assert opened.complaints == []
    plots = opened.page.locator(".plot")
    assert plots.count() > 10
    drawn = opened.page.evaluate(
        "[...document.querySelectorAll('.plot')].map(e => e.querySelectorAll('canvas').length)"
    )
    assert drawn == [1] * plots.count()
    assert "taken" not in opened.page.title()


def test_hostile_words_are_shown_as_text(opened: Opened) -> None:
    assert HOSTILE.split("\u202e")[0].strip() in (opened.page.locator(".notice.alert").first.text_content() or "")


def test_dragging_zooms_every_lane_and_a_double_click_shows_all(opened: Opened) -> None:
    page, whole = opened.page, shown_dates(opened)
    plot = page.locator("#plot-sleep")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60, steps=4)
    assert page.locator("#plot-tst .brush").is_visible()
    page.mouse.up()
    first, last = shown_dates(opened)
    days, all_days = (last - first).days + 1, (whole[1] - whole[0]).days + 1
    assert whole[0] < first < last < whole[1]
    assert days == pytest.approx(all_days * 0.3 * box["width"] / (box["width"] - 76), abs=2.5)
    assert page.locator("#from").input_value() == str(first)
    plot.dblclick(position={"x": box["width"] / 2, "y": 60})
    assert shown_dates(opened) == whole


def test_pointing_and_arrow_keys_read_a_night_with_its_source(opened: Opened, paged: Path, busy: str) -> None:
    page = opened.page
    plot = page.locator("#plot-tst")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 30)
    assert page.locator("#tip").is_visible()
    pointed = date.fromisoformat(page.locator("#night").input_value())
    assert said(opened)["Night of"] == str(pointed)
    plot.focus()
    page.keyboard.press("ArrowRight")
    assert said(opened)["Night of"] == str(pointed + timedelta(1))
    for night, tst, source in rows(paged, "select night_date, tst_min, source || '/' || device from night where "
                                   f"participant_id = '{busy}' order by night_date limit 3"):  # fmt: skip
        page.locator("#night").fill(str(night))
        page.locator("#night").dispatch_event("change")
        found = said(opened)
        assert (found["TST min"], found["Source"]) == (f"{tst:g}", source)


def said(opened: Opened) -> dict[str, str]:
    terms = opened.page.locator("#readout dt").all_text_contents()
    return dict(zip(terms, opened.page.locator("#readout dd").all_text_contents(), strict=True))


def test_data_of_a_chart_are_a_table_and_a_csv(opened: Opened, paged: Path, busy: str) -> None:
    figure = opened.page.locator("#chart-tst")
    figure.locator("summary").click()
    expected = rows(paged, f"select night_date, tst_min from night where participant_id = '{busy}' order by 1")
    dates = rows(paged, f"select count(*) from coverage where participant_id = '{busy}'")[0][0]
    assert figure.locator("tbody tr").count() >= dates
    with opened.page.expect_download() as saved:
        figure.locator("button.csv").click()
    given = list(csv.DictReader(io.StringIO(saved.value.path().read_text())))
    found = [(row["night_date"], float(row["tst_min"])) for row in given if row["tst_min"]]
    assert found == [(str(night), pytest.approx(tst, abs=6e-4)) for night, tst in expected]
    figure.locator("summary").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(chromium: Browser, paged: Path, busy: str, scheme: str) -> None:
    for who in [busy] if scheme == "dark" else [busy, pid(paged, SILENT)]:
        opened = open_page(chromium, page_of(paged, who), color_scheme=scheme, bypass_csp=True)
        found = Axe().run(opened.page).response["violations"]
        opened.context.close()
        assert [(each["id"], each["nodes"][0]["html"]) for each in found
                if each["impact"] in ("serious", "critical")] == []  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints_on_two_pages_of_a4(chromium: Browser, paged: Path, busy: str, scheme: str) -> None:
    opened = open_page(chromium, page_of(paged, busy), color_scheme=scheme)
    pdf = opened.page.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 2
    boxes = [[float(edge) for edge in box.split()] for box in re.findall(rb"/MediaBox\s*\[([^\]]*)\]", pdf)]
    assert boxes == [pytest.approx([0, 0, 595, 842], abs=1)] * len(boxes)
    assert opened.complaints == []
    opened.context.close()

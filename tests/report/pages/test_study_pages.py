"""cohort.html and intake.html of a study with associations, in Chromium with the network cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from browser import Opened, open_page
from report_pages import embedded, table
from studies import rows

NAMES = ("cohort", "intake")


@pytest.fixture(scope="module", params=[(name, scheme) for name in NAMES for scheme in ("light", "dark")], ids=str)
def opened(request: pytest.FixtureRequest, chromium: Browser, paged: Path) -> Iterator[Opened]:
    name, scheme = request.param
    found = open_page(chromium, paged / "reports" / f"{name}.html", color_scheme=scheme)
    yield found
    found.context.close()


def test_a_study_page_is_drawn_without_network_complaint_or_barrier(opened: Opened) -> None:
    assert (opened.asked, opened.complaints) == ([], [])
    plots = opened.page.locator(".plot")
    assert plots.count() >= 2
    assert opened.page.locator(".plot canvas").count() == plots.count()
    serious = [
        each for each in Axe().run(opened.page).response["violations"] if each["impact"] in ("serious", "critical")
    ]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in serious] == []


def test_the_cohort_page_names_nobody_and_shows_no_small_cell(paged: Path) -> None:
    path = paged / "reports" / "cohort.html"
    text = path.read_text()
    ids = [each for (each,) in rows(paged, "select participant_id from participant")]
    assert [each for each in ids if each in text] == []
    data = embedded(path)
    sql = "select basis, block, state, count(*) from insomnia_week group by all"
    counts = {tuple(row[:3]): row[3] for row in rows(paged, sql)}
    shown = [row for row in table(data, "states") if row["status"] == "shown"]
    assert {(row["basis"], row["week"], row["state"]) for row in shown} <= {key for key, n in counts.items() if n >= 3}
    by_week = Counter((row["basis"], row["week"]) for row in table(data, "states") if row["status"] != "shown")
    assert 1 not in by_week.values(), "the only hidden state of a week follows from the others"
    assert {row["status"] for row in table(data, "coverage")} >= {"shown"}
    hidden = [row for name in data["tables"] for row in table(data, name) if row.get("status") == "suppressed"]
    assert hidden
    assert {value for row in hidden for name, value in row.items() if name in ("participants", "nights", "median")} == {
        None
    }
    assert "p_value" not in text
    assert "best dose" not in text


def test_the_intake_page_says_what_to_do(paged: Path) -> None:
    text = (paged / "reports" / "intake.html").read_text()
    details = [detail for (detail,) in rows(paged, "select distinct detail from quarantine")]
    assert details
    shown = {row["what_to_do"] for row in table(embedded(paged / "reports" / "intake.html"), "refusals")}
    assert shown <= set(details)
    assert "To do" in text

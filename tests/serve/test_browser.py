"""`ingest serve` as a person uses it: a real server, a real browser, no network but the loopback."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

from browser import wait_drawn
from serve.hostile import FORMULA, SCRIPT, TOKEN, TURNED, Server
from studies import rows


class Visit:
    """A page in a context of its own that reaches the server only; what it asked for and what it complained of."""

    def __init__(self, chromium: Browser, server: Server) -> None:
        self.context = chromium.new_context()
        self.page: Page = self.context.new_page()
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self.url = server.url
        self.context.route("**/*", self._only_loopback)
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _only_loopback(self, route: Route) -> None:
        if route.request.url.startswith((self.url, "blob:", "data:")):
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def at(self, path: str) -> Page:
        self.page.goto(self.url + path)
        wait_drawn(self.page)
        return self.page


@pytest.fixture
def visit(chromium: Browser, server: Server) -> Iterator[Visit]:
    """Logged in by the form."""
    made = Visit(chromium, server)
    made.page.goto(f"{server.url}/participants")
    made.page.get_by_label("Token").fill(TOKEN)
    made.page.get_by_role("button", name="Log in").click()
    yield made
    made.context.close()


def test_a_login_leads_to_the_page_that_was_asked_for_and_hides_its_session(visit: Visit) -> None:
    assert visit.page.url == f"{visit.url}/participants"
    (cookie,) = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert TOKEN not in cookie["value"]
    assert visit.page.evaluate("document.cookie") == ""
    visit.page.get_by_role("button", name="Log out").click()
    visit.page.goto(f"{visit.url}/cohort")
    assert visit.page.url == f"{visit.url}/login?next=/cohort"


def test_a_wrong_token_is_refused(chromium: Browser, server: Server) -> None:
    made = Visit(chromium, server)
    made.page.goto(f"{server.url}/cohort")
    made.page.get_by_label("Token").fill(TOKEN + "x")
    made.page.get_by_role("button", name="Log in").click()
    assert "not the token" in made.page.get_by_role("alert").inner_text()
    assert made.context.cookies() == []
    made.context.close()


@pytest.mark.parametrize("path", ["/", "/participants", "/cohort", "/intake", "participant"])
def test_pages_work_without_network_complaint_or_barrier(visit: Visit, spoilt: Path, path: str) -> None:
    page = visit.at(path if path.startswith("/") else f"/participant/{first_id(spoilt)}")
    assert page.get_by_role("heading", level=1).count() == 1
    assert visit.complaints == []
    assert visit.elsewhere == []
    serious = [each for each in Axe().run(page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in serious] == []


def first_id(root: Path) -> str:
    return str(rows(root, "select min(participant_id) from participant")[0][0])


def test_a_participant_is_found(visit: Visit, spoilt: Path) -> None:
    ids = [each for (each,) in rows(spoilt, "select participant_id from participant order by 1")]
    page = visit.at("/participants")
    assert page.locator("main tbody th").all_inner_texts() == ids
    page.get_by_role("searchbox").fill(ids[2][3:12])
    page.get_by_role("button", name="Search").click()
    assert page.url == f"{visit.url}/participants"
    assert page.locator("main tbody th").all_inner_texts() == [ids[2]]
    page.get_by_role("link", name=ids[2]).click()
    assert page.url == f"{visit.url}/participant/{ids[2]}"
    wait_drawn(page)
    assert visit.complaints == []


def test_dates_are_picked_and_the_csv_holds_what_the_warehouse_does(visit: Visit, spoilt: Path) -> None:
    ((first, last),) = rows(spoilt, "select min(block_start), min(block_start) + 13 from insomnia_week")
    page = visit.at("/cohort")
    page.get_by_label("Dates from").fill(str(first))
    page.get_by_role("form", name="Dates").locator("[name=to]").fill(str(last))
    page.get_by_role("button", name="Show").click()
    assert page.url == f"{visit.url}/cohort?from={first}&to={last}"
    wait_drawn(page)
    page.get_by_text("Save the data of this page as CSV").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="coverage", exact=True).click()
    assert saved.value.suggested_filename == "cohort-coverage.csv"
    given = list(csv.DictReader(saved.value.path().open(encoding="utf-8")))
    sql = f"""select floor((c.date - p.enrolled_on) / 7.0), count(distinct participant_id),
                     100.0 * count(*) filter (c.has_sleep) / count(*)
              from coverage c join participant p using (participant_id)
              where c.date between greatest(p.enrolled_on, date '{first}') and date '{last}' group by 1"""
    expected = {str(int(week)): (str(people), share) for week, people, share in rows(spoilt, sql) if people >= 2}
    shown = [row for row in given if row["status"] == "shown" and row["kind"] == "night"]
    assert shown
    for row in shown:
        people, share = expected[row["week"]]
        assert (row["participants"], float(row["covered_pct"])) == (people, pytest.approx(share))
    assert {row["participants"] for row in given if row["status"] == "suppressed"} <= {""}
    assert visit.complaints == []


def test_hostile_text_is_shown_as_text(visit: Visit, spoilt: Path) -> None:
    page = visit.at("/participants")
    assert page.locator("main tbody tr").first.locator("td").first.inner_text() == SCRIPT
    page = visit.at("/intake")
    assert "intake" in page.title()
    strange = page.locator("#strange table").first.locator("tbody th").all_text_contents()
    assert sorted(strange) == sorted([FORMULA, TURNED])
    assert SCRIPT in page.locator("#refusals").inner_text()
    page.get_by_text("Save the data of this page as CSV").click()
    with page.expect_download() as saved:
        page.get_by_role("link", name="substances", exact=True).click()
    cells = [row["substance"] for row in csv.DictReader(saved.value.path().open(encoding="utf-8"))]
    assert sorted(cells) == sorted([f"'{FORMULA}", TURNED])
    page.goto(f"{visit.url}/participants")
    page.get_by_role("searchbox").fill(f"\"'>{SCRIPT[:50]}")
    page.get_by_role("button", name="Search").click()
    assert page.get_by_role("searchbox").input_value() == f"\"'>{SCRIPT[:50]}"
    assert page.title() != "taken"
    assert visit.complaints == []


def test_intake_counts_what_came(visit: Visit, spoilt: Path) -> None:
    today = date.fromisoformat(str(rows(spoilt, "select cast(max(arrived_at) as date) from source_file")[0][0]))
    page = visit.at(f"/intake?from={today}&to={today}")
    refused = rows(spoilt, "select count(*) from source_file where status = 'refused'")[0][0]
    assert refused
    assert f"Exports refused: {refused};" in page.locator("#todo").inner_text()


def test_the_log_holds_no_token_session_or_search(visit: Visit, server: Server) -> None:
    page = visit.at("/participants")
    page.get_by_role("searchbox").fill("Canary-Alma")
    page.get_by_role("button", name="Search").click()
    assert "Nobody is found" in page.inner_text("main")
    page.goto(f"{visit.url}/participant/Canary-Alma")
    said = server.log.read_text()
    assert "method=POST path=/participants status=200" in said
    assert "Canary-Alma" not in said
    assert TOKEN not in said + server.said
    assert visit.context.cookies()[0]["value"] not in said

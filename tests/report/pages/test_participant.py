"""A participant's page says what the warehouse says: by statements of this file, not by the page's own."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from ingest._core.errors import WrongUse
from ingest._core.study import open_study
from ingest.erase import erase
from ingest.harmonise.identity import people
from ingest.publish.reading import opened
from ingest.report.pages.page import render
from ingest.report.pages.participant import participant_page
from ingest.report.pages.writing import STUDY_PAGES, write_all, write_one
from ingest.withdraw import withdraw
from report_pages import HOSTILE, SILENT, embedded, page_of, table
from studies import PROJECT, command, files, pid, rows

EPOCH = date(1970, 1, 1)


def day(number: int) -> date:
    return EPOCH + timedelta(number)


def everybody(root: Path) -> list[str]:
    return [person.participant_id for ref, person in people(open_study(root)).items() if ref != SILENT]


def close(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, abs=6e-4)


def text_of(path: Path) -> str:
    """What a reader reads, scripts and styles left out."""
    html = re.sub(r"<(script|style)\b.*?</\1>", " ", path.read_text(), flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html)))


def test_every_row_of_the_roster_has_a_page(paged: Path) -> None:
    ids = {person.participant_id for person in people(open_study(paged)).values()}
    assert {path.stem for path in (paged / "reports").glob("p*.html")} == ids


def test_who_has_no_night_has_a_page_that_says_so(paged: Path) -> None:
    said = text_of(page_of(paged, pid(paged, SILENT)))
    assert "No night, no diary and no log of this participant has been published." in said
    assert "Nobody watches this page in real time." in said


def test_nights_are_the_warehouses(paged: Path) -> None:
    measures = ["tst_min", "sol_min", "waso_min", "waso_long_min", "se_tib_pct", "nap_min"]
    for who in everybody(paged):
        held = {day(row["night_date"]): row for row in table(embedded(page_of(paged, who)), "nights")}
        nights = rows(paged, f"select night_date, {', '.join(measures)} from night where participant_id = '{who}'")
        assert {on for on, row in held.items() if row["no_night"] is None} == {night[0] for night in nights}
        for on, *values in nights:
            assert [held[on][name] for name in measures] == [close(value) for value in values]
        for on, *values in rows(paged, "select night_date, sol_min, waso_min, se_tib_pct from night_diary "
                                f"where participant_id = '{who}'"):  # fmt: skip
            found = [held[on][f"diary_{name}"] for name in ("sol_min", "waso_min", "se_pct")]
            assert found == [close(value) for value in values]
        for on, mean, count in rows(paged, "select night_date, tst_mean_7d, tst_n_7d from trend "
                                    f"where participant_id = '{who}'"):  # fmt: skip
            assert (held[on]["tst_mean_7d"], held[on]["tst_n_7d"]) == (close(mean), count)
        reasons = dict(
            rows(paged, f"select date, reason from coverage where participant_id = '{who}' and not has_sleep")
        )
        assert {on: held[on]["no_night"] for on in reasons} == {
            on: why.replace("_", " ") for on, why in reasons.items()
        }


def test_drawn_sleep_is_the_warehouses(paged: Path) -> None:
    for who in everybody(paged):
        drawn: dict[str, list[tuple[date, float, float]]] = defaultdict(list)
        for row in table(embedded(page_of(paged, who)), "sleep"):
            drawn[row["what"]].append((day(row["day"]), row["from_h"], row["to_h"]))
        nights = rows(paged, "select cast(onset_local - interval 12 hour as date), "
                      "epoch(onset_local - interval 12 hour) % 86400 / 3600.0, spt_min / 60 from night "
                      f"where participant_id = '{who}' and onset_local is not null")  # fmt: skip
        assert sorted(drawn["sleep"]) == [
            (on, close(start), close(start + length)) for on, start, length in sorted(nights)
        ]
        naps = rows(paged, "select (epoch(end_utc) - epoch(start_utc)) / 3600.0 from night_source "
                    f"join sleep_session using (participant_id, session_id) where participant_id = '{who}' "
                    "and role = 'nap' and is_current order by 1")  # fmt: skip
        assert sorted(end - start for _, start, end in drawn["nap"]) == [
            pytest.approx(hours, abs=2e-3) for (hours,) in naps
        ]
        long = rows(paged, f"select coalesce(sum(waso_long_min), 0) / 60 from night where participant_id = '{who}'")
        assert [(sum(end - start for _, start, end in drawn["wake"]),)] == [(pytest.approx(long[0][0], abs=0.02),)]


def test_doses_and_days_of_the_log_are_the_warehouses(paged: Path) -> None:
    for who in everybody(paged):
        data = embedded(page_of(paged, who))
        found = sorted((row["substance"], row["amount"]) for row in table(data, "doses") if row["amount"] is not None)
        assert found == [(substance, close(amount)) for substance, amount in rows(
            paged, f"select substance, amount from substance_use where participant_id = '{who}' and is_current "
            "and not no_use and amount is not null order by substance, round(amount, 3)")]  # fmt: skip
        held = {(day(row["exposure_day"]), row["substance"]): (row["log_status"], row["amount_day"])
                for row in table(data, "totals")}  # fmt: skip
        said = rows(paged, "select night_date, substance, log_status, amount_day from night_exposure "
                    f"where participant_id = '{who}' and anchor = 'usual'")  # fmt: skip
        assert said
        assert {(on, substance): held[on, substance] for on, substance, *_ in said} == {
            (on, substance): (status, close(amount)) for on, substance, status, amount in said}  # fmt: skip


def test_scales_and_states_are_the_warehouses(paged: Path) -> None:
    for who in everybody(paged):
        data = embedded(page_of(paged, who))
        totals = [(day(row["answered_on"]), row["instrument"], row["total"]) for row in table(data, "scales")
                  if row["band"] != "daily rating"]  # fmt: skip
        assert sorted(totals) == rows(
            paged,
            "select answered_on, instrument, total from scale_response where "
            f"participant_id = '{who}' and is_current and total is not null order by all",
        )
        daily = [row["total"] for row in table(data, "scales") if row["band"] == "daily rating"]
        items = rows(paged, f"select items from scale_response where participant_id = '{who}' and instrument = 'DAILY' "
                     "and is_current")  # fmt: skip
        assert sorted(daily) == sorted(value for (text,) in items for value in json.loads(text).values())
        weeks = [(row["basis"], day(row["block_start"]), row["state"]) for row in table(data, "weeks")]
        assert sorted(weeks) == rows(paged, "select basis, block_start, state from insomnia_week "
                                     f"where participant_id = '{who}' order by all")  # fmt: skip


def test_bands_stand_with_their_number_of_nights(paged: Path, busy: str) -> None:
    said = text_of(page_of(paged, busy))
    found = rows(paged, "select dose_band, n_nights, tst_mean_min from dose_sleep where level = 'participant' and "
                 f"participant_id = '{busy}' and substance = 'kratom' and basis = 'wearable' and phase = 'all' and "
                 "dose_band like '[%' and n_nights > 0")  # fmt: skip
    assert found
    for band, nights, tst in found:
        low, high = band.strip("[)").split(",")
        words = f"{low} g or more" if high == "inf" else f"{low} to below {high} g"
        assert f"{words} {nights} {tst:.0f}" in said


def test_signals_stand_first_and_an_abrupt_stop_before_others(paged: Path) -> None:
    counts = rows(paged, "select participant_id, count(*), count(*) filter (rule = 'abrupt_stop') from safety_signal "
                  "where acknowledged_at is null group by 1")  # fmt: skip
    assert counts
    for who, signals, stops in counts:
        said = text_of(page_of(paged, who))
        title = f"{signals} open safety signal{'s' * (signals > 1)}" + ", among them an abrupt stop" * (stops > 0)
        assert f"{title}. Nobody watches this page in real time." in said
        assert said.index(title) < said.index("Months on one axis")
        if stops and signals > stops:
            assert said.index("Abrupt stop (") < said.index("Combined use on one day (")


def test_what_is_never_shown_is_nowhere_in_a_page(paged: Path) -> None:
    for who in everybody(paged):
        path = page_of(paged, who)
        names = {name for held in embedded(path)["tables"].values() for name in held["names"]}
        assert not names & {"p_value", "q_value", "mme_mg", "residual_load"}
        assert not re.search(r"\bp ?[=<]|p-value|best dose|optimal|recommend|disorder|\bMME\b|percentile|\brank",
                             text_of(path), re.I)  # fmt: skip
        ended = rows(paged, f"select max(date) from coverage where participant_id = '{who}'")[0][0]
        assert all(day(row["block_end"]) <= ended + timedelta(1) for row in table(embedded(path), "weeks"))


def test_a_page_names_no_ref(paged: Path) -> None:
    refs = list(people(open_study(paged)))
    for path in (paged / "reports").glob("*.html"):
        said = text_of(path) + json.dumps(embedded(path)["tables"] if 'id="data"' in path.read_text() else "")
        assert [ref for ref in refs if ref in said] == []


def test_hostile_words_of_a_study_are_text(paged: Path, busy: str) -> None:
    html = page_of(paged, busy).read_text()
    assert "document.title='taken'</script>" not in html
    assert HOSTILE in unescape(html)


def test_twice_the_same_pages_are_the_same_bytes(paged: Path, busy: str) -> None:
    before = files(paged / "reports")
    write_one(open_study(paged), busy)
    write_one(open_study(paged), pid(paged, SILENT))
    assert files(paged / "reports") == before


def test_dates_restrict_the_axis(paged: Path, busy: str) -> None:
    study = open_study(paged)
    (first, last) = rows(
        paged, f"select min(night_date) + 5, min(night_date) + 18 from night where participant_id = '{busy}'"
    )[0]
    with opened(study) as reader:
        page = participant_page(study, reader, busy, first, last)
    assert page.time == {"first": str(first), "last": str(last), "readout": "nights"}
    assert page.data["nights"]["night_date"].to_pylist() == [first + timedelta(n) for n in range(14)]
    assert render(page)


def test_somebody_unknown_is_wrong_use(paged: Path) -> None:
    with pytest.raises(WrongUse, match="no such participant"):
        write_one(open_study(paged), "nobody")


def test_the_command_writes_one_page_or_all(paged: Path) -> None:
    one = command("--study", paged, "report", SILENT)
    assert one.stdout == f"written    {page_of(paged, pid(paged, SILENT))}\n"
    assert command("--study", paged, "report").returncode == 2


def test_the_commands_of_the_docs_are_typed_in(changed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PROJECT / "docs/pages.md").read_text(encoding="utf-8")
    lines = [line.split() for body in re.findall(r"```sh\n(.*?)```", page, re.S) for line in body.splitlines()]
    monkeypatch.setenv("INGEST_STUDY", str(changed))
    before = files(changed / "reports")
    for path in (changed / "reports").glob("*.html"):
        path.unlink()
    for words in lines:
        assert words[0] == "ingest"
        done = command(*words[1:])
        assert done.returncode == 0, done.stderr
    assert files(changed / "reports") == before


def test_specifications_are_vega_lite(paged: Path, busy: str) -> None:
    import altair as alt

    charts = embedded(page_of(paged, busy))["charts"]
    assert len(charts) > 10
    for chart in charts:
        spec = json.loads(json.dumps(chart["spec"]).replace('"$', '"#').replace('"#schema', '"$schema'))
        alt.Chart.from_dict({**spec, "datasets": {name: [] for name in chart["data"]}}, validate=True)


@pytest.fixture
def changed(paged: Path, tmp_path: Path) -> Path:
    shutil.copytree(paged, tmp_path / "study")
    return tmp_path / "study"


def test_who_is_erased_has_no_page_and_who_left_the_roster_neither(changed: Path, busy: str) -> None:
    assert erase(open_study(changed), busy).removed["reports"] == 1 + len(STUDY_PAGES)
    assert [name for name, data in files(changed / "reports").items() if busy.encode() in data or busy in name] == []
    lines = (changed / "roster.csv").read_text().splitlines()
    (changed / "roster.csv").write_text("\n".join(line for line in lines if not line.startswith(SILENT)) + "\n")
    assert write_all(open_study(changed)).removed == 1
    ids = {person.participant_id for person in people(open_study(changed)).values()}
    assert {path.stem for path in (changed / "reports").glob("p*.html")} == ids - {busy}
    assert {path.name for path in (changed / "reports").glob("[!p]*.html")} == set(STUDY_PAGES)


def test_a_page_after_a_withdrawal_shows_nothing_from_that_day_on(changed: Path) -> None:
    who = pid(changed, "K01")
    last = rows(changed, f"select max(night_date) - 10 from night where participant_id = '{who}'")[0][0]
    withdraw(open_study(changed), who, last, keep=True)
    held = table(embedded(page_of(changed, who)), "nights")
    assert max(day(row["night_date"]) for row in held if row["no_night"] is None) < last
    assert [row for row in table(embedded(page_of(changed, who)), "doses") if day(row["exposure_day"]) >= last] == []

"""phases.csv in a study: whom a change reaches, and that coverage and insomnia weeks tell the same as the tables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from ingest._core.study import open_study
from ingest.mart.rebuild import stale
from studies import command, pid, rows, run

OWN = "K02"


def test_coverage_has_the_phase_of_the_table_on_every_date(demo_done: Path) -> None:
    differing = rows(
        demo_done,
        "select count(*) from coverage c left join phase p on p.participant_id = c.participant_id "
        "and c.date between p.start_on and coalesce(p.end_on, date '9999-12-31') "
        "where c.phase is distinct from p.phase",
    )
    assert differing == [(0,)]
    assert {name for (name,) in rows(demo_done, "select distinct phase from coverage")} >= {
        "baseline", "taper", "run_in", "stable", None,
    }  # fmt: skip
    twice = "select 1 from phase a join phase b using (participant_id) where a.start_on < b.start_on " \
        "and coalesce(a.end_on, date '9999-12-31') >= b.start_on"  # fmt: skip
    assert rows(demo_done, twice) == []


def test_the_demo_shows_the_studys_own_phases_and_an_episode(demo_done: Path) -> None:
    found = rows(demo_done, f"select phase, start_on, end_on, source from phase where participant_id = "
                 f"'{pid(demo_done, OWN)}' order by start_on")  # fmt: skip
    assert [(name, source) for name, _, _, source in found] == [("run_in", "roster"), ("stable", "roster")]
    assert found[0][2] + timedelta(days=1) == found[1][1]
    assert found[1][2] is None
    assert rows(demo_done, "select count(*) > 0 from insomnia_week where state = 'episode'") == [(True,)]


def test_insomnia_weeks_count_the_nights_of_the_table(demo_done: Path) -> None:
    counted = rows(
        demo_done,
        "select w.participant_id, w.basis, w.block, w.valid_nights, w.bad_nights, count(n.is_bad), "
        "count(*) filter (n.is_bad) from insomnia_week w left join insomnia_night n "
        "on n.participant_id = w.participant_id and n.basis = w.basis "
        "and n.night_date between w.block_start and w.block_start + 6 group by all",
    )
    assert counted
    assert [row for row in counted if row[3:5] != row[5:7]] == []


def test_a_changed_phase_makes_its_participant_stale_and_nobody_else(demo_copy: Path) -> None:
    path = demo_copy / "phases.csv"
    path.write_text(path.read_text().replace("stable", "maintenance"))
    assert stale(open_study(demo_copy)) == [pid(demo_copy, OWN)]
    run(demo_copy)
    assert rows(demo_copy, "select count(*) from phase where phase = 'maintenance'") == [(1,)]
    assert rows(demo_copy, "select count(*) > 0 from coverage where phase = 'maintenance'") == [(True,)]
    assert rows(demo_copy, "select count(*) from coverage where phase = 'stable'") == [(0,)]


def test_a_bad_phase_leaves_what_stands_and_is_told(demo_copy: Path) -> None:
    before = rows(demo_copy, "select * from phase order by all")
    path = demo_copy / "phases.csv"
    path.write_text(path.read_text() + f"{OWN},again,2026-01-10,\n")
    run(demo_copy)
    assert rows(demo_copy, "select * from phase order by all") == before
    told = command("--study", demo_copy, "status", env={"COLUMNS": "400", "PATH": ""})
    assert "phases.csv line 4: the phase shares a day with that of line 2" in told.stdout + told.stderr

"""Marts built by their own stage are found, published, and taken away with their participant."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from ingest._core.study import read_roster
from ingest.harmonise.identity import entries_by_id, make_key
from ingest.lake.store import commit
from ingest.mart.rebuild import rebuild, stale
from ingest.publish.warehouse import publish_study
from publish.small_lake import EXPORTED, Content, arrow, study_at
from studies import write_roster


def enrolled(study, *refs):
    """The study with a roster of these."""
    write_roster(study.root, dict.fromkeys(refs, "Europe/Oslo"))
    return replace(study, roster=read_roster(study.root))


@pytest.fixture
def study(tmp_path):
    study = enrolled(study_at(tmp_path), "r1", "r2")
    make_key(study)
    for participant_id in entries_by_id(study):
        content = Content(participant_id, nights=3)
        for age in EXPORTED:
            rows = {name: arrow(name, found) for name, found in content.lake_rows(age).items()}
            commit(study.lake, content.manifest(age), rows)
    return study


def run(study):
    rebuild(study, stale(study))
    return publish_study(study)


def nights(study):
    with duckdb.connect(str(study.warehouse), read_only=True) as connection:
        return connection.execute(
            "SELECT n.participant_id, count(*), count(s.session_id) FROM night n LEFT JOIN sleep_session s "
            "ON n.main_session_id = s.session_id AND s.is_current GROUP BY ALL ORDER BY ALL"
        ).fetchall()


def test_marts_go_from_rebuild_to_warehouse(study):
    ids = sorted(entries_by_id(study))
    done = run(study)
    assert (done.published, done.waiting) == (ids, [])
    assert nights(study) == [(ids[0], 3, 3), (ids[1], 3, 3)]
    again = run(study)
    assert (again.published, again.unchanged) == ([], 2)
    assert again.counts() | {"warehouse_bytes": 0} == {
        "published": 0,
        "removed": 0,
        "waiting": 0,
        "unchanged": 2,
        "rows": 0,
        "warehouse_bytes": 0,
    }
    assert done.counts()["rows"] == sum(done.rows.values()) > done.counts()["published"] == 2


def test_who_leaves_the_roster_leaves_the_warehouse(study):
    run(study)
    left = enrolled(study, "r1")
    stays = list(entries_by_id(left))
    done = run(left)
    assert done.removed == sorted(entries_by_id(study).keys() - set(stays))
    assert nights(left) == [(stays[0], 3, 3)]

"""Every combination of scopes, table by table: what is not granted is not there, what is granted is as before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from itertools import product
from pathlib import Path

import pyarrow as pa
import pytest

from ingest._core.clock import tzdata_version
from ingest._core.consents import NOTHING, Consent
from ingest._core.contract import MART, tables
from ingest._core.study import open_study
from ingest.decode.registry import decoders
from ingest.harmonise.identity import entries_by_id
from ingest.harmonise.substances import class_and_unit
from ingest.lake.store import manifests, read_all
from ingest.mart.participant import build
from ingest.mart.person import PersonSettings
from ingest.mart.rebuild import person_settings, source_file_rows
from ingest.report.verify import verify
from studies import pid, rows, run

SCOPED = {
    "session_version": "sleep", "night": "sleep", "night_source": "sleep", "trend": "sleep", "insomnia_night": "sleep",
    "insomnia_week": "sleep", "diary_version": "sleep", "night_diary": "sleep",
    "use_version": "substance_use", "response_version": "scales",
}  # fmt: skip
MIXED = {"night_exposure", "safety_signal", "coverage", "phase"}
DAYS = {"night": "night_date", "night_source": "night_date", "trend": "night_date", "insomnia_night": "night_date",
        "night_diary": "night_date", "night_exposure": "night_date"}  # fmt: skip
Build = Callable[..., dict[str, pa.Table]]


@pytest.fixture(scope="module")
def built(demo_done: Path) -> Build:
    """Builds the marts of K01 with these consents."""
    study = open_study(demo_done)
    k01 = pid(demo_done, "K01")
    person: PersonSettings = person_settings(study, k01, entries_by_id(study)[k01])
    of = manifests(study.lake, k01)
    lake, seen = read_all(study.lake, of), date.fromisoformat(max(each.covers[1] for each in of if each.covers))
    logs = {each.source for each in decoders() if each.kind == "log"}
    made = {each.source_file_id: datetime.fromisoformat(each.exported_at) for each in of}

    def build_with(*consents: Consent) -> dict[str, pa.Table]:
        people = {k01: replace(person, consents=consents)}
        return build(lake, source_file_rows(of), people, study.settings, {k01: seen},
                     class_and_unit(study.settings.substances), logs, {}, made)  # fmt: skip

    assert tzdata_version()
    return build_with


@pytest.fixture(scope="module")
def whole(built: Build) -> dict[str, pa.Table]:
    return built()


def test_every_mart_is_of_a_scope(whole: dict[str, pa.Table]) -> None:
    assert set(tables(MART)) == {*SCOPED, *MIXED}
    assert all(len(whole[table]) for table in SCOPED)


@pytest.mark.parametrize(("sleep", "uses", "scales"), list(product((True, False), repeat=3)))
@pytest.mark.fault(66)
def test_tables_by_scopes(built: Build, whole: dict[str, pa.Table], sleep: bool, uses: bool, scales: bool) -> None:
    scopes = [scope for scope, yes in (("sleep", sleep), ("substance_use", uses), ("scales", scales)) if yes]
    made = built(*(Consent(scope) for scope in scopes or [NOTHING]))
    for table, scope in SCOPED.items():
        if scope in scopes:
            assert made[table].equals(whole[table]), table
        else:
            assert len(made[table]) == 0, table
    assert made["night_exposure"].equals(whole["night_exposure"]) if sleep and uses else not made["night_exposure"]
    cover = made["coverage"].to_pylist()
    assert any(row["has_log"] for row in cover) == uses
    assert any(row["has_sleep"] or row["has_diary"] for row in cover) == sleep
    assert any(row["reason"] == "not_consented" for row in cover) == (not sleep)
    if not (uses or scales):
        assert not len(made["safety_signal"])


def test_dates_of_a_scope_bound_its_rows(built: Build, whole: dict[str, pa.Table]) -> None:
    first, last = date(2026, 1, 15), date(2026, 1, 24)
    made = built(Consent("sleep", first, last), Consent("substance_use", date(2026, 1, 20), None))
    for table, column in DAYS.items():
        inside = set(made[table][column].to_pylist())
        since = date(2026, 1, 20) if table == "night_exposure" else first
        assert inside
        assert inside <= {day for day in whole[table][column].to_pylist() if since <= day <= last}, table
    assert made["night"]["night_date"].to_pylist() == [
        day for day in whole["night"]["night_date"].to_pylist() if first <= day <= last
    ]
    reasons = {row["date"]: row["reason"] for row in made["coverage"].to_pylist()}
    assert {day for day, reason in reasons.items() if reason == "not_consented"} == {
        day for day in reasons if not first <= day <= last
    }


@pytest.mark.fault(66)
def test_the_warehouse_holds_what_is_granted(demo_copy: Path) -> None:
    k01 = pid(demo_copy, "K01")
    (demo_copy / "consents.csv").write_text("participant_ref,scope,from_on,until_on\nK01,sleep,,\n")
    assert run(demo_copy).rebuilt.reasons == {k01: ["roster entry changed"]}

    def count(table: str) -> int:
        return int(rows(demo_copy, f"select count(*) from {table} where participant_id = '{k01}'")[0][0])

    assert [count(table) for table in ("substance_use", "night_exposure", "scale_response")] == [0] * 3
    assert all(count(table) > 20 for table in ("night", "sleep_session", "sleep_stage", "coverage"))
    assert verify(open_study(demo_copy)) == []
    # A row put back by hand is found.
    import duckdb

    with duckdb.connect(str(demo_copy / "warehouse.duckdb")) as connection:
        connection.execute(f"update substance_use set participant_id = '{k01}' where use_id = (select min(use_id) "
                           "from substance_use)")  # fmt: skip
    assert [each.where for each in verify(open_study(demo_copy)) if each.invariant == "I4"] == [
        "substance_use: 1 rows outside the scope substance_use of their participants"
    ]

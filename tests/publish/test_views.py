"""The views on DuckDB and on a real PostgreSQL: same text, same rows, columns and comments as schemas/ say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ingest._core import contract
from ingest._core.contract import VIEW
from ingest._core.settings import Settings
from ingest.publish import views

DAY = date(2026, 3, 1)
NIGHT = {"wake_date": DAY, "source": "fitbit", "device": "watch"}
_DEFAULTS: dict[str, Any] = {
    "string": "x", "number": 0.0, "integer": 1, "boolean": True, "date": DAY,
    "instant": datetime(2026, 3, 1, tzinfo=UTC), "clock": datetime(2026, 3, 1),
}  # fmt: skip


@dataclass
class Warehouse:
    engine: str
    connection: sa.Connection

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.exec_driver_sql(sql).fetchall()]

    def run(self, sql: str) -> None:
        self.connection.exec_driver_sql(sql)

    def add(self, table: str, **given: Any) -> None:
        """A row of `table`: what is given, NULL where it may be, else a value of the type."""
        row = {}
        for field in contract.fields(table, contract.PUBLISH):
            enum = field.get("constraints", {}).get("enum", [None])[0]
            default = (enum or _DEFAULTS[contract.kind(field)]) if contract.required(field) else None
            row[field["name"]] = given.pop(field["name"], default)
        assert not given
        self.connection.execute(contract.sqlalchemy_metadata().tables[table].insert(), row)

    def make(self, **settings: Any) -> Settings:
        chosen = Settings(study="s", **settings)
        views.make_views(chosen, self.ask, self.run, self.engine)
        return chosen

    def rows(self, view: str, *columns: str) -> list[tuple[Any, ...]]:
        order = ", ".join(contract.primary_key(view))
        return self.ask(f"SELECT {', '.join(columns)} FROM {view} ORDER BY {order}")


@pytest.fixture(params=["duckdb", "postgresql"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Warehouse]:
    duck = request.param == "duckdb"
    engine = sa.create_engine(f"duckdb:///{tmp_path}/w.duckdb" if duck else request.getfixturevalue("postgres"))
    contract.sqlalchemy_metadata().create_all(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("SET TimeZone = 'UTC'")
        yield Warehouse(request.param, connection)
    engine.dispose()


def _dose(warehouse: Warehouse, night_date: date, anchor: str, substance: str, unit: str, **given: Any) -> None:
    warehouse.add("night_exposure", participant_id="p1", night_date=night_date, anchor=anchor, substance=substance,
                  unit=unit, **given)  # fmt: skip


def test_columns_types_and_comments_are_those_of_the_schemas(warehouse: Warehouse) -> None:
    _dose(warehouse, DAY, "onset", "kratom", "g")
    settings = warehouse.make(scales={"recall_days": {"ISI": 14}})
    columns = views.columns_of(settings, warehouse.ask)
    types = {"double precision": "double", "timestamp with time zone": "timestamptz", "varchar": "text",
             "timestamp without time zone": "timestamp"}  # fmt: skip
    if warehouse.engine == "duckdb":
        sql = ("SELECT column_name, lower(data_type), comment FROM duckdb_columns() WHERE table_name = '{0}' "
               "AND schema_name = 'main' ORDER BY column_index")  # fmt: skip
        of_view = "SELECT comment FROM duckdb_views() WHERE view_name = '{0}'"
    else:
        sql = ("SELECT attname::text, format_type(atttypid, atttypmod), col_description(attrelid, attnum) "
               "FROM pg_attribute WHERE attrelid = '{0}'::regclass AND attnum > 0 ORDER BY attnum")  # fmt: skip
        of_view = "SELECT obj_description('{0}'::regclass)"
    wide = [name for name, *_ in warehouse.ask(sql.format("night_wide"))]
    assert {"kratom_g_amount_6h", "kratom_g_amount_6h_usual", "isi_total", "isi_age_days"} <= set(wide)
    for view in contract.tables(VIEW):
        found = [(name, types.get(kind, kind), text) for name, kind, text in warehouse.ask(sql.format(view))]
        sql_types = {"string": "text", "number": "double", "integer": "bigint", "boolean": "boolean", "date": "date",
                     "instant": "timestamptz", "clock": "timestamp"}  # fmt: skip
        assert found == [(field["name"], sql_types[contract.kind(field)], field["description"])
                         for field in views.fields(view, columns)]  # fmt: skip
        assert warehouse.ask(of_view.format(view)) == [(contract.schemas()[view]["description"],)]


def test_exposures_stand_in_columns_of_their_own_by_anchor(warehouse: Warehouse) -> None:
    warehouse.add("night", participant_id="p1", night_date=DAY, **NIGHT)
    _dose(warehouse, DAY, "onset", "kratom", "g", log_status="logged", amount_day=6.0, amount_6h=2.0,
          dose_band="[5,15)", dosed_during_sleep=True)  # fmt: skip
    _dose(
        warehouse, DAY, "usual", "kratom", "g", log_status="logged", amount_day=6.0, amount_6h=3.5, dose_band="[5,15)"
    )
    _dose(warehouse, DAY, "onset", "kratom", "mg", log_status="logged", amount_day=120.0)
    _dose(warehouse, DAY, "onset", "alcohol", "g", log_status="none_reported", amount_day=0.0, amount_6h=0.0)
    warehouse.make()
    names = ("kratom_g_amount_6h", "kratom_g_amount_6h_usual", "kratom_g_amount_day", "kratom_g_dose_band",
             "kratom_g_dosed_during_sleep", "kratom_mg_amount_day", "kratom_mg_amount_6h", "alcohol_g_log_status",
             "alcohol_g_amount_6h", "alcohol_g_amount_6h_usual")  # fmt: skip
    assert warehouse.rows("night_wide", *names) == [
        (2.0, 3.5, 6.0, "[5,15)", True, 120.0, None, "none_reported", 0.0, None)
    ]


def test_the_studys_list_of_substances_chooses_the_columns(warehouse: Warehouse) -> None:
    _dose(warehouse, DAY, "onset", "kratom", "g")
    _dose(warehouse, DAY, "onset", "alcohol", "g")
    settings = warehouse.make(exposure={"substances": ["alcohol"]})
    assert views.columns_of(settings, warehouse.ask).exposures == (("alcohol", "g"),)
    assert warehouse.rows("night_wide", "alcohol_g_amount_day") == []


def test_a_night_of_the_diary_alone_has_a_row(warehouse: Warehouse) -> None:
    warehouse.add("night", participant_id="p1", night_date=DAY, tst_min=400.0, **NIGHT)
    warehouse.add("night_diary", participant_id="p1", night_date=DAY + timedelta(1), sol_min=31.0)
    warehouse.add("insomnia_night", participant_id="p1", night_date=DAY + timedelta(1), basis="diary", is_bad=True)
    warehouse.add("insomnia_night", participant_id="p1", night_date=DAY, basis="wearable", is_bad=None)
    warehouse.make()
    assert warehouse.rows("night_wide", "night_date", "source", "tst_min", "diary_sol_min", "insomnia_bad_diary",
                          "insomnia_bad_wearable") == [
        (DAY, "fitbit", 400.0, None, None, None),
        (DAY + timedelta(1), None, None, 31.0, True, None),
    ]  # fmt: skip


def _answer(warehouse: Warehouse, number: int, day: int, total: float | None, **given: Any) -> None:
    warehouse.add("scale_response", response_id=str(number), participant_id="p1", instrument="ISI",
                  answered_on=DAY + timedelta(day), total=total, **given)  # fmt: skip


def test_scales_are_carried_within_their_window_only(warehouse: Warehouse) -> None:
    for day in range(8):
        warehouse.add("night", participant_id="p1", night_date=DAY + timedelta(day), **NIGHT)
    _answer(warehouse, 1, 1, 12.0)
    _answer(warehouse, 2, 2, None)  # an item is missing: no total, the one before still stands
    _answer(warehouse, 3, 3, 20.0, is_current=False)
    _answer(warehouse, 4, 6, 9.0)
    _answer(warehouse, 5, 7, 9.0)
    _answer(warehouse, 6, 7, 10.0)  # contradicts the one before
    warehouse.make(scales={"recall_days": {"ISI": 3}})
    assert warehouse.rows("night_wide", "isi_total", "isi_age_days") == [
        (None, None), (12.0, 0), (12.0, 1), (12.0, 2), (12.0, 3), (None, None), (9.0, 0), (9.0, 1),
    ]  # fmt: skip


def test_no_window_no_scale(warehouse: Warehouse) -> None:
    _answer(warehouse, 1, 1, 12.0)
    settings = warehouse.make()
    assert [field["name"] for field in views.fields("night_wide", views.columns_of(settings, warehouse.ask))
            if field.get("each") == "scale"] == []  # fmt: skip


# Blocks as (class, state, run_bad, episode_no, detected in block), by hand from decided rule 11.
_REMITS = [("negative", "none", 0, 0, None), ("positive", "pending", 1, 0, 1), ("positive", "episode", 2, 1, 2),
           ("positive", "episode", 3, 1, 2), ("negative", "episode", 3, 1, 2),
           ("negative", "remitted", 0, 1, 5)]  # fmt: skip
_AGAIN = [*_REMITS, ("positive", "pending", 1, 1, 6), ("insufficient", "pending", 1, 1, 6),
          ("positive", "persistent", 2, 2, 8), ("negative", "persistent", 2, 2, 8)]  # fmt: skip


def test_episodes_are_put_together_from_blocks(warehouse: Warehouse) -> None:
    for block, (word, state, run_bad, episode_no, decided) in enumerate(_AGAIN):
        warehouse.add(
            "insomnia_week", participant_id="p1", basis="diary", block=block, block_start=DAY + timedelta(7 * block),
            week_class=word, state=state, run_bad=run_bad, episode_no=episode_no, valid_nights=6, bad_nights=block,
            detected_on=None if decided is None else DAY + timedelta(7 * decided + 6),
        )  # fmt: skip

    def last(block: int) -> date:
        return DAY + timedelta(7 * block + 6)

    warehouse.make()
    assert warehouse.rows("episode", "episode_no", "start_on", "end_on", "detected_on", "end_detected_on", "ended_as",
                          "is_persistent", "length_days", "valid_nights", "bad_nights") == [
        (1, DAY + timedelta(7), last(3), last(2), last(5), "remitted", False, 21, 18, 1 + 2 + 3),
        (2, DAY + timedelta(42), None, last(8), None, None, True, 28, 24, 6 + 7 + 8 + 9),
    ]  # fmt: skip


def test_data_quality_counts_by_participant_and_source(warehouse: Warehouse) -> None:
    at = datetime(2026, 3, 9, 8, tzinfo=UTC)
    counts = {"kept": 5, "duplicate": 1, "ignored": 2, "quarantined": 2}
    for number, status in enumerate(["loaded", "partial", "refused"]):
        read = {"records_read": 10, **counts} if status != "refused" else dict.fromkeys(["records_read", *counts])
        warehouse.add("source_file", source_file_id=str(number), participant_id="p1", source="fitbit", status=status,
                      arrived_at=at + timedelta(days=number), **read)  # fmt: skip
    warehouse.add("source_file", source_file_id="9", participant_id="p2", source="oura", status="ignored")
    warehouse.add("quarantine", participant_id="p1", source="fitbit", locator="1")
    warehouse.add("quarantine", participant_id="p1", source="unknown", locator="2")
    for number, (basis, device) in enumerate([("roster", "watch"), ("export", "watch"), ("assumed", "ring")]):
        warehouse.add("sleep_session", session_id=str(number), participant_id="p1", source="fitbit", time_basis=basis,
                      device=device, is_current=basis != "assumed")  # fmt: skip
    for day in range(4):
        warehouse.add("coverage", participant_id="p1", date=DAY + timedelta(day), has_sleep=day in (0, 2))
    for day in (-1, 0, 2):
        warehouse.add("night", participant_id="p1", night_date=DAY + timedelta(day), **NIGHT)
    warehouse.make()
    assert warehouse.rows(
        "data_quality", "participant_id", "source", "exports", "loaded", "partly_loaded", "ignored_exports", "refused",
        "records_read", "kept", "duplicate", "ignored", "quarantined", "quarantine_rows", "nights", "first_night",
        "last_night", "dates_expected", "coverage_pct", "zone_basis", "devices", "last_arrived_at",
    ) == [
        ("p1", "fitbit", 3, 1, 1, 0, 1, 20, 10, 2, 4, 4, 1, 3, DAY - timedelta(1), DAY + timedelta(2), 4, 50.0,
         "export,roster", "watch", at + timedelta(days=2)),
        ("p1", "unknown", 0, 0, 0, 0, 0, None, None, None, None, None, 1, 0, None, None, 4, 0.0, None, None, None),
        ("p2", "oura", 1, 0, 0, 1, 0, *[None] * 5, 0, 0, None, None, None, None, None, None, _DEFAULTS["instant"]),
    ]  # fmt: skip


def test_views_that_stand_are_left_and_others_made_anew(warehouse: Warehouse) -> None:
    _dose(warehouse, DAY, "onset", "kratom", "g")
    settings = warehouse.make()
    assert views.views_stand(settings, warehouse.ask, warehouse.run, warehouse.engine)
    other = Settings(study="s", scales={"recall_days": {"ISI": 14}})
    assert not views.views_stand(other, warehouse.ask, warehouse.run, warehouse.engine)
    _dose(warehouse, DAY, "onset", "alcohol", "g")
    assert not views.views_stand(settings, warehouse.ask, warehouse.run, warehouse.engine)
    made: list[str] = []
    views.make_views(settings, warehouse.ask, lambda sql: made.append(sql) or warehouse.run(sql), warehouse.engine)
    kept = [sql.split(" AS ")[0] for sql in made if sql.startswith("CREATE") and "TEMP" not in sql.split(" AS ")[0]]
    assert kept == [f"CREATE {'OR REPLACE ' if warehouse.engine == 'duckdb' else ''}VIEW night_wide"]
    assert warehouse.rows("night_wide", "alcohol_g_amount_day") == []


def test_names_are_safe_short_and_differ() -> None:
    long = "a" * 41
    keys = [("7_oh", "mg"), ("a_b", "g"), ("a", "b_g"), ("kratom", 'Dr"ops; --'), (long, "mg"), (long, "g")]
    names = views.exposure_names(keys)
    assert names["7_oh", "mg"] == "_7_oh_mg"
    assert names["kratom", 'Dr"ops; --'] == "kratom_dr_ops____"
    assert len(set(names.values())) == len(keys)
    assert all(len(f"{name}_hours_since_last_dose_usual") <= 63 for name in names.values())


def test_a_unit_with_a_quote_is_a_value_and_no_sql(warehouse: Warehouse) -> None:
    warehouse.add("night", participant_id="p1", night_date=DAY, **NIGHT)
    _dose(warehouse, DAY, "onset", "tea", "cup's {exposure}", amount_day=2.0)
    warehouse.make()
    assert warehouse.rows("night_wide", "tea_cup_s__exposure__amount_day") == [(2.0,)]

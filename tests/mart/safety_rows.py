"""Reports and the signals in them, for the tests of safety_signal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from ingest._core.acknowledgements import Acknowledgement
from ingest._core.contract import arrow_schema
from ingest._core.settings import Settings
from ingest.mart.person import PersonSettings
from ingest.mart.record_versions import current_records
from ingest.mart.safety import safety_signals
from mart.exposure_rows import WHO, Row, uses_table

ARRIVED = {"a": datetime(2026, 3, 20, tzinfo=UTC), "b": datetime(2026, 4, 20, tzinfo=UTC)}


def file_id(name: str) -> str:
    """source_file_id of an export called by one letter."""
    return name * 64


def answer(day: str, instrument: str, items: Mapping[str, float | None] | None, total: float | None = None,
           **other: Any) -> Row:  # fmt: skip
    """One set of answers."""
    return {
        "participant_id": WHO,
        "answered_on": date.fromisoformat(day),
        "instrument": instrument,
        "items": None if items is None else json.dumps(items),
        "total": total,
        **other,
    }


def answers_table(rows: Iterable[Row]) -> pa.Table:
    """Rows of scale_response; ids and file facts are filled in where a row lacks them."""
    return pa.Table.from_pylist(
        [
            {
                "response_id": f"r{number:04d}",
                "exported_at": datetime(2030, 1, 1, tzinfo=UTC),
                "content_hash": f"h{number:04d}",
                "source_file_id": file_id("a"),
                "source_row": number + 1,
                **row,
            }
            for number, row in enumerate(rows)
        ],
        schema=arrow_schema("scale_response"),
    )


def source_files() -> pa.Table:
    """Two exports, `a` and `b`, with their arrival."""
    rows = [{"source_file_id": file_id(name), "participant_id": WHO, "source": "csv_log", "arrived_at": arrived,
             "status": "loaded"} for name, arrived in ARRIVED.items()]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=arrow_schema("source_file"))


def found(
    uses: Sequence[Row] = (),
    answers: Sequence[Row] = (),
    acknowledged: Sequence[Acknowledgement] = (),
    safety: Any = None,
    history: str = "keep",
    **person: Any,
) -> list[Row]:
    """Rows of safety_signal of one participant in UTC (or `zone_name`); `safety` as in study.yaml."""
    said = {"study": "s", "history": history} | ({} if safety is None else {"safety": safety})
    reports = uses_table({"source_file_id": file_id("a"), **row} for row in uses)
    table = safety_signals(
        {"substance_use": reports, "scale_response": answers_table(answers)},
        current_records("use_version", reports),
        source_files(),
        {WHO: PersonSettings(WHO, **{"zone_name": "UTC", **person})},
        Settings.model_validate(said),
        {WHO: tuple(acknowledged)},
    )  # fmt: skip
    assert table.schema.equals(arrow_schema("safety_signal"))
    return table.to_pylist()


def told(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """Rule, instant and what it is about, of each row."""
    return [(row["rule"], f"{row['observed_at']:%Y-%m-%dT%H:%M}", row["about"]) for row in rows]

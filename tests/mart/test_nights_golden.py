"""Golden nightly metrics through the public way into `night`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ingest._core.contract import arrow_schema
from ingest._core.settings import Settings
from ingest.mart.night import nights
from ingest.mart.person import PersonSettings

CASES = json.loads((Path(__file__).parents[1] / "golden" / "nightly_metrics.json").read_text())["cases"]
OURS = {"wake": "awake", "light": "light", "deep": "deep", "rem": "rem"}
SAME = ("tib_min", "spt_min", "tst_min", "waso_min", "nawk", "mean_awakening_min", "se_tib_pct", "se_spt_pct",
        "rem_latency_min", "light_min", "deep_min", "rem_min", "sol_min")  # fmt: skip


def _night(case: dict[str, Any], flags: str | None) -> dict[str, Any]:
    start = datetime.fromisoformat(case["input"]["start"]).astimezone(UTC)
    at, stages = start, []
    for segment in case["input"]["segments"]:
        end = at + timedelta(seconds=segment["seconds"])
        stages.append({"session_id": "s", "participant_id": "p1", "source_file_id": "f", "start_utc": at,
                       "end_utc": end, "stage": OURS[segment["stage"]]})  # fmt: skip
        at = end
    session = {"session_id": "s", "participant_id": "p1", "source": "test", "source_file_id": "f", "start_utc": start,
               "end_utc": at, "utc_offset_min": 60, "time_basis": "roster", "detail": "stages", "exported_at": at,
               "content_hash": "h", "flags": flags}  # fmt: skip
    night, source = nights(
        pa.Table.from_pylist([session], schema=arrow_schema("sleep_session")),
        pa.Table.from_pylist(stages, schema=arrow_schema("sleep_stage")),
        {"p1": PersonSettings("p1", case["input"]["tz"])},
        Settings(study="t"),
    )
    assert source["role"].to_pylist() == ["main"]
    (row,) = night.to_pylist()
    return row


@pytest.mark.parametrize("name", sorted(CASES))
def test_golden(name: str) -> None:
    expected = CASES[name]["expected"]
    row = _night(CASES[name], "attempt")
    for key in SAME:
        wanted = expected[key]
        assert row[key] == (None if wanted is None else pytest.approx(wanted, abs=1e-4)), key
    assert row["snooze_min"] == pytest.approx(expected["terminal_wake_min"])
    assert row["tib_basis"] == "attempt"
    for ours, theirs in (("onset_utc", "sleep_onset_local"), ("final_wake_utc", "final_awakening_local"),
                         ("midsleep_utc", "midsleep_local"), ("bed_start_utc", "bed_start_local")):  # fmt: skip
        assert row[ours] == datetime.fromisoformat(expected[theirs])
    assert row["onset_local"] == datetime.fromisoformat(expected["sleep_onset_local"]).replace(tzinfo=None)
    assert row["night_date"].isoformat() == expected["noon_to_noon_night_date"]
    assert row["wake_date"].isoformat() == expected["wake_date"]


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_record_that_is_no_time_in_bed_has_no_latency(name: str) -> None:
    """Decided rule 3: with tib_basis `record` SOL and snooze are NULL and the first wake stands apart."""
    row = _night(CASES[name], None)
    assert (row["tib_basis"], row["sol_min"], row["snooze_min"]) == ("record", None, None)
    assert row["record_first_wake_min"] == pytest.approx(CASES[name]["expected"]["sol_min"])
    assert row["se_tib_pct"] == pytest.approx(CASES[name]["expected"]["se_tib_pct"], abs=1e-4)

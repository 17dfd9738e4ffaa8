"""Real day-level answers: an alcohol row for every Yes and No, at day precision."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from decode.log.log_cases import decode, harmonise, settings_with

SAMPLES = Path(__file__).resolve().parents[3] / ".." / "shared" / "samples" / "pmdata"
FILES = sorted(SAMPLES.glob("p*/googledocs/reporting.csv"))
MAPPING: dict[str, Any] = {
    "name": "reporting",
    "layout": "daily",
    "date": {"column": "date", "format": "%d/%m/%Y"},
    "date_means": "use_day",
    "answers": {"yes": ["Yes"], "no": ["No"], "none": ["", "Maybe"]},
    "items": [{"substance": "alcohol", "answer": "alcohol_consumed"}],
}
UNLISTED = {**MAPPING, "answers": {"yes": ["Yes"], "no": ["No"]}}


@pytest.mark.skipif(not FILES, reason="the samples lie beside the project, and are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("mapping", [MAPPING, UNLISTED], ids=["maybe_is_no_answer", "maybe_is_unknown"])
def test_every_yes_and_no_is_a_row(path: Path, mapping: dict[str, Any]) -> None:
    data = path.read_bytes()
    answers = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    said = Counter(row["alcohol_consumed"] for row in answers)
    decoded = decode(data, settings_with(mapping))
    uses = harmonise(decoded)
    assert len(uses) == said["Yes"] + said["No"]
    assert decoded.tally.read == len(answers)
    assert decoded.tally.kept == len(uses)
    assert decoded.tally.duplicate == 0
    found = Counter(zip(uses["local_date"].to_pylist(), uses["no_use"].to_pylist(), strict=True))
    assert found == Counter(
        (datetime.strptime(row["date"], "%d/%m/%Y").date(), row["alcohol_consumed"] == "No")
        for row in answers
        if row["alcohol_consumed"] in ("Yes", "No")
    )
    assert set(uses["time_precision"].to_pylist()) == {"day"}
    assert set(uses["substance"].to_pylist()) == {"alcohol"}
    assert uses["taken_utc"].null_count == len(uses)
    assert len(set(uses["use_id"].to_pylist())) == len(uses)

"""Every situation of tests/fixtures/csv_log: what is kept, what is not and why, and the rows that come of it.

The expected values are written by hand, from the file's text and the definitions.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from decode.log.log_cases import Situation, decode, harmonise, lines_of, situations
from ingest._core.errors import Refused

ALL = situations()
READABLE = [each for each in ALL if "refused" not in each.expected]
REFUSED = [each for each in ALL if "refused" in each.expected]


def named(cases: list[Situation]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


@named(READABLE)
def test_every_row_is_accounted_for(case: Situation) -> None:
    expected = case.expected
    decoded = decode(case.data, case.settings)
    uses = harmonise(decoded, None if expected.get("study_wide") else "P01")
    tally = decoded.tally
    assert tally.read == expected["read"]
    assert tally.kept == expected["kept"]
    assert tally.duplicate == expected["duplicate"]
    assert dict(tally.ignored) == expected["ignored"]
    assert tally.quarantined == len(expected["quarantined"])
    assert tally.read == tally.kept + tally.duplicate + tally.ignored.total() + tally.quarantined
    assert len(set(uses["source_row"].to_pylist())) == tally.kept
    for name, count in expected.get("classes", {}).items():
        assert tally.classes[name] == count


@named(READABLE)
def test_what_was_refused_is_told_by_row_and_reason(case: Situation) -> None:
    decoded = decode(case.data, case.settings)
    harmonise(decoded, None if case.expected.get("study_wide") else "P01")
    assert lines_of(decoded, "substance_use") == case.expected["quarantined"]
    assert lines_of(decoded, "value") == case.expected["values"]


@named(READABLE)
def test_rows_say_what_the_log_says(case: Situation) -> None:
    uses = harmonise(decode(case.data, case.settings), None if case.expected.get("study_wide") else "P01").to_pylist()
    assert len(uses) == len(case.expected["uses"])
    for use, expected in zip(uses, case.expected["uses"], strict=True):
        found = {name: as_written(use[name]) for name in expected}
        assert found == {name: near(value) for name, value in expected.items()}


@named(REFUSED)
def test_a_file_that_cannot_be_read_says_where_and_why(case: Situation) -> None:
    with pytest.raises(Refused) as refused:
        decode(case.data, case.settings)
    assert refused.value.reason == case.expected["refused"]
    assert case.expected["says"] in refused.value.detail


def as_written(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12) if isinstance(value, float) else value

"""Ids and content hashes of many reports at once are those of each report alone."""

from __future__ import annotations

from dataclasses import replace
from hashlib import md5

import pyarrow as pa
import pytest

from decode.log.log_cases import FACTS, PEOPLE, decode, harmonise
from ingest.harmonise._use_ids import SEPARATOR
from ingest.harmonise.uses import harmonise_uses

N = 10_007
PERSON = PEOPLE["P01"].secret


def _log(rows: list[str]) -> pa.Table:
    return harmonise(decode("event_id,substance,taken_at,amount,unit,route\n" + "".join(f"{row}\n" for row in rows)))


def _key(*parts: str) -> str:
    return md5(SEPARATOR.join([PERSON, "csv_log", "canonical", *parts]).encode()).hexdigest()[:20]


@pytest.fixture(scope="module")
def uses() -> pa.Table:
    """More reports than are hashed at a time, each with an id of its own, in one minute each of some days."""
    return _log(
        [f"e{i},kratom,2026-03-{1 + i // 1440:02d}T{i // 60 % 24:02d}:{i % 60:02d},{i},mg,oral" for i in range(N)]
    )


def test_an_id_is_the_hash_of_person_source_and_own_id(uses: pa.Table) -> None:
    assert uses["use_id"].to_pylist() == [_key("id", f"e{i}") for i in range(N)]


def test_reports_that_differ_have_hashes_that_differ(uses: pa.Table) -> None:
    assert len(set(uses["content_hash"].to_pylist())) == N
    assert {len(each) for each in uses["content_hash"].to_pylist()} == {16}


def test_a_report_has_the_same_hashes_alone_and_among_others(uses: pa.Table) -> None:
    at = N - 2
    alone = _log([f"e{at},kratom,2026-03-{1 + at // 1440:02d}T{at // 60 % 24:02d}:{at % 60:02d},{at},mg,oral"])
    for name in ("use_id", "content_hash"):
        assert alone[name].to_pylist() == [uses[name][at].as_py()]


def test_reports_that_agree_are_numbered_in_their_order() -> None:
    stamps_and_grams = (("08:00", 2), ("09:00", 2), ("08:00", 3), ("08:00", 4))
    rows = [f",kratom,2026-03-01T{clock},{grams},g,oral" for clock, grams in stamps_and_grams]
    table = _log(rows)
    ids = dict(zip(table["source_row"].to_pylist(), table["use_id"].to_pylist(), strict=True))
    assert len(set(ids.values())) == 4
    less = _log([rows[0], rows[2]])
    assert less["use_id"].to_pylist() == [ids[1], ids[3]]


def test_nobody_without_the_key_can_try_which_record_id_made_an_id() -> None:
    """Of two studies with other keys, or of a pseudonym alone, the same log has other ids; its answers stay."""
    decoded = decode(
        "event_id,substance,taken_at,amount,unit,route\nada@example.org,kratom,2026-03-01T08:00,2,g,oral\n"
    )
    assert decoded.uses is not None
    ids, hashes = set(), set()
    for secret in ("5ec1", "5ec3"):
        people = {"P01": replace(PEOPLE["P01"], secret=secret)}
        (table,) = harmonise_uses(decoded.uses, decoded.tally, FACTS, people, "P01").values()
        ids.add(table["use_id"][0].as_py())
        hashes.add(table["content_hash"][0].as_py())
    public = md5(
        SEPARATOR.join([PEOPLE["P01"].participant_id, "csv_log", "canonical", "id", "ada@example.org"]).encode()
    )
    assert len(ids) == 2
    assert public.hexdigest()[:20] not in ids
    assert len(hashes) == 1
    assert "5ec1" not in repr(PEOPLE["P01"])


@pytest.mark.parametrize(
    "other",
    [
        "2026-03-01T08:01,2,g,oral",
        "2026-03-01T08:00,3,g,oral",
        "2026-03-01T08:00,2,mg,oral",
        "2026-03-01T08:00,2,g,nasal",
        "2026-03-01,2,g,oral",
        "2026-03-01T08:00,,g,oral",
        "2026-03-01T08:00Z,2,g,oral",
    ],
)
def test_an_edit_of_any_answer_changes_the_content_and_not_the_id(other: str) -> None:
    before, after = _log(["e1,kratom,2026-03-01T08:00,2,g,oral"]), _log([f"e1,kratom,{other}"])
    assert before["use_id"].to_pylist() == after["use_id"].to_pylist()
    assert before["content_hash"].to_pylist() != after["content_hash"].to_pylist()

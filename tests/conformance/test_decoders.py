"""What holds for every sleep decoder: declared time semantics, contracts, vocabulary, order of files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import pairwise

import pyarrow as pa
import pytest

from fixtures import make
from ingest._core.settings import Settings
from ingest.decode.building import STAGES
from ingest.decode.claim import File, sort_out
from ingest.decode.model import (
    SESSION_FLAGS,
    Decoded,
    Member,
    decoded_session_schema,
    decoded_stage_schema,
)
from ingest.decode.registry import decoder, decoders

SETTINGS = Settings(study="conformance")
CASES = [
    (source, name)
    for source in make.sources()
    for name in sorted(make.situations(source))
    if not make.expected(source, name)["refused"]
]
SLEEP = [each for each in decoders() if each.kind == "sleep"]
CLOCKS = {"instant": {"utc"}, "local": {"local"}, "local+offset": {"utc", "local"}}
DETAILS = {"stages", "asleep_awake", "summary", "period"}


def _members(source: str, situation: str) -> list[Member]:
    """The members the source claims, as the pipeline gives them."""
    files = [File(name, len(data), lambda data=data: io.BytesIO(data))  # type: ignore[misc]
             for name, data in make.members(source, situation).items()]  # fmt: skip
    claimed = [each for each in sort_out(files, SETTINGS, archived=False) if each.source == source]
    return [member for each in claimed for member in each.members]


def _decode(source: str, members: list[Member]) -> Decoded:
    return decoder(source).decode(members, SETTINGS)


def _decoded() -> Iterator[tuple[str, str, Decoded]]:
    for source, situation in CASES:
        members = _members(source, situation)
        if members:
            yield source, situation, _decode(source, members)


@pytest.fixture(scope="module")
def everything() -> list[tuple[str, str, Decoded]]:
    """Every situation of every source, decoded."""
    return list(_decoded())


def test_tables_have_the_columns_and_words_of_the_model(everything: list[tuple[str, str, Decoded]]) -> None:
    assert len(everything) > 25
    for source, situation, decoded in everything:
        where = f"{source}/{situation}"
        if decoded.sessions is None:
            assert decoded.stages is None or not len(decoded.stages), where
            continue
        assert decoded.sessions.schema.equals(decoded_session_schema()), where
        assert set(decoded.sessions["detail"].to_pylist()) <= DETAILS, where
        assert set(decoded.sessions["clock"].to_pylist()) <= {"utc", "local"}, where
        for text in decoded.sessions["flags"].drop_null().to_pylist():
            words = text.split(",")
            assert words == sorted(set(words)), where
            assert set(words) <= SESSION_FLAGS, where
        if decoded.stages is not None:
            assert decoded.stages.schema.equals(decoded_stage_schema()), where
            assert set(decoded.stages["stage"].to_pylist()) <= set(STAGES), where


def test_kept_records_are_those_of_the_sessions(everything: list[tuple[str, str, Decoded]]) -> None:
    for source, situation, decoded in everything:
        records = [] if decoded.sessions is None else decoded.sessions["records"].to_pylist()
        assert sum(1 if each is None else each for each in records) == decoded.tally.kept, f"{source}/{situation}"
        assert decoded.tally.read == sum((decoded.tally.kept, decoded.tally.duplicate, decoded.tally.ignored.total(),
                                          decoded.tally.quarantined))  # fmt: skip


def test_stretches_are_ordered_and_do_not_overlap(everything: list[tuple[str, str, Decoded]]) -> None:
    for source, situation, decoded in everything:
        if decoded.stages is None or decoded.sessions is None:
            continue
        rows = decoded.stages.to_pylist()
        for row in rows:
            assert 0 <= row["start_us"] < row["end_us"], f"{source}/{situation}"
            assert 0 <= row["session"] < len(decoded.sessions), f"{source}/{situation}"
        for a, b in pairwise(rows):
            same = a["session"] == b["session"]
            assert a["end_us"] <= b["start_us"] if same else a["session"] < b["session"], f"{source}/{situation}"


def test_clocks_are_those_the_source_declares(everything: list[tuple[str, str, Decoded]]) -> None:
    used: dict[str, set[str]] = {}
    for source, _, decoded in everything:
        if decoded.sessions is not None:
            used.setdefault(source, set()).update(decoded.sessions["clock"].to_pylist())
    for each in SLEEP:
        declared = set().union(*(CLOCKS[form.clock] for form in each.formats))
        assert used[each.source] <= declared, each.source


def test_a_local_clock_never_carries_an_offset(everything: list[tuple[str, str, Decoded]]) -> None:
    for source, situation, decoded in everything:
        if decoded.sessions is not None:
            for row in decoded.sessions.select(["clock", "utc_offset_min"]).to_pylist():
                assert row["clock"] == "utc" or row["utc_offset_min"] is None, f"{source}/{situation}"


@pytest.mark.parametrize("source", [each.source for each in SLEEP])
@pytest.mark.fault(60)
def test_a_source_with_stages_has_a_situation_with_an_unknown_label(source: str) -> None:
    """An unknown stage becomes `unknown` and is reported, never sleep or wake."""
    sessions = [s for name in make.situations(source) for s in make.expected(source, name)["sessions"]]
    if any(session["stretches"] for session in sessions):
        flagged = [session for session in sessions if "unknown_stage_label" in session["flags"]]
        assert flagged, f"{source} reads stages but no fixture has a label outside its vocabulary"
        assert all(any(stage == "unknown" for *_, stage in session["stretches"]) for session in flagged)


@pytest.mark.parametrize(("source", "situation"), CASES)
def test_the_order_of_files_does_not_matter(source: str, situation: str) -> None:
    """Only where a session is said to stand may differ: the ordinals go with the files."""
    members = _members(source, situation)
    forwards, backwards = (_decode(source, each) for each in (members, members[::-1]))
    assert _plain(forwards) == _plain(backwards)


def _plain(decoded: Decoded) -> list[str]:
    """Sessions with their stretches and the counts, in an order of their own."""
    tally = decoded.tally
    counts = json.dumps([tally.read, tally.kept, tally.duplicate, sorted(tally.ignored.items()),
                         sorted(refusal.reason for refusal in tally.refusals)])  # fmt: skip
    if decoded.sessions is None:
        return [counts]
    stretches: dict[int, list[tuple[int, int, str]]] = {}
    for row in (decoded.stages if decoded.stages is not None else pa.table({"session": []})).to_pylist():
        stretches.setdefault(row["session"], []).append((row["start_us"], row["end_us"], row["stage"]))
    rows = decoded.sessions.drop_columns(["member", "record"]).to_pylist()
    shown = [repr((sorted(row.items(), key=lambda item: item[0]), stretches.get(i, []))) for i, row in enumerate(rows)]
    return [counts, *sorted(shown)]


@pytest.mark.parametrize("each", SLEEP, ids=lambda each: each.source)
def test_a_decoder_says_what_it_reads(each: object) -> None:
    found = next(one for one in SLEEP if one is each)
    assert found.formats
    assert found.together
    for form in found.formats:
        assert all(text.strip() for text in (form.title, form.recognised_by, form.extracted))

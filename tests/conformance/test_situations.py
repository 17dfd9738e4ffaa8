"""Every situation of every sleep source through landing, plan and load, against what its maker worked out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from conformance.ran import FATES, SHAPES, Ran, comparable
from fixtures import make
from ingest.decode.registry import decoders
from studies import check_counts, rows, told
from tries import SOAK

CASES = [(source, name) for source in make.sources() for name in sorted(make.situations(source))]
SOURCES = make.sources()
Studies = Callable[[str, str], Ran]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    """The study of a source for each way to hand in an export, made when first asked for."""

    @cache
    def study(source: str, shape: str) -> Ran:
        return Ran(tmp_path_factory.mktemp(f"{source}-{shape}") / "study", source, shape)

    return study


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.fault(75)
def test_committed_files_are_those_of_the_maker(source: str, tmp_path: Path) -> None:
    make.write(source, tmp_path / source)
    made, held = tmp_path / source, make.FIXTURES / source
    assert {p.relative_to(made): p.read_bytes() for p in made.rglob("*") if p.is_file()} == \
           {p.relative_to(held): p.read_bytes() for p in held.rglob("*") if p.is_file()}  # fmt: skip


def test_every_sleep_source_has_situations() -> None:
    assert {each.source for each in decoders() if each.kind == "sleep"} == set(SOURCES)


@pytest.mark.parametrize(("source", "situation"), CASES)
def test_sessions_stages_and_flags(ran: Studies, source: str, situation: str) -> None:
    expected = make.expected(source, situation)["sessions"]
    assert comparable(ran(source, "as_it_arrives").found(situation), expected) == expected


@pytest.mark.parametrize(("source", "situation"), CASES)
@pytest.mark.fault(53, 59, 60)
def test_counts_and_refusals(ran: Studies, source: str, situation: str) -> None:
    expected, study = make.expected(source, situation), ran(source, "as_it_arrives")
    found = study.lines_of(situation)
    ((status, *counts),) = rows(study.root, f"select status, {', '.join(FATES)} from source_file "
                                f"where participant_id = '{study.ids[situation]}'")  # fmt: skip
    if expected["refused"]:
        assert status == "refused"
        assert counts == [None] * len(FATES)
        assert [line.reason for line in found] == [expected["refused"]]
        return
    assert counts == [expected[name] for name in FATES]
    assert Counter(line.kind for line in found) == expected["quarantine_lines"]
    whole = "loaded" if expected["kept"] else "ignored"
    assert status == ("partial" if expected["quarantine_lines"] else whole)


@pytest.mark.parametrize(("source", "situation"), CASES)
def test_committed_expectations_add_up(source: str, situation: str) -> None:
    expected = make.expected(source, situation)
    counts = [expected[name] for name in FATES]
    if expected["refused"]:
        assert counts == [None] * len(FATES)
        assert expected["sessions"] == []
    else:
        assert counts[0] == sum(counts[1:])
        assert len(expected["sessions"]) <= expected["kept"]


@pytest.mark.parametrize("source", SOURCES)
def test_every_line_says_where_and_what_and_names_nobody(ran: Studies, source: str) -> None:
    study = ran(source, "as_it_arrives")
    check_counts(study.root)
    assert len(study.lines) >= sum(bool(make.expected(source, name)["refused"]) for name in study.names)
    for line in study.lines:
        assert line.path is not None
        assert (study.root / line.path).is_file()
        assert line.detail.strip()
        assert "\n" not in line.detail


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.fault(67)
def test_no_planted_personal_text_goes_on(ran: Studies, source: str) -> None:
    """Fixtures carry `Zebrowski` in names, notes, device names and paths; none of it may pass a decoder."""
    study = ran(source, "as_it_arrives")
    planted = [
        name for name in study.names for file, data in make.members(source, name).items()
        if "Zebrowski" in file or b"Zebrowski" in data
    ]  # fmt: skip
    assert planted, "plant the name Zebrowski in a fixture of this source"
    text = told(study.root)
    assert study.ids[planted[0]] in text
    assert "zebrowski" not in text.lower()
    # The name of a situation is the participant's ref and the landing folder.
    assert [name for name in study.names if name in text and "-" in name] == []


OTHER_SHAPES = sorted(SHAPES.keys() - {"as_it_arrives"})
"""`make soak` packs every situation in each of them, `make test` in two of them, by turns."""
PACKED = [(*case, shape) for number, case in enumerate(CASES) for place, shape in enumerate(OTHER_SHAPES)
          if SOAK or (number + place) % len(OTHER_SHAPES) < 2]  # fmt: skip


@pytest.mark.parametrize(("source", "situation", "shape"), PACKED)
def test_zipped_loose_or_deeper_is_the_same(ran: Studies, source: str, situation: str, shape: str) -> None:
    """How an export is packed changes no session and no stage, only the file it is said to come from."""
    expected = make.expected(source, situation)
    if not expected["refused"]:
        assert comparable(ran(source, shape).found(situation), expected["sessions"]) == expected["sessions"]

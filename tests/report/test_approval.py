"""A release that needs a second person: it waits, another one lets it go, and nothing but what was made goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from ingest._core import clock
from ingest._core.errors import Terminal, WrongUse
from ingest._core.study import Study, open_study
from ingest.erase import erase
from ingest.publish.audit import acting
from ingest.report._release_placing import record_of
from ingest.report.aggregates import release_aggregates
from ingest.report.approval import approve, listed, reject
from ingest.report.audit import audit
from ingest.report.release import release
from ingest.withdraw import write_down
from studies import change_settings, command, files, pid

RULES = {"approval": "second_person", "approval_days": 3}


@pytest.fixture
def study(demo_copy: Path) -> Study:
    """A study that asks for an approval, with a release `a` of nights that ana made and nobody approved yet."""
    change_settings(demo_copy, release=RULES)
    with acting(who="ana"):
        release(open_study(demo_copy), "a", "night")
    return open_study(demo_copy)


def handed_out(study: Study) -> list[str]:
    """What stands where releases are handed out."""
    return sorted(path.name for path in (study.root / "releases").iterdir() if not path.name.startswith("."))


def approved_by(who: str, study: Study, name: str = "a") -> Path:
    with acting(who=who):
        return approve(study, name)


@pytest.mark.fault(73)
def test_who_made_it_does_not_approve_it_and_somebody_else_does(study: Study, tmp_path: Path) -> None:
    assert handed_out(study) == []
    with pytest.raises(WrongUse, match="you made a; somebody else approves it"):
        approved_by("ana", study)
    assert handed_out(study) == []
    folder = approved_by("ben", study)
    assert handed_out(study) == ["a"]
    # It is, byte by byte, what is handed out where no approval is asked for, but for saying that one was.
    plain = replace(study, settings=study.settings.model_copy(update={"release": type(study.settings.release)()}))
    other = release(plain, "a", "night", tmp_path / "out").folder
    wanted, found = files(other), files(folder)
    saying = {"release.json", "SHA256SUMS"}
    assert {name: data for name, data in found.items() if name not in saying} == {
        name: data for name, data in wanted.items() if name not in saying
    }
    assert {path.stat().st_mtime for path in folder.rglob("*")} == {path.stat().st_mtime for path in other.rglob("*")}
    assert list(listed(study)) == []
    with acting(who="ana"):
        assert release(study, "a", "night").stood  # nothing to wait for
    entries = [row for row in audit(study).rows if row["action"] in ("release", "approve")]
    about = [(row["action"], row["who"], row["state"], row["error"]) for row in map(_whole, entries)]
    assert about[:6] == [
        ("release", "ana", "begun", None), ("release", "ana", "ended", None),
        ("approve", "ana", "begun", None), ("approve", "ana", "failed", "WrongUse"),
        ("approve", "ben", "begun", None), ("approve", "ben", "ended", None),
    ]  # fmt: skip
    assert len({row["id"] for row in entries[:6]}) == 1, "an approval has the id of what it approves"


def _whole(row: dict[str, object]) -> dict[str, object]:
    return {"error": None, **row}


@pytest.mark.fault(73)
def test_the_command_refuses_whoever_made_it(demo_copy: Path, tmp_path: Path) -> None:
    change_settings(demo_copy, release=RULES)
    made = command("--study", demo_copy, "release", "--as", "b", "--tables", "night", "--to", tmp_path / "out")
    assert "waits until somebody else says `ingest release --approve`" in made.stdout
    assert list((tmp_path / "out").glob("[!.]*")) == []
    assert command("--study", demo_copy, "release", "--pending").stdout.startswith("b  made by ")
    refused = command("--study", demo_copy, "release", "--approve", "b")
    assert (refused.returncode, "somebody else approves it" in refused.stderr) == (2, True)
    assert command("--study", demo_copy, "release", "--reject", "b").returncode == 0
    gone = command("--study", demo_copy, "release", "--approve", "b")
    assert (gone.returncode, "no release 'b' waits" in gone.stderr) == (2, True)
    assert list((demo_copy / "releases" / ".pending").glob("[!.]*")) == []
    for words in ((), ("--as", "c", "--approve", "b"), ("--approve", "b", "--to", tmp_path)):
        assert command("--study", demo_copy, "release", *words).returncode == 2


def changed_bytes(study: Study) -> None:
    path = study.root / "releases" / ".pending" / "a" / "csv" / "night.csv"
    path.write_bytes(path.read_bytes() + b"\n")


def added_file(study: Study) -> None:
    (study.root / "releases" / ".pending" / "a" / "more.txt").write_text("more")


def narrowed_consent(study: Study) -> None:
    ref = min(study.roster.entries)
    (study.root / "consents.csv").write_text(
        f"participant_ref,scope,from_on,until_on\n{ref},sleep,,\n{ref},release,,\n"
    )


def withdrew(study: Study) -> None:
    write_down(study, pid(study.root, min(study.roster.entries)), date(2026, 1, 20))


@pytest.mark.fault(73)
@pytest.mark.parametrize(
    ("change", "words"),
    [(changed_bytes, "not what was made"), (added_file, "not what was made"),
     (narrowed_consent, "agreed to has changed"), (withdrew, "agreed to has changed")],
)  # fmt: skip
def test_what_is_not_as_it_was_made_does_not_go(study: Study, change: Callable[[Study], None], words: str) -> None:
    change(study)
    with pytest.raises(WrongUse, match=words):
        approved_by("ben", open_study(study.root))
    assert handed_out(study) == []


@pytest.mark.fault(73)
def test_nobody_else_is_made_its_maker(study: Study) -> None:
    path = record_of(study, "a")
    path.write_text(path.read_text().replace('"ana"', '"cat"'))
    for who in ("ana", "ben"):
        with pytest.raises(Terminal, match="was changed"):
            approved_by(who, study)
    assert handed_out(study) == []
    with acting(who="ana"):
        reject(study, "a")
        assert release(study, "a", "night").waits


@pytest.mark.fault(73)
def test_one_that_waited_too_long_is_made_again(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    later = clock.now() + timedelta(days=RULES["approval_days"], seconds=1)  # type: ignore[arg-type]
    monkeypatch.setattr(clock, "now", lambda: later)
    with pytest.raises(WrongUse, match="waited too long"):
        approved_by("ben", study)
    with acting(who="ben"):
        assert release(study, "a", "night").waits
    with pytest.raises(WrongUse, match="you made a"):
        approved_by("ben", study)
    assert approved_by("ana", study).is_dir()


def test_a_second_making_leaves_it_its_first_makers(study: Study) -> None:
    with acting(who="ben"):
        assert release(study, "a", "night").waits
    with pytest.raises(WrongUse, match=r"stands in .* with other bytes"), acting(who="ben"):
        release(study, "a", "night,coverage")
    with pytest.raises(WrongUse, match="you made a"):
        approved_by("ana", study)
    assert approved_by("ben", study).is_dir()


def test_an_erasure_takes_what_waits_aggregates_too(study: Study) -> None:
    change_settings(study.root, small_cells={"min_participants": 2})
    study = open_study(study.root)
    with acting(who="ana"):
        assert release_aggregates(study, "all").waits
    ref = min(study.roster.entries)
    word = pid(study.root, ref).encode()
    assert word in record_of(study, "all").read_bytes()
    assert erase(study, ref).removed["releases"] == 2
    assert list(listed(study)) == []
    assert [name for name, data in files(study.root / "identity").items() if word in data] == []
    with pytest.raises(WrongUse, match="no release 'all' waits"):
        approved_by("ben", open_study(study.root), "all")

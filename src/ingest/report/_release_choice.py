"""What goes into a release: its name, which tables, and whose rows; and whether the warehouse may be released now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from ingest._core import clock, contract
from ingest._core.consents import is_granted
from ingest._core.contract import COHORT, MART, PUBLISH, VIEW
from ingest._core.errors import WrongUse
from ingest._core.roster import NOBODY, REF, RosterEntry
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.lake.cohort_store import COHORT_ID, read_cohort_state
from ingest.mart.rebuild import behind, mart_states
from ingest.publish.contents import nearest, relations
from ingest.publish.reading import Reader
from ingest.publish.stale import Held, plan

_ONLY_WHEN_ASKED = {"safety_signal"}
_DEFAULT = "default"
NEVER = {("safety_signal", "acknowledged_by"), ("sleep_session", "source_record_id")}
"""Columns no release has: who of the staff has seen a signal, and the vendor's own number of a record."""


@dataclass(frozen=True)
class Chosen:
    """Whose rows are released, sorted, and how many others there are, by reason."""

    ids: list[str]
    left_out: dict[str, int]


def check_name(name: str) -> None:
    """Raises WrongUse for a name that no release can have."""
    if not REF.fullmatch(name) or name.startswith("."):
        raise WrongUse(
            f"{name!r} names no release; use 1 to 64 letters, digits, dots, dashes and underscores, like 2026-12"
        )


def default_tables() -> list[str]:
    """The tables of a release that is not asked for others: participant, marts, cohort tables and views."""
    marts = [table for table in contract.tables(MART) if table in contract.published_tables()]
    return sorted({"participant", *marts, *contract.tables(COHORT), *contract.tables(VIEW)} - _ONLY_WHEN_ASKED)


def chosen_tables(study: Study, asked: str | None) -> list[str]:
    """The tables named in `asked`, separated by commas, sorted; `default` stands for those of `default_tables`.

    Cohort tables that were never computed are left out of the default. Raises WrongUse for a name that is none.
    """
    words = [word.strip() for word in (_DEFAULT if asked is None else asked).split(",")]
    found: set[str] = set()
    for word in words:
        if word == _DEFAULT:
            never_computed = contract.tables(COHORT) if read_cohort_state(study.lake) is None else []
            found |= set(default_tables()) - set(never_computed)
        elif word not in relations():
            raise WrongUse(f"the warehouse has no table {word!r}{nearest(word, relations())}")
        elif "participant_id" not in {field["name"] for field in contract.fields(word, PUBLISH)}:
            raise WrongUse(f"{word} says nothing of participants; releases hold tables that do")
        else:
            found.add(word)
    return sorted(found)


def chosen_people(study: Study, reader: Reader) -> Chosen:
    """The participants whose rows are released.

    The one place that decides it. Rows that belong to nobody known are never released.
    """
    enrolled = {pid for (pid,) in reader.rows("SELECT participant_id FROM participant")}
    published = {pid for (pid,) in reader.rows("SELECT participant_id FROM publication")} - {NOBODY, COHORT_ID}
    entries = entries_by_id(study)
    why = {pid: _why_left_out(study, entries.get(pid)) for pid in enrolled | published}
    reasons = sorted(reason for reason in why.values() if reason is not None)
    return Chosen(sorted(pid for pid, reason in why.items() if reason is None), dict(Counter(reasons)))


def _why_left_out(study: Study, entry: RosterEntry | None) -> str | None:
    if entry is None:
        return "no_usable_roster_row"
    today = clock.now().date()
    withdrawn = entry.withdrew_on is not None and entry.withdrew_on <= today
    if withdrawn and study.settings.release.withdrawn == "leave_out":
        return "withdrawn"
    return None if is_granted(entry.consents, None, "release", today) else "no_release_consent"


def refuse_behind(study: Study, reader: Reader, tables: Collection[str]) -> None:
    """Raises WrongUse where the warehouse is not what lake, roster and settings give now."""
    hashes = dict(reader.rows("SELECT participant_id, mart_hash FROM publication"))
    people = reader.table("SELECT * FROM participant").to_pylist()
    todo = plan(study, entries_by_id(study), Held(hashes, {row["participant_id"]: row for row in people}))
    stale = {*behind(study), *todo.waiting, *todo.replaced} - {COHORT_ID}
    if stale or todo.cohort_differs:
        who = f" for {len(stale)} participant{'s' * (len(stale) != 1)}" if stale else ""
        raise WrongUse(f"the warehouse is behind the lake{who}; `ingest run` brings it up to date, then release")
    if set(tables) & set(contract.tables(COHORT)):
        _refuse_old_cohort(study)


def _refuse_old_cohort(study: Study) -> None:
    state = read_cohort_state(study.lake)
    if state is None:
        raise WrongUse("association, dose_sleep and flow were not computed yet; `ingest associate` does it")
    from ingest.mart.cohort import cohort_hash  # seconds of imports

    entries, states = entries_by_id(study), mart_states(study.lake)
    used = [states[pid] for pid in sorted(entries) if pid in states]
    if cohort_hash(study, used) != state.state_hash:
        raise WrongUse(
            "association, dose_sleep and flow are older than the nights; `ingest associate` computes them, "
            "or choose tables without them (--tables)"
        )


def stage(table: str) -> str:
    """The stage that writes the table."""
    return str(contract.schemas()[table]["stage"])

"""What differs between the marts and the warehouse: computed, never remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest._core.roster import NOBODY, RosterEntry, consents_of
from ingest._core.study import Study
from ingest.lake.cohort_store import COHORT_ID, CohortState, read_cohort_state
from ingest.lake.store import manifests, participants
from ingest.mart.rebuild import MartState, mart_states, roster_part
from ingest.publish.gate import Gate
from ingest.publish.tables import Person, participant_row


@dataclass(frozen=True)
class Held:
    """What the present warehouse holds: mart hashes and rows of `participant`, by participant_id.

    `unusable` says why nothing can be built upon it, and is empty where there is none. `upgraded` says that its
    tables are being brought to this version's. `gate`: what row-level security rests on, None where there is none.
    """

    hashes: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[str, object]] = field(default_factory=dict)
    unusable: str | None = None
    upgraded: bool = False
    gate: Gate | None = None


@dataclass(frozen=True)
class Plan:
    """Participants to write, to remove, and to leave (marts behind the lake); number of the others.

    `cohort` is the state of the tables over all participants, None where there are none to show;
    `cohort_differs` says that the warehouse has others. `scrub` asks for new files, without what may linger of former
    rows.
    """

    people: list[Person]
    removed: list[str]
    waiting: list[str]
    unchanged: int
    cohort: CohortState | None = None
    cohort_differs: bool = False
    scrub: bool = False

    @property
    def replaced(self) -> list[str]:
        """Whose rows go before others come, the cohort's among them."""
        cohort = [COHORT_ID] if self.cohort_differs else []
        return [*self.removed, *(person.participant_id for person in self.people), *cohort]


def plan(study: Study, people: Mapping[str, RosterEntry], has: Held) -> Plan:
    """What to write so that the warehouse has the state of the marts and the roster."""
    states = mart_states(study.lake)
    # A participant whose marts are still to be built keeps the rows there are.
    stays = states.keys() | (set(participants(study.lake)) & people.keys())
    present = (has.hashes.keys() | has.rows.keys()) - {COHORT_ID}
    removed = sorted(i for i in present - stays if i in has.hashes or i not in people)
    stale, waiting = [], []
    for participant_id, state in sorted(states.items()):
        if has.hashes.get(participant_id) != state.mart_hash:
            person = _as_marts_know(study, state, people.get(participant_id))
            if person is None:
                waiting.append(participant_id)
            else:
                stale.append(person)
    for participant_id in sorted(people.keys() - stays):
        person = Person(participant_id, (), None, people[participant_id])
        if participant_id in removed or has.rows.get(participant_id) != participant_row(study, person):
            stale.append(person)
    touched = {person.participant_id for person in stale} | {*removed, *waiting}
    stale.sort(key=lambda person: person.participant_id)
    cohort = cohort_state(study, people)
    differs = has.hashes.get(COHORT_ID) != (cohort.state_hash if cohort else None)
    return Plan(stale, removed, waiting, len(present - touched - {NOBODY}), cohort, differs)


def cohort_state(study: Study, people: Mapping[str, RosterEntry]) -> CohortState | None:
    """The cohort's state; none where rows of somebody went in who has left, or whose consent was another then."""
    state = read_cohort_state(study.lake)
    if state is None or not set(state.participants) <= people.keys():
        return None
    return state if state.consents == consents_of({pid: people[pid] for pid in state.participants}) else None


def _as_marts_know(study: Study, state: MartState, entry: RosterEntry | None) -> Person | None:
    """The participant with the manifests the marts were built from; None where the lake has others by now, or the
    roster another entry: what it grants may be less.
    """
    if state.parts and state.parts["roster"] != roster_part(entry):
        return None
    by_name = {
        f"{each.source_file_id}.{each.inputs_hash}": each for each in manifests(study.lake, state.participant_id)
    }
    # The status, which stands last in a name, goes with the rest.
    names = ["{}.{}".format(*name.split(".")) for name in state.manifests]
    if not set(names) <= by_name.keys():
        return None
    return Person(state.participant_id, [by_name[name] for name in sorted(names)], state, entry)

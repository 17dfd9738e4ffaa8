"""Who may be shown, and to whom: what PostgreSQL's row-level security rests on, beside the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest._core.clinicians import read_clinicians
from ingest._core.consents import NOTHING, SCOPES
from ingest._core.roster import RosterEntry
from ingest._core.study import Study
from ingest.mart.rebuild import mart_states, roster_part


@dataclass(frozen=True)
class Gate:
    """`granted`: participant_id and scope; `assigned`: a clinician's login and participant_id."""

    granted: frozenset[tuple[str, str]] = frozenset()
    assigned: frozenset[tuple[str, str]] = frozenset()


def gate(study: Study, people: Mapping[str, RosterEntry]) -> Gate:
    """The scopes of everybody in the roster, and the assignments of clinicians.csv.

    Of somebody whose marts rest on another roster entry (a consent that was narrowed, a withdrawal) nothing is granted
    until they are rebuilt: their former rows stand, and nobody but the loader sees them.
    """
    states = mart_states(study.lake)
    granted = set()
    for pid, entry in people.items():
        state = states.get(pid)
        if state is not None and state.parts and state.parts["roster"] != roster_part(entry):
            continue
        scopes = {each.scope for each in entry.consents} - {NOTHING} if entry.consents else set(SCOPES)
        granted |= {(pid, scope) for scope in scopes}
    by_ref = {entry.participant_ref: pid for pid, entry in people.items()}
    pairs = read_clinicians(study.root, by_ref).pairs
    return Gate(frozenset(granted), frozenset((clinician, by_ref[ref]) for clinician, ref in pairs))

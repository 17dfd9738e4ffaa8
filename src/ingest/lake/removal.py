"""Taking a participant out of the lake altogether."""

from __future__ import annotations

from ingest._core.contract import LAKE, MART, tables
from ingest._core.places import Place, inside, names, wipe
from ingest._core.tombstones import Tombstones
from ingest.lake.cohort_store import drop_cohort, read_cohort_state
from ingest.lake.store import MANIFESTS, STATES, participants


def remove_participant(lake: Place, participant_id: str) -> int:
    """Remove the participant's files from every folder of the lake, the manifests first; returns how many there were.

    The tables over all participants go where rows of theirs are in them, or may be.
    """
    # Former versions may lie where nothing else does any more.
    folders = [MANIFESTS, *sorted({*names(lake), *tables(LAKE), *tables(MART)} - {MANIFESTS})]
    gone = sum(wipe(inside(lake, folder, f"participant_id={participant_id}")) for folder in folders)
    gone += wipe(inside(lake, STATES, f"{participant_id}.json"))
    cohort = read_cohort_state(lake)
    if cohort is None or participant_id in cohort.participants:
        drop_cohort(lake)
    return gone


def remove_erased(lake: Place, stones: Tombstones) -> list[str]:
    """Take out again who was erased, should a process that began before have written of them; returns who it was."""
    states = [name.removesuffix(".json") for name in names(lake / STATES)] if stones.days else []
    found = stones.among({*participants(lake), *states}) if stones.days else []
    for participant_id in found:
        remove_participant(lake, participant_id)
    return found


def left_of(lake: Place, participant_id: str) -> list[str]:
    """Names of the lake's folders in which something of the participant stands."""
    person = f"participant_id={participant_id}"
    return [folder for folder in names(lake) if person in names(inside(lake, folder))]

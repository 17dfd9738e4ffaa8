"""A second person lets a release that waits go to where it is handed out, or takes it away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ingest._core import clock
from ingest._core.errors import WrongUse
from ingest._core.files import building, locked, put_folder
from ingest._core.study import Study, consent_lock, read_roster
from ingest.publish.audit import audited
from ingest.publish.reading import opened
from ingest.report._release_choice import check_name, chosen_people
from ingest.report._release_files import settle_times
from ingest.report._release_places import folder_for, note_place
from ingest.report._release_placing import (
    Waiting,
    consents_of,
    drop_waiting,
    names_waiting,
    pending_folder,
    sums_of,
    waiting,
)


def approve(study: Study, name: str) -> Path:
    """Put the release `name`, which waits, to where it is handed out; where it stands then.

    Raises WrongUse where none of that name waits, whoever asks has made it, it waited too long, it is not what was
    made, or somebody in it agrees to it no more; Terminal where what is known of it was changed. It waits as before.
    """
    check_name(name)
    with locked(pending_folder(study) / ".lock", "the folder of releases"):
        of = waiting(study, name)
        folder = folder_for(study, Path(of.folder))
        with (
            audited(study, "approve", entry_id=of.entry_id, tables=of.tables) as entry,
            locked(folder / ".lock", "the folder of releases"),
            consent_lock(study.root),
            building(folder) as tmp,
        ):
            if entry.actor.who == of.who:
                raise WrongUse(f"you made {name}; somebody else approves it")
            if of.ends_at(study.settings.release.approval_days) <= clock.now():
                raise WrongUse(f"{name} waited too long (study.yaml, release.approval_days); make it again")
            _check_consents(replace(study, roster=read_roster(study.root)), of)
            made = tmp / name
            shutil.copytree(pending_folder(study) / name, made)
            if sums_of(made) != of.sums:
                raise WrongUse(f"{name} is not what was made; `ingest release --reject {name}`, and make it again")
            if (folder / name).exists():
                if sums_of(folder / name) != of.sums:
                    raise WrongUse(f"another release {name} stands in {folder}; reject this one, choose another name")
            else:
                settle_times(made)
                note_place(study, name, folder)
                put_folder(made, folder / name)
            entry.counts = {"participants": len(of.consents)}
        drop_waiting(study, name)
    return folder / name


def reject(study: Study, name: str) -> None:
    """Take the release `name`, which waits, away; whoever made it may do so, too.

    Raises WrongUse where none of that name waits.
    """
    check_name(name)
    with locked(pending_folder(study) / ".lock", "the folder of releases"):
        if name not in names_waiting(study):
            waiting(study, name)
        with audited(study, "reject"):
            drop_waiting(study, name)


def listed(study: Study) -> Iterator[str]:
    """A line for each release that waits."""
    for name in names_waiting(study):
        of = waiting(study, name)
        ends = of.ends_at(study.settings.release.approval_days)
        yield (f"{name}  made by {of.who} on {of.at[:10]}, to be approved until {ends:%Y-%m-%d}; "
               f"{len(of.consents)} participants, {', '.join(of.tables)}; for {of.folder}")  # fmt: skip


def _check_consents(study: Study, of: Waiting) -> None:
    """Raises WrongUse unless everybody in the release may be released today, as when it was made."""
    with opened(study) as reader:
        people = {*chosen_people(study, reader).ids}
    if not {*of.consents} <= people or consents_of(study, of.consents) != of.consents:
        raise WrongUse(f"what somebody in {of.release} agreed to has changed since it was made; make it again")

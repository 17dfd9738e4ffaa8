"""identity/: the key and the link table, the only place where refs and participant_ids meet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping

from ingest._core.errors import Terminal
from ingest._core.files import TMP_PREFIX, sync_folder, write_bytes
from ingest._core.places import names
from ingest._core.pseudonyms import KEY_BYTES, participant_id, read_key, report_secret
from ingest._core.roster import RosterEntry
from ingest._core.study import Study
from ingest._core.tombstones import tombstones
from ingest.harmonise.person import Person

LINKS = "participants.csv"


def make_key(study: Study) -> None:
    """Make the study's key if there is none: 32 random bytes, readable by their owner only.

    Raises Terminal where a lake stands without its key: a new key would give everybody a new id.
    """
    path = study.identity / "key"
    if path.exists():
        return
    if any(name.startswith("participant_id=p") for name in names(study.lake / "_manifest")):
        raise Terminal(
            "identity/key is missing but the lake holds participants made with it; restore it from "
            "your backup, or remove lake/ and the warehouse to begin anew"
        )
    study.identity.mkdir(mode=0o700, parents=True, exist_ok=True)
    tmp = study.identity / f"{TMP_PREFIX}key-{os.getpid()}"
    write_bytes(tmp, os.urandom(KEY_BYTES).hex().encode() + b"\n", 0o600)
    try:
        os.link(tmp, path)  # fails where another process was first, whose key then holds
    except FileExistsError:
        pass
    finally:
        tmp.unlink()
    sync_folder(study.identity)


def people(study: Study) -> dict[str, Person]:
    """The roster's participants by ref, with their pseudonyms and zones."""
    key = read_key(study.identity / "key")
    found = {}
    for ref, entry in study.roster.entries.items():
        zone_name, basis = study.zone_of(entry)
        found[ref] = Person(participant_id(key, ref), ref, zone_name, basis, report_secret(key, ref))
    return found


def waiting_ids(study: Study) -> set[str]:
    """participant_ids of roster rows that cannot be used as they stand."""
    key = read_key(study.identity / "key")
    return {participant_id(key, ref) for ref in study.roster.waiting}


def entries_by_id(study: Study) -> dict[str, RosterEntry]:
    """Roster entries by participant_id."""
    return {person.participant_id: study.roster.entries[ref] for ref, person in people(study).items()}


def write_links(study: Study, known: Mapping[str, Person]) -> None:
    """Bring identity/participants.csv up to date; refs that left the roster stay resolvable until erased."""
    links = {**read_links(study), **{person.participant_id: ref for ref, person in known.items()}}
    for erased in tombstones(study.identity).among(links):
        del links[erased]
    _write(study, links)


def _write(study: Study, links: Mapping[str, str]) -> None:
    path = study.identity / LINKS
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["participant_id", "participant_ref"])
    writer.writerows(sorted(links.items()))
    data = text.getvalue().encode()
    if not path.exists() or path.read_bytes() != data:
        write_bytes(path, data, 0o600)


def read_links(study: Study) -> dict[str, str]:
    """Ref by participant_id, for people who may see both."""
    path = study.identity / LINKS
    if not path.exists():
        return {}
    with path.open(newline="") as stream:
        return {row["participant_id"]: row["participant_ref"] for row in csv.DictReader(stream)}


def remove_link(study: Study, participant_id: str) -> None:
    """Take a participant out of identity/participants.csv; none is no error."""
    links = read_links(study)
    if links.pop(participant_id, None) is not None:
        _write(study, links)

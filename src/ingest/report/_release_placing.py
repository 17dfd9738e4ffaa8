"""Where a release goes that was made: to where it is handed out, or to wait until a second person approves it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ingest._core import clock
from ingest._core.errors import Terminal, WrongUse
from ingest._core.files import digest, put_folder, remove, sync_folder, write_bytes
from ingest._core.keys import read_key
from ingest._core.pseudonyms import keyed
from ingest._core.roster import RosterEntry
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.publish.audit import Entry
from ingest.report._release_files import SUMS, sums
from ingest.report._release_places import note_place

PENDING = ".pending"
HANDED_OUT = "handed-out.txt"
STANDS, STOOD, WAITS = "stands", "stood", "waits"


@dataclass(frozen=True)
class Waiting:
    """A release that waits: who made it in which entry of the audit, when, and where it is to go.

    `sums` is a hash of all of its files, `consents` has a hash of each released participant's roster entry.
    """

    release: str
    entry_id: str
    who: str
    at: str
    folder: str
    tables: list[str]
    sums: str
    consents: dict[str, str]

    def ends_at(self, days: int) -> datetime:
        """Until when it may be approved."""
        return datetime.fromisoformat(self.at) + timedelta(days=days)


def built_in(study: Study, folder: Path) -> Path:
    """The folder in which a release for `folder` is built: that itself, or the study's for what waits."""
    return pending_folder(study) if study.settings.release.approval == "second_person" else folder


def pending_folder(study: Study) -> Path:
    """Where releases wait; nobody but its owner can look into it."""
    folder = study.root / "releases" / PENDING
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def placed(study: Study, tmp: Path, folder: Path, name: str, entry: Entry, people: Collection[str]) -> tuple[Path, str]:
    """Put the release `name`, built in `tmp`, into `folder`, or where it waits; where it is then, and its state.

    Raises WrongUse where a release of that name stands or waits with other bytes.
    """
    refuse_where_other(study, tmp, folder, name)
    if (folder / name).exists():
        return folder / name, STOOD
    if study.settings.release.approval != "second_person":
        note_place(study, name, folder)
        put_folder(tmp, folder / name)
        return folder / name, STANDS
    where = pending_folder(study) / name
    if where.exists():
        if waiting(study, name).ends_at(study.settings.release.approval_days) > clock.now():
            return where, WAITS
        drop_waiting(study, name)
    said = Waiting(name, entry.entry_id, entry.actor.who, clock.now().isoformat(), str(folder.resolve()),
                   list(entry.tables), sums_of(tmp), consents_of(study, people))  # fmt: skip
    text = json.dumps(asdict(said), sort_keys=True)
    write_bytes(record_of(study, name), f"{text}\n{_seal(study, text)}\n".encode(), 0o600)
    put_folder(tmp, where)
    return where, WAITS


def waiting(study: Study, name: str) -> Waiting:
    """What is known of a release that waits.

    Raises WrongUse where none of that name does, Terminal where its record was changed or made with another key.
    """
    if name not in names_waiting(study):
        known = ", ".join(names_waiting(study)) or "none"
        raise WrongUse(f"no release {name!r} waits for an approval; those that do: {known}")
    try:
        text, seal = record_of(study, name).read_text(encoding="utf-8").splitlines()
    except ValueError:
        text = seal = ""
    if not text or seal != _seal(study, text):
        raise Terminal(f"identity/waiting/{name}.json was changed, or made with another key; `ingest release --reject "
                       f"{name}`, and make the release again")  # fmt: skip
    return Waiting(**json.loads(text))


def names_waiting(study: Study) -> list[str]:
    """The names of the releases that wait."""
    return [name for name in names_known(study) if (study.root / "releases" / PENDING / name).is_dir()]


def names_known(study: Study) -> list[str]:
    """The names of those, and of what was to wait and was never written."""
    return sorted(path.stem for path in (study.identity / "waiting").glob("[!.]*.json"))


def drop_waiting(study: Study, name: str) -> None:
    """Take a release that waits away, and what is known of it."""
    folder = study.root / "releases" / PENDING / name
    if folder.exists():
        shutil.rmtree(folder)
        sync_folder(folder.parent)
    remove(record_of(study, name))


def record_of(study: Study, name: str) -> Path:
    """The file that says what waits under a name."""
    folder = study.identity / "waiting"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{name}.json"


def sums_of(folder: Path) -> str:
    """A hash of the names and bytes of all files."""
    return digest(json.dumps(sums(folder)))


def consents_of(study: Study, people: Collection[str]) -> dict[str, str]:
    """A keyed hash of what the roster says of each participant."""
    entries, key = entries_by_id(study), read_key(study.identity / "key")
    return {pid: keyed(key, "consent", _said(entries[pid])) for pid in sorted(people) if pid in entries}


def _said(entry: RosterEntry) -> str:
    # Not the lines: a row above that goes changes nobody's consent.
    return repr((sorted(map(repr, entry.consents)), entry.withdrew_on))


def _seal(study: Study, text: str) -> str:
    return keyed(read_key(study.identity / "key"), "waiting", text)


def refuse_where_other(study: Study, tmp: Path, folder: Path, name: str) -> None:
    """Raises WrongUse where a release of that name stands in `folder`, or waits, with other bytes than `tmp`."""
    for stands in (folder / name, study.root / "releases" / PENDING / name):
        if stands.exists():
            _refuse_other_bytes(stands, tmp)


def _refuse_other_bytes(stands: Path, tmp: Path) -> None:
    """Raises WrongUse, with what differs, where the release that stands is not the same as that in `tmp`."""
    old, new = sums(stands), sums(tmp)
    old.pop(HANDED_OUT, None)  # which says that it was, and is no part of it
    if old == new:
        return
    differing = sorted(path for path in {*old, *new} - {SUMS} if old.get(path) != new.get(path))
    why = "".join(f"{each}; " for each in _what_differs(stands, tmp))
    files = ", ".join(differing[:3] or [SUMS]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    raise WrongUse(f"release {stands.name} stands in {stands.parent} with other bytes ({why}files: {files}); "
                   "choose another name")  # fmt: skip


def _what_differs(stands: Path, tmp: Path) -> Iterator[str]:
    """The keys of release.json that differ, rows by table."""
    try:
        old, new = (json.loads((each / "release.json").read_text(encoding="utf-8")) for each in (stands, tmp))
    except (OSError, ValueError):
        yield "its release.json cannot be read"
        return
    yield from sorted(key for key in {*old, *new} - {"tables"} if old.get(key) != new.get(key))
    rows: tuple[Mapping[str, int], Mapping[str, int]] = (old["tables"], new["tables"])
    for table in sorted({*rows[0], *rows[1]}):
        if rows[0].get(table) != rows[1].get(table):
            yield f"{table} {rows[0].get(table, 'no')} -> {rows[1].get(table, 'no')} rows"

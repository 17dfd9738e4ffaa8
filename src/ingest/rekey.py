"""A new key for a study: every id is made anew, and what was made with the old key goes.

The new lake is built beside the old one, in `.rekey/`, while the study goes on as it is. Then lake, key and what else
names participants change places under the lock that every stage holds while it works, and the warehouse is published in
its one transaction. A change that was broken off is told by a file; until it is completed nothing else derives an id.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ingest._core.acknowledgements import acknowledgements_path
from ingest._core.errors import WrongUse
from ingest._core.files import locked, remove, sync_folder, write_bytes
from ingest._core.keys import (
    CHANGED,
    CHECK,
    FORMER,
    KEY_BYTES,
    MARKER,
    check_of,
    former_keys,
    in_use,
    key_at,
    read_key,
    stored_key,
    with_former,
    write_check,
)
from ingest._core.object_files import ObjectPath
from ingest._core.places import take_place, wipe
from ingest._core.pseudonyms import participant_id as id_of
from ingest._core.study import PARTICIPANT_FILES, Study, open_study, read_roster
from ingest._core.tombstones import TOMBSTONES
from ingest.harmonise.identity import LINKS, read_links
from ingest.lake.carry import Carried, carry
from ingest.lake.cohort_store import read_cohort_state
from ingest.lake.load import load_batch
from ingest.lake.plan import plan
from ingest.mart.rebuild import rebuild, stale
from ingest.publish.audit import audited
from ingest.publish.warehouse import Published, publish_study

BESIDE = ".rekey"
_LAKE = "lake"
_IN_IDENTITY = (LINKS, FORMER, CHECK, "key")
"""Files that change with the key, the key last."""
_BY_ID = ("audit_ids.csv",)
Said = Callable[[str], None]


@dataclass
class Rekeyed:
    """What a change of the key did: exports decoded again, those that left landing and were carried over, reports that
    named former ids and went.
    """

    decoded: int = 0
    carried: Carried = field(default_factory=Carried)
    reports: int = 0
    published: Published | None = None


def rekey(study: Study, source: str | None = None, tell: Said = lambda line: None) -> Rekeyed:
    """Make everything anew under another key: a new one of 32 random bytes in identity/key, or that which stands at
    `source` (`file:/PATH`, `env:VARIABLE`, `airflow:CONNECTION`).

    Called again after whatever end, it completes what was begun; where the source has the present key it publishes
    what is not published under it. Raises WrongUse where the source is no place; Transient where another change or an
    erasure runs; Terminal where the source holds no key, and what decoding and publishing raise.
    """
    done = Rekeyed()
    with (
        locked(study.identity / ".rekey.lock", "another change of the key"),
        locked(study.identity / ".erase.lock", "an erasure"),
        audited(study, "rekey") as entry,
    ):
        began, changed = ((study.identity / each).exists() for each in (MARKER, CHANGED))
        if changed and not began:
            drop_begun(study)
        elif not began:
            beside = _prepared(study, source)
            if beside is None:
                tell("that is the present key; what is not published under it is published now")
            else:
                tell("decoding everything under the new key, beside the lake as it is")
                _build(study, beside, done)
        if (study.root / BESIDE).exists():
            tell("waiting for what runs, then changing lake and key")
            with in_use(study.identity, alone=True):
                _change(study)
        now = open_study(study.root)
        done.reports = _remove_reports(now, _former_ids(now))
        tell("publishing")
        done.published = publish_study(now, scrub=True)
        remove(study.identity / CHANGED)
        entry.counts = {"exports": done.decoded + done.carried.exports, **done.published.counts()}
    return done


def move_key(study: Study, source: str) -> None:
    """Let identity/key say that the present key is at `source`; raises WrongUse where another one stands there."""
    if check_of(key_at(source)) != check_of(read_key(study.identity / "key")):
        raise WrongUse("another key stands there; put the present one there, or leave out --same to change to it")
    write_bytes(study.identity / "key", source.encode() + b"\n", 0o600)


def drop_begun(study: Study) -> None:
    """Take away what a change of the key had built so far; the next one begins anew."""
    if (study.root / BESIDE).exists():
        if isinstance(study.lake, ObjectPath):
            wipe(study.lake / BESIDE)
        shutil.rmtree(study.root / BESIDE, ignore_errors=True)


def _prepared(study: Study, source: str | None) -> Study | None:
    """The study under the new key: its landing, its tables, a lake and an identity of its own; None for the present
    key.
    """
    old = read_key(study.identity / "key")
    root, identity = study.root / BESIDE, study.root / BESIDE / "identity"
    if (identity / CHECK).exists() and not _continues(identity, old, source):
        drop_begun(study)
    if not (identity / CHECK).exists():
        drop_begun(study)
        new = key_at(source) if source else os.urandom(KEY_BYTES)
        if new == old:
            return None
        identity.mkdir(mode=0o700, parents=True)
        write_bytes(identity / "key", (source or new.hex()).encode() + b"\n", 0o600)
        write_bytes(identity / FORMER, with_former(study.identity, old, new), 0o600)
        (root / _LAKE).mkdir(exist_ok=True)
        write_check(identity, new)
    _bring_up_to_date(study, root)
    return Study(root, study.settings.model_copy(update={"lake": _lake_beside(study)}), read_roster(root))


def _lake_beside(study: Study) -> str:
    """Where the new lake is built: in a folder of its own, or below a hidden name of the prefix."""
    return f"{study.settings.lake}/{BESIDE}" if isinstance(study.lake, ObjectPath) else _LAKE


def _continues(identity: Path, old: bytes, source: str | None) -> bool:
    """True if what was begun is of the present key and of the source that is asked for now."""
    if not (identity / "key").exists():
        return False  # it was being taken away
    said = (identity / "key").read_text().strip()
    new = stored_key(identity / "key")
    return new != old and (source is None or said == source) and (identity.parent / _LAKE).exists()


def _bring_up_to_date(study: Study, root: Path) -> None:
    """Copy what people keep and what landing is known to hold; it may have changed since the last call."""
    for name in PARTICIPANT_FILES:
        remove(root / name)
        if (study.root / name).exists():
            write_bytes(root / name, (study.root / name).read_bytes(), 0o600)
    if (study.identity / TOMBSTONES).exists():
        write_bytes(root / "identity" / TOMBSTONES, (study.identity / TOMBSTONES).read_bytes(), 0o600)
    if study.landing_url is None and not (root / "landing").is_symlink():
        (root / "landing").symlink_to(study.landing.resolve(), target_is_directory=True)
    arrivals = study.identity / "arrivals.sqlite"
    remove(root / "identity" / arrivals.name)
    if arrivals.exists():
        with (
            closing(sqlite3.connect(arrivals)) as held,
            closing(sqlite3.connect(root / "identity" / arrivals.name)) as copy,
        ):
            held.backup(copy)
    ids = _new_ids(study, read_key(root / "identity" / "key"))
    given = acknowledgements_path(study.root)
    if given.exists():
        write_bytes(acknowledgements_path(root), _mapped(given.read_bytes(), ids), 0o600)


def _build(study: Study, beside: Study, done: Rekeyed) -> None:
    wanted = plan(beside).wanted
    done.decoded = load_batch(beside, [arrival.token for arrival in wanted]).exports.total()
    ids = _new_ids(study, read_key(beside.identity / "key"))
    done.carried = carry(study, beside, ids)
    rebuild(beside, stale(beside))
    if read_cohort_state(study.lake) is not None:
        from ingest.mart.cohort import associate  # seconds of imports that most do without

        associate(beside)


def _new_ids(study: Study, key: bytes) -> dict[str, str]:
    """New participant_ids by former ones, of everybody whose ref is known."""
    old = read_key(study.identity / "key")
    refs = {*study.roster.entries, *study.roster.waiting, *read_links(study).values()}
    return {id_of(old, ref): id_of(key, ref) for ref in refs}


def _change(study: Study) -> None:
    """Put what was built in its place; called again it does what is left."""
    beside, marker = study.root / BESIDE, study.identity / MARKER
    if not marker.exists():
        ids = _new_ids(study, read_key(beside / "identity" / "key"))
        for path in (study.identity / name for name in _BY_ID):
            if path.exists():
                write_bytes(beside / "identity" / path.name, _mapped(path.read_bytes(), ids), 0o600)
        write_bytes(marker, b"lake and key change places; `ingest rekey` completes it\n", 0o600)
    _change_lake(study, beside)
    for name in (acknowledgements_path(study.root).name,):
        if (beside / name).exists():
            write_bytes(study.root / name, (beside / name).read_bytes())
    for name in (*_BY_ID, *_IN_IDENTITY):
        if (beside / "identity" / name).exists():
            write_bytes(study.identity / name, (beside / "identity" / name).read_bytes(), 0o600)
    write_bytes(study.identity / CHANGED, b"the warehouse is to be published; `ingest rekey` completes it\n", 0o600)
    remove(marker)
    sync_folder(study.identity)
    drop_begun(study)


def _change_lake(study: Study, beside: Path) -> None:
    lake = study.lake
    if isinstance(lake, ObjectPath):
        take_place(lake / BESIDE, lake)
    elif (beside / _LAKE).exists():
        if lake.exists():
            os.rename(lake, beside / "former-lake")
        os.rename(beside / _LAKE, lake)
        sync_folder(study.root)


def _mapped(data: bytes, ids: Mapping[str, str]) -> bytes:
    """A CSV with its column participant_id under the new key, rows in the order they have."""
    header, *rows = csv.reader(io.StringIO(data.decode()))
    at = header.index("participant_id")
    for row in rows:
        row[at] = ids.get(row[at], row[at])
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue().encode()


def _former_ids(study: Study) -> set[str]:
    former = former_keys(study.identity, read_key(study.identity / "key"))
    return {id_of(key, ref) for key in former[:1] for ref in {*study.roster.entries, *read_links(study).values()}}


def _remove_reports(study: Study, former: set[str]) -> int:
    """Pages that name former ids: nobody can look up whose they are any more."""
    words = [each.encode() for each in former]
    pages = [path for path in sorted((study.root / "reports").rglob("*")) if path.is_file()]
    named = [path for path in pages if any(w.decode() in path.name or w in path.read_bytes() for w in words)]
    for path in named:
        remove(path)
    return len(named)

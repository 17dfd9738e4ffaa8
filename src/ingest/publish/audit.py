"""Who did what with the study, when and what for: two entries for an action, one before it and one after.

They stand in table ingest_audit where the warehouse is PostgreSQL's and has it, else in audit/audit.jsonl. No entry
names a participant: it has their audit_id, whose link stands in `identity/` and goes with an erasure.
"""

from __future__ import annotations

import logging
import os
import pwd
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from ingest._core import audit_chain, clock
from ingest._core.audit_ids import audit_id_of
from ingest._core.errors import IngestError, Transient, WrongUse
from ingest._core.settings_audit import Audit
from ingest._core.study import Study
from ingest.publish.run_ids import new_id

log = logging.getLogger(__name__)
MUST_BE_WRITTEN = ("erase", "withdraw", "release", "approve", "reject", "report", "query", "serve")
"""Actions that are not done where their entry cannot be written; the others go on with a warning."""
_PURPOSE = re.compile(r"[A-Za-z][A-Za-z0-9 ,._-]{0,79}")


@dataclass(frozen=True)
class Actor:
    """Who acts: a login, `via` what (`command`, `airflow`, `serve`), and in which run of it."""

    who: str
    via: str = "command"
    run: str | None = None
    purpose: str | None = None


_ACTING: ContextVar[Actor | None] = ContextVar("acting", default=None)


@dataclass
class Entry:
    """What is being done; `counts` and `tables` may be filled in until it ends."""

    action: str
    actor: Actor
    entry_id: str
    purpose: str | None = None
    audit_id: str | None = None
    tables: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


@contextmanager
def acting(
    *, who: str | None = None, via: str | None = None, run: str | None = None, purpose: str | None = None
) -> Iterator[None]:
    """What is done in this context is done by `who`, `via`, in `run`, for `purpose`; what is None stays as it was."""
    given = {name: value for name, value in (("who", who), ("via", via), ("run", run), ("purpose", purpose)) if value}
    token = _ACTING.set(replace(_actor(), **given))
    try:
        yield
    finally:
        _ACTING.reset(token)


@contextmanager
def audited(
    study: Study,
    action: str,
    participants: Iterable[str] = (),
    *,
    entry_id: str | None = None,
    tables: Iterable[str] = (),
    counts: Mapping[str, int] | None = None,
) -> Iterator[Entry]:
    """An action, entered before it begins and when it has ended or failed; `participants` are participant_ids.

    Raises WrongUse where study.yaml asks for another purpose. Where the entry cannot be written, the actions of
    MUST_BE_WRITTEN are not done, and raise Transient, also at their end; the others go on, with a warning.
    """
    entry = _new(study, action, participants, entry_id, tables, counts)
    _write(study, entry, "begun", None)
    try:
        yield entry
    except BaseException as error:
        _write(study, entry, "failed", type(error).__name__, ending=True, raises=isinstance(error, IngestError))
        raise
    _write(study, entry, "ended", None, ending=True)


def enter(
    study: Study,
    action: str,
    participants: Iterable[str] = (),
    *,
    tables: Iterable[str] = (),
    counts: Mapping[str, int] | None = None,
) -> None:
    """One entry of something that is done at once, such as a page that is served; raises as `audited`."""
    _write(study, _new(study, action, participants, None, tables, counts), "done", None)


def check_purpose(said: str | None, settings: Audit, action: str) -> str | None:
    """The purpose that counts; raises WrongUse where it is none, or none of those the study has."""
    purpose = said or settings.purpose
    if purpose is not None and not _PURPOSE.fullmatch(purpose):
        raise WrongUse("--purpose: expected up to 80 letters, digits, spaces and ,._- that name nobody")
    asked = action in MUST_BE_WRITTEN
    if settings.purposes and asked and purpose not in settings.purposes:
        raise WrongUse(f"--purpose: study.yaml (`audit`) asks for one of: {', '.join(settings.purposes)}")
    return purpose


def login() -> str:
    """The name of the user this process runs as; environment variables, which anybody can set, are not asked."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


def _actor() -> Actor:
    return _ACTING.get() or Actor(login())


def _new(
    study: Study,
    action: str,
    participants: Iterable[str],
    entry_id: str | None,
    tables: Iterable[str],
    counts: Mapping[str, int] | None,
) -> Entry:
    actor = _actor()
    purpose = check_purpose(actor.purpose, study.settings.audit, action)
    try:
        ids = {found for each in participants if (found := audit_id_of(study.identity, each))}
    except OSError as error:
        raise _refused(action, error) from error
    return Entry(action, actor, entry_id or new_id(clock.now()), purpose, ",".join(sorted(ids)) or None,
                 sorted(tables), dict(counts or {}))  # fmt: skip


def _write(
    study: Study, entry: Entry, state: str, error: str | None, *, ending: bool = False, raises: bool = True
) -> None:
    said = {
        "at": clock.now(), "id": entry.entry_id, "action": entry.action, "state": state, "who": entry.actor.who,
        "via": entry.actor.via, "run": entry.actor.run, "purpose": entry.purpose, "audit_id": entry.audit_id,
        "tables": ",".join(entry.tables) or None,
        "counts": entry.counts if ending or state == "done" else None, "error": error,
    }  # fmt: skip
    known = {name: value for name, value in said.items() if value not in (None, {})}
    try:
        if not (study.warehouse_url is not None and _in_table(study, known)):
            audit_chain.append(audit_chain.path_of(study.root), known)
    except (OSError, IngestError) as failure:
        told = _refused(entry.action, failure, ending)
        if entry.action in MUST_BE_WRITTEN and raises and not (ending and state == "failed"):
            raise told from failure
        log.warning("%s", told)


def _in_table(study: Study, known: dict[str, object]) -> bool:
    from ingest.publish.postgres_audit import append

    try:
        return append(str(study.warehouse_url), known)
    except IngestError:
        if known["action"] in MUST_BE_WRITTEN:
            raise
        return False  # what a run did is entered in the file where the server is away


def _refused(action: str, error: OSError | IngestError, ending: bool = False) -> IngestError:
    why = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    what = "it was done, and how it ended stands nowhere" if ending else f"without it `{action}` does nothing"
    kind = Transient if isinstance(error, OSError) else type(error)
    return kind(f"the audit's entry cannot be written ({why}); {what}; let audit/ be written to and run again")

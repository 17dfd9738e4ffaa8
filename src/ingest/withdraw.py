"""Withdrawal: the day goes into roster.csv, and what is from that day on leaves marts and warehouse."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ingest._core import clock
from ingest._core.csv_edit import with_cell
from ingest._core.errors import WrongUse
from ingest._core.files import write_bytes
from ingest._core.pseudonyms import participant_id as id_of
from ingest._core.pseudonyms import read_key
from ingest._core.roster import RosterEntry
from ingest._core.study import Study, consent_lock, open_study
from ingest._core.tombstones import tombstones
from ingest.engine.engine import InProcess
from ingest.erase import Erased, erase, find
from ingest.harmonise.identity import entries_by_id
from ingest.lake.store import read_part
from ingest.pipeline import Step, refresh, silent
from ingest.publish.audit import audited
from ingest.report.pages.writing import write_again


@dataclass
class Withdrawn:
    """Since when the participant has withdrawn; `nights` are those that stay. `erased` says what an erasure did."""

    on: date
    nights: int = 0
    published: bool = False
    erased: Erased | None = None

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"nights": self.nights, "published": int(self.published),
                **(self.erased.counts() if self.erased else {})}  # fmt: skip


def withdraw(study: Study, participant: str, on: date, keep: bool, step: Step = silent) -> Withdrawn:
    """Withdraw a participant, given by participant_id or ref, from the day `on`, the first without consent.

    What was recorded before that day stays with `keep`; without, everything is erased. Twice is as once. Raises
    WrongUse for somebody unknown, a day before the enrolment or in the future, or one later than the day that stands.
    """
    pid = find(study, participant)
    with audited(study, "withdraw", [pid]) as entry:
        done = _withdraw(study, pid, on, keep, step)
        entry.counts = done.counts()
    return done


def _withdraw(study: Study, pid: str, on: date, keep: bool, step: Step) -> Withdrawn:
    if not keep and tombstones(study.identity).holds_id(pid):
        return Withdrawn(on, erased=erase(study, pid))
    write_down(study, pid, on)
    now = open_study(study.root)
    if not keep:
        return Withdrawn(on, erased=erase(now, pid))
    _, published = refresh(now, step, [pid], scrub=True, engine=InProcess())
    write_again(now, pid)
    nights = len(read_part(now.lake, "night", pid, ["night_date"]))
    return Withdrawn(on, nights, pid in published.published)


def write_down(study: Study, pid: str, on: date) -> None:
    """Put the day into the participant's row of roster.csv, whose other bytes stay; raises as `withdraw` does."""
    key = read_key(study.identity / "key")
    path = study.root / "roster.csv"
    with consent_lock(study.root):
        entry = entries_by_id(open_study(study.root)).get(pid)
        if entry is None:
            raise WrongUse("this participant has no usable row in roster.csv; put the row right, or erase them")
        if _checked(study, entry, on):
            return
        data = with_cell(path.read_bytes(), lambda row: id_of(key, row["participant_ref"].strip()) == pid,
                         "withdrew_on", on.isoformat())  # fmt: skip
        write_bytes(path, data, path.stat().st_mode & 0o777)


def _checked(study: Study, entry: RosterEntry, on: date) -> bool:
    """True if the day stands already; raises WrongUse where it cannot be."""
    if entry.withdrew_on == on:
        return True
    if entry.enrolled_on and on < entry.enrolled_on:
        raise WrongUse("the withdrawal lies before enrolled_on; from that day on at the earliest nothing is used")
    today = clock.local_date(clock.now(), study.zone_of(entry)[0])
    if on > today:
        raise WrongUse(f"the withdrawal lies in the future (it is {today}); withdraw on the day itself")
    if entry.withdrew_on and on > entry.withdrew_on:
        raise WrongUse(
            f"this participant withdrew on {entry.withdrew_on}; a later day would bring back what is gone. Where the "
            "former day was wrong, put roster.csv right by hand"
        )
    return False

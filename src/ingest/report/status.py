"""What came in, what became of it, and who has which nights: from manifests and marts alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

import pyarrow.compute as pc

from ingest._core.errors import IngestError
from ingest._core.roster import NOBODY
from ingest._core.study import Study
from ingest.lake.store import Manifest, manifests, participants, read, read_part
from ingest.mart.rebuild import mart_states, stale
from ingest.publish.reading import exists
from ingest.report.expectations import expectations
from ingest.report.safety import SafetyState, safety_state

__all__ = ["PersonLine", "SourceLine", "Status", "expectations", "status"]
STATUSES = ("loaded", "partial", "ignored", "refused")
FATES = ("read", "kept", "duplicate", "ignored", "quarantined")


@dataclass
class SourceLine:
    """Exports and records of one source."""

    source: str
    exports: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)

    @property
    def reconciles(self) -> bool:
        """read = kept + duplicate + ignored + quarantined."""
        return self.records["read"] == sum(self.records[fate] for fate in FATES[1:])


@dataclass(frozen=True)
class PersonLine:
    """Nights and log days of one participant; `dates` is how many the coverage speaks of."""

    participant_id: str
    nights: int
    first: date | None
    last: date | None
    dates: int
    logged: int

    @property
    def coverage_pct(self) -> float | None:
        """Dates with a night, in per cent of all."""
        return 100 * self.nights / self.dates if self.dates else None


@dataclass
class Status:
    """The state of a study; lists are sorted. `warehouse` says what is wrong with it, else nothing."""

    sources: list[SourceLine]
    people: list[PersonLine]
    refusals: list[tuple[str, str, int]]
    unknown_substances: list[tuple[str, int]]
    shared: list[str]
    stale: int
    warehouse: str
    roster_problems: list[str]
    safety: SafetyState = field(default_factory=SafetyState)


def status(study: Study) -> Status:
    """The state of the study as lake and marts hold it."""
    by_source: dict[str, SourceLine] = {}
    reasons: Counter[tuple[str, str]] = Counter()
    substances: Counter[str] = Counter()
    shared: set[str] = set()
    for participant_id in participants(study.lake):
        held = manifests(study.lake, participant_id)
        for each in held:
            _count(by_source.setdefault(each.source, SourceLine(each.source)), each)
            if each.reason == "misfiled":
                shared.add(each.source_file_id)
        for row in read(study.lake, "quarantine", held).select(["record_kind", "reason"]).to_pylist():
            reasons[row["record_kind"], row["reason"]] += 1
        uses = read(study.lake, "substance_use", held)
        strange = pc.match_substring(pc.fill_null(uses["flags"], ""), "unknown_substance")
        substances.update(uses["substance"].filter(strange).to_pylist())
    return Status(
        [by_source[name] for name in sorted(by_source)],
        [_person(study, pid) for pid in sorted(mart_states(study.lake)) if pid != NOBODY],
        sorted((kind, reason, count) for (kind, reason), count in reasons.items()),
        sorted(substances.items()),
        sorted(shared),
        len(stale(study)) if (study.identity / "key").exists() else 0,
        _warehouse(study),
        study.roster.problems,
        safety_state(study),
    )


def _warehouse(study: Study) -> str:
    try:
        return "" if exists(study) else "No warehouse yet; `ingest run` makes it."
    except IngestError as error:
        # The rest of the status needs no server.
        return str(error)


def _count(line: SourceLine, of: Manifest) -> None:
    # A participant's share of a study-wide log is counted with its records, not as another export.
    if of.rows_hash is None:
        line.exports[of.status] += 1
    line.records.update(of.counts or {})


def _person(study: Study, participant_id: str) -> PersonLine:
    rows = read_part(study.lake, "coverage", participant_id)
    nights = rows.filter(rows["has_sleep"])["date"]
    return PersonLine(participant_id, len(nights), pc.min(nights).as_py(), pc.max(nights).as_py(), len(rows),
                      pc.sum(rows["has_log"]).as_py() or 0)  # fmt: skip

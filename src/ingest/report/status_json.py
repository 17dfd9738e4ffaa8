"""`ingest status --format json`: the keys of docs/status.schema.json, for monitoring."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from ingest._core.study import Study
from ingest.report.status import FATES, STATUSES, SourceLine, Status, status
from ingest.report.watch import Watch, watch

VERSION = 1


def as_json(study: Study) -> str:
    """The state of a study as one JSON object; participants are ids, nothing else is of a person."""
    return json.dumps(as_dict(study, status(study), watch(study)), indent=2)


def as_dict(study: Study, of: Status, seen: Watch) -> dict[str, Any]:
    """The same as plain values."""
    waits = seen.unpublished
    return {
        "version": VERSION,
        "study": study.settings.study,
        "at": _instant(seen.at),
        "sources": {line.source: _counts(line) for line in of.sources},
        "arrivals_per_day": {str(day): count for day, count in seen.arrivals.items()},
        "nights_per_day": {str(day): count for day, count in seen.nights.items()},
        "nights": sum(line.nights for line in of.people),
        "refusals": [{"record_kind": kind, "reason": why, "count": n} for kind, why, n in of.refusals],
        "participants": {
            "in_roster": len(study.roster.entries),
            "with_nights": sum(line.nights > 0 for line in of.people),
            "stale": of.stale,
            "silent": [{"participant_id": each.participant_id, "last_on": each.last_on and str(each.last_on),
                        "days": each.days} for each in seen.silent],
        },
        "unpublished": None if waits is None else {
            "count": waits.count,
            "oldest_at": waits.oldest_at and _instant(waits.oldest_at),
            "oldest_age_s": waits.oldest_at and round((seen.at - waits.oldest_at).total_seconds()),
        },
        "warehouse": {"usable": not of.warehouse, "problem": of.warehouse or None},
        "roster_problems": len(of.roster_problems),
        "open_safety_signals": len(of.safety.open),
        "last_run": msgspec.to_builtins(seen.last_run) if seen.last_run else None,
        "broken_expectations": [
            {"expectation": each.expectation, "text": each.text, "count": each.count,
             "participant_ids": list(each.participant_ids)} for each in seen.broken
        ],
    }  # fmt: skip


def _counts(line: SourceLine) -> dict[str, dict[str, int]]:
    return {"exports": {name: line.exports[name] for name in STATUSES},
            "records": {name: line.records[name] for name in FATES}}  # fmt: skip


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")

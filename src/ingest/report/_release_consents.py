"""consents.csv of a release: the scopes behind its rows, each under an id that the study can find again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date, timedelta

from ingest._core.consents import SCOPES, Consent
from ingest._core.roster import RosterEntry
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.report._release_disguise import Disguise

CONSENTS = "consents.csv"
_COLUMNS = ["consent_id", "participant_id", "scope", "from_on", "until_on"]


def consents_csv(study: Study, disguise: Disguise) -> str:
    """A row for each scope of each released participant, by the ids and dates that the release shows.

    Who has no rows in the study's consents.csv has granted all scopes, without dates. A withdrawal ends them.
    """
    entries = entries_by_id(study)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [_COLUMNS, *(row for pid in disguise.ids for row in _rows(pid, entries[pid], disguise))]
    )
    return text.getvalue()


def _rows(pid: str, entry: RosterEntry, disguise: Disguise) -> Iterator[list[str]]:
    shown, shift = disguise.person(pid)
    for consent in entry.consents or tuple(Consent(scope) for scope in SCOPES):
        until = consent.until_on
        if entry.withdrew_on is not None:
            until = min(until or date.max, entry.withdrew_on - timedelta(days=1))
        days = [consent.from_on, until]
        said = ["" if day is None else day.isoformat() for day in days]
        moved = ["" if day is None else (day + timedelta(days=shift)).isoformat() for day in days]
        yield [disguise.consent_id(pid, consent.scope, *said), shown, consent.scope, *moved]

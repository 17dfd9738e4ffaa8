"""WHOOP's journal, `journal_entries.csv`: a row per question and cycle, answered yes or no.

No dose and no clock time. A row belongs to the cycle that begins at a sleep onset, and the file does not say
whether its answer speaks of the day before that sleep or of the day after it: the study says so, and without
that setting no row is used. The day before a sleep is the night's date, the date of (local onset - 12 h): an
onset at 00:33, or at 06:30 after a long night, belongs to the evening before. A question that was not asked has
no row, so a missing row is no answer. Notes are never read.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ingest._core.clock import MINUTE, night_day
from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.instants import clock_us
from ingest.decode.log._app_rows import AppRow, app_rows, use_rows
from ingest.decode.model import Decoded, Format, Head, Member, Tally
from ingest.decode.sleep._whoop_names import is_journal, with_journal_header
from ingest.decode.sleep._whoop_records import row_offset

QUESTIONS: Mapping[str, str | None] = {
    "Have any alcoholic drinks?": "alcohol",
    "Have any caffeine?": "caffeine",
    "Take prescription sleep medication?": "sleep_medication",
    "Use CBD oil in any form?": "cbd",
    "Use tobacco in any form?": "nicotine",
    "Take a magnesium supplement?": None,
    "Take electrolyte supplements?": None,
    "Take creatine?": None,
}
"""Question texts as exports hold them, each with its substance; None where it asks for none."""
NEEDED = ("Cycle start time", "Cycle timezone", "Question text", "Answered yes")
_DAYS_ON = {"day_before_sleep": 0, "day_after_sleep": 1}
_ANSWERS = {"true": True, "false": False}


@dataclass
class WhoopJournal:
    """The decoder; see decode/model.py."""

    source: str = "whoop_journal"
    version: str = "2"
    kind: str = "log"
    together: bool = False
    formats: tuple[Format, ...] = field(
        default=(
            Format("WHOOP app export `journal_entries.csv`",
                   "header with `Cycle timezone` and `Question text`, no `Sleep onset`",
                   "alcohol, caffeine, sleep medication, CBD and tobacco, yes or no, for the day that study.yaml says",
                   "local+offset", True),
            Format("WHOOP's journal in another language", "six columns, the first three those of a cycle",
                   "the questions that study.yaml lists", "local+offset", False),
        )
    )  # fmt: skip

    def claim(self, head: Head, settings: Settings) -> str | None:
        """`journal` for its table, in any language whose columns of a cycle are known."""
        if head.suffix not in (".csv", ".txt", "") or head.is_json:
            return None
        return "journal" if is_journal(head.header()) else None

    def decode(self, members: Sequence[Member], settings: Settings) -> Decoded:
        """A use or a stated no-use per answered question about a substance; Refused without the setting."""
        means = settings.journals.whoop_answers_speak_of
        if means is None:
            raise Refused(
                "needs_setting",
                "expected study.yaml to say which day the answers speak of, got nothing; add the line "
                "`journals: {whoop_answers_speak_of: day_before_sleep}`, or day_after_sleep, and run again",
            )
        asked = {plain(text): code for text, code in QUESTIONS.items()}
        asked |= {plain(text): code for text, code in settings.journals.whoop_questions.items()}
        tally = Tally()
        uses: dict[tuple[int, str, bool], dict[str, object]] = {}
        for row in app_rows(members, tally, settings, NEEDED, with_journal_header):
            use = _use(row, asked, _DAYS_ON[means], tally)
            if use is not None:
                tally.duplicate += use[0] in uses
                uses.setdefault(*use)
        return Decoded("WHOOP journal", tally, uses=use_rows(list(uses.values())))

    def settings_part(self, settings: Settings) -> str:
        """The day the answers speak of and the study's own questions, as canonical JSON."""
        return json.dumps(settings.journals.model_dump(mode="json"), sort_keys=True)


DECODER = WhoopJournal()


def plain(question: str) -> str:
    """A question without case, outer and doubled blanks, and the question mark that comes and goes."""
    text = unicodedata.normalize("NFKC", question).replace("’", "'")
    return " ".join(text.casefold().split()).rstrip("?").rstrip()


def _use(
    row: AppRow, asked: Mapping[str, str | None], days_on: int, tally: Tally
) -> tuple[tuple[int, str, bool], dict[str, object]] | None:
    """What makes the answer one of its own, and the use; None, and counted, where the row gives none."""
    question = plain(row.cells["Question text"])
    substance = asked.get(question)
    if substance is None:
        tally.ignored["not about a substance" if question in asked else "question not known"] += 1
        return None
    word = row.cells["Answered yes"].strip().casefold()
    if not word:
        tally.ignored["no_answer"] += 1
        return None
    start, offset = clock_us(row.cells["Cycle start time"].strip()), row_offset(row.cells["Cycle timezone"])
    if word not in _ANSWERS:
        tally.refuse("substance_use", row.locator, "unknown_answer",
                     "Answered yes: expected true or false, got another word; hand in the file as it was "
                     "exported")  # fmt: skip
        return None
    if start is None or offset is None:
        tally.refuse("substance_use", row.locator, "impossible_time",
                     "expected a Cycle start time like 2026-03-01 22:10:30 with a Cycle timezone like UTC+01:00 or "
                     "UTCZ, got no such time; the other rows are read")  # fmt: skip
        return None
    cycle_us, yes = start - offset * MINUTE, _ANSWERS[word]
    day = int(night_day(np.array([start]))[0]) + days_on
    return (cycle_us, question, yes), {
        "source_row": row.number, "record_id": f"{cycle_us} {question}", "substance_reported": substance,
        "no_use": not yes, "use_day": day, "time_precision": "day", "instrument": DECODER.source,
    }  # fmt: skip

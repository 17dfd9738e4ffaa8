"""Open safety signals on the screen, and closing one with a name."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pyarrow.compute as pc

from ingest._core import clock
from ingest._core.acknowledgements import NAME, Acknowledgement, add_acknowledgement, read_acknowledgements
from ingest._core.errors import WrongUse
from ingest._core.roster import NOBODY
from ingest._core.settings import Safety
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id, people
from ingest.lake.store import manifests, participants, read, read_part
from ingest.mart.rebuild import mart_states
from ingest.mart.safety import RULES, closes

NEWEST = 5
NOT_WATCHED = "Nobody watches in real time: a signal stands here once its export has been taken up."
_ALL = '`ingest query "SELECT * FROM safety_signal WHERE acknowledged_at IS NULL"`'
_CLOSING = "`ingest acknowledge PARTICIPANT RULE OBSERVED_AT --by NAME` closes one"


@dataclass(frozen=True)
class SignalLine:
    """A row of safety_signal."""

    participant_id: str
    rule: str
    observed_at: datetime
    observed_on: date
    about: str
    first_seen_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None

    def __str__(self) -> str:
        return f"{self.participant_id} {self.rule} {instant(self.observed_at)} ({self.about}, day {self.observed_on})"


@dataclass(frozen=True)
class SafetyState:
    """The signals of a study: `open` with the newest arrival first; `unasked` are the study's safety items to which
    no answer has come in. `rules` is None where the study says `safety: none`.
    """

    rules: Safety | None = None
    open: list[SignalLine] = field(default_factory=list)
    acknowledged: int = 0
    unasked: list[str] = field(default_factory=list)


def safety_state(study: Study) -> SafetyState:
    """What the marts hold."""
    rules = study.settings.safety
    if rules is None:
        return SafetyState()
    every = [line for pid in sorted(mart_states(study.lake)) if pid != NOBODY for line in signals(study, pid)]
    still = [line for line in every if line.acknowledged_at is None]
    still.sort(key=lambda line: (line.first_seen_at, line.observed_at, line.participant_id, line.rule), reverse=True)
    return SafetyState(rules, still, len(every) - len(still), _unasked(study, rules))


def signals(study: Study, participant_id: str) -> list[SignalLine]:
    """A participant's signals as the marts hold them, in the order of the table's key."""
    return [SignalLine(**row) for row in read_part(study.lake, "safety_signal", participant_id).to_pylist()]


def _unasked(study: Study, rules: Safety) -> list[str]:
    wanted = {(item.instrument, item.item) for item in rules.items}
    for participant_id in participants(study.lake) if wanted else ():
        answers = read(study.lake, "scale_response", manifests(study.lake, participant_id))
        for instrument in {instrument for instrument, _ in wanted}:
            texts = answers.filter(pc.equal(answers["instrument"], instrument))["items"].drop_null().unique()
            said = {name for text in texts.to_pylist() for name, value in json.loads(text).items() if value is not None}
            wanted -= {(instrument, name) for name in said}
    return sorted(f"{instrument} {item}" for instrument, item in wanted)


def safety_lines(state: SafetyState) -> list[str]:
    """What `ingest status` says of safety signals."""
    if state.rules is None:
        return ["Safety signals: none are looked for (study.yaml says `safety: none`)."]
    lines = [f"Safety signals: {len(state.open)} open, {state.acknowledged} acknowledged. {NOT_WATCHED}"]
    if state.rules.contact is None:
        lines.append("  study.yaml names nobody yet: write `contact` and `protocol` under `safety:`, or `safety: none`")
    else:
        said = [" ".join((text or "").split()) for text in (state.rules.contact, state.rules.protocol)]
        lines += [f"  told of them: {said[0]}", f"  what is done: {said[1]}"]
    lines += [f"  safety item {item}: no answer to it has come in" for item in state.unasked]
    counts = Counter(line.rule for line in state.open)
    lines += [f"  {rule}: {counts[rule]}" for rule in RULES if counts[rule]]
    if state.open:
        more = len(state.open) - NEWEST
        lines.append("  the newest:" if more > 0 else "  they are:")
        lines += [f"    {line}" for line in state.open[:NEWEST]]
        if more > 0:
            lines.append(f"    and {more} more: {_ALL}")
        lines.append(f"  {_CLOSING}")
    return lines


def acknowledge(study: Study, participant: str, rule: str, observed: str, by: str) -> tuple[str, bool]:
    """Write down that `by` has seen an open signal; what to say, and whether marts are behind what is written.

    `participant` is a participant_id or a ref, `observed` the signal's instant or day. Raises WrongUse, naming the
    signals that are open, where it is none of them or not one alone.
    """
    if not NAME.fullmatch(by):
        raise WrongUse("--by: expected a name of letters first, then also digits, blanks and . , ' @ -; at most 64")
    participant_id = _participant_id(study, participant)
    held = signals(study, participant_id)
    found = [line for line in held if line.rule == rule and _is_of(line, observed)]
    if not found:
        raise WrongUse(f"no signal of rule {rule} at that time{_near(rule)}\n{_listed(held)}")
    still = [line for line in found if line.acknowledged_at is None]
    if not still:
        return f"already acknowledged: {found[0]}, by {found[0].acknowledged_by}; nothing was written", False
    if len(still) > 1:
        raise WrongUse(f"several signals of that day; give the instant\n{_listed(still)}")
    (line,) = still
    for given in read_acknowledgements(study.root).get(participant_id, ()):
        if closes(given, line.rule, line.observed_at, line.about):
            return f"already acknowledged: {line}, by {given.acknowledged_by}; nothing was written", True
    new = Acknowledgement(participant_id, line.rule, line.observed_at, line.about, clock.now(), by)
    add_acknowledgement(study.root, new)
    return f"acknowledged: {line}, by {by}", True


def instant(at: datetime) -> str:
    """An instant in UTC, to be given back to the command."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _participant_id(study: Study, word: str) -> str:
    known = people(study)
    if word in known:
        return known[word].participant_id
    if word in entries_by_id(study):
        return word
    raise WrongUse("no such participant; give a participant_id (`ingest status` lists them) or a ref of roster.csv")


def _is_of(line: SignalLine, observed: str) -> bool:
    try:
        if len(observed) == len("2026-03-01"):
            return line.observed_on == date.fromisoformat(observed)
        at = datetime.fromisoformat(observed)
    except ValueError as error:
        raise WrongUse("OBSERVED_AT: expected an instant like 2026-03-01T21:30:00Z or a day like 2026-03-01") from error
    if at.tzinfo is None:
        raise WrongUse("OBSERVED_AT: an instant needs its offset, or Z for UTC, like 2026-03-01T21:30:00Z")
    return line.observed_at == at


def _near(rule: str) -> str:
    if rule in RULES:
        return ""
    close = difflib.get_close_matches(rule, RULES, n=1)
    return f"; the rules are {', '.join(RULES)}" + (f"; did you mean {close[0]}?" if close else "")


def _listed(lines: Sequence[SignalLine] | Iterable[SignalLine]) -> str:
    still = [f"  {line}" for line in lines if line.acknowledged_at is None]
    return "\n".join(["open signals:", *still]) if still else "the participant has no open signal"

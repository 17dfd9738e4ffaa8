"""What a person types as an interval: dates, both of which belong to it, or instants, of which the last does not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from ingest._core.errors import WrongUse

_DATE = len("2026-03-01")


@dataclass(frozen=True)
class Arrived:
    """Instants from `start` until before `end`; `words` is how it was typed."""

    start: datetime
    end: datetime
    words: str


def arrived_interval(first: str, last: str) -> Arrived:
    """FROM and TO of --arrived: each a date (a day of UTC; the last one belongs to it) or an instant with its offset.

    Raises WrongUse where one is neither, or the interval is empty.
    """
    start, _ = _bounds("FROM", first)
    _, end = _bounds("TO", last)
    if end <= start:
        raise WrongUse(f"the interval ends before it begins: FROM is {first}, TO is {last}")
    return Arrived(start, end, f"from {first} to {last} (UTC)" if len(first) == _DATE else f"from {first} to {last}")


def nights_interval(first: str, last: str) -> tuple[date, date]:
    """FROM and TO of --nights: night dates, both of which belong to it; raises WrongUse as above."""
    span = _night("FROM", first), _night("TO", last)
    if span[1] < span[0]:
        raise WrongUse(f"the interval ends before it begins: FROM is {first}, TO is {last}")
    return span


def _bounds(name: str, word: str) -> tuple[datetime, datetime]:
    """The instants between which what was typed lies; the same twice for an instant."""
    try:
        if len(word) == _DATE:
            day = datetime.combine(date.fromisoformat(word), datetime.min.time(), UTC)
            return day, day + timedelta(days=1)
        at = datetime.fromisoformat(word)
    except (ValueError, OverflowError) as error:
        raise WrongUse(f"{name}: expected a date like 2026-03-01 or an instant like 2026-03-01T12:00Z") from error
    if at.tzinfo is None:
        raise WrongUse(f"{name}: an instant needs its offset, or Z for UTC, like 2026-03-01T12:00Z")
    return at, at


def _night(name: str, word: str) -> date:
    try:
        if len(word) != _DATE:
            raise ValueError
        return date.fromisoformat(word)
    except ValueError as error:
        raise WrongUse(f"{name}: nights have dates, like 2026-03-01") from error

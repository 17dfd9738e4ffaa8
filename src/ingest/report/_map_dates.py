"""How a column writes its dates, told by the format that fits most of its cells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ISO = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?)?", re.ASCII | re.IGNORECASE
)
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%y", "%d/%m/%y",
          "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y",
          "%d-%b-%y", "%Y%m%d")  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", "T%H:%M", "T%H:%M:%S")
_FORMATS = tuple(date + time for date in _DATES for time in _TIMES)
_LIKE_A_DATE = re.compile(r"(?=.*\d)(?=.*\d[^\d]+\d|\d{8}$)[\w/., :-]{6,32}", re.ASCII)
_PROBED = 50
MOST_UNFIT = 0.1


@dataclass(frozen=True)
class Dates:
    """How a column writes its dates: `format` (None: ISO 8601), the `others` that fit as many of its cells, how many
    cells it does not fit, whether some and whether all dates are without a clock, and whether day and month stand in
    both orders.
    """

    format: str | None
    others: tuple[str, ...] = ()
    unfit: int = 0
    some_bare: bool = False
    all_bare: bool = False
    mixed: bool = False

    @property
    def has_clock(self) -> bool:
        """False where every date is bare."""
        return not self.all_bare


def dates_of(cells: list[str], different: list[str]) -> Dates | None:
    """How these cells write dates; None where they hold none. `different` is each of them once."""
    if not different:
        return None
    iso = sum(bool(ISO.fullmatch(cell)) for cell in cells)
    if iso >= (1 - MOST_UNFIT) * len(cells):
        bare = [len(cell) == len("2026-03-01") for cell in different if ISO.fullmatch(cell)]
        return Dates(None, unfit=len(cells) - iso, some_bare=any(bare), all_bare=all(bare))
    first = different[:_PROBED]
    if sum(bool(_LIKE_A_DATE.fullmatch(cell)) for cell in first) < (1 - MOST_UNFIT) * len(first):
        return None
    tried = [form for form in _FORMATS if any(_fits(cell, form) for cell in first)]
    fitting = {form: {cell for cell in different if _fits(cell, form)} for form in tried}
    if not fitting:
        return None
    most = max(len(hits) for hits in fitting.values())
    best = [form for form, hits in fitting.items() if len(hits) == most]
    unfit = sum(cell not in fitting[best[0]] for cell in cells)
    mirror = _mirrored(best[0])
    both = fitting[best[0]] | fitting.get(mirror, set())
    mixed = unfit > 0 and len(both) > most
    if (unfit if not mixed else sum(cell not in both for cell in cells)) > MOST_UNFIT * len(cells):
        return None
    # Of a date and a clock that an American form writes, the month comes first.
    form = mirror if "%p" in best[0] and mirror in best else best[0]
    clockless = not any(mark in form for mark in ("%H", "%I"))
    return Dates(form, tuple(each for each in best if each != form), unfit, clockless, clockless, mixed)


def _mirrored(form: str) -> str:
    """The format with day and month exchanged."""
    return form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")


def _fits(cell: str, form: str) -> bool:
    if not cell.isascii():
        return False
    try:
        read = datetime.strptime(cell, form).replace(tzinfo=UTC)
    except ValueError:
        return False
    # Eight digits are a date only where they could be one of our time.
    return form != "%Y%m%d" or (len(cell) == 8 and 1900 <= read.year <= 2100)


def day_format(days: list[str]) -> tuple[str | None, str | None]:
    """How a calendar's header writes its days (None: ISO 8601), and the other order of day and month if that fits.

    Where both fit, the days of a calendar are those that lie closest to each other.
    """
    dates = dates_of(days, days)
    other = next((form for form in dates.others if "%d" in form), None) if dates else None
    if dates is None or dates.format is None or other is None:
        return (dates.format if dates else None), None
    closest, farther = sorted((dates.format, other), key=lambda form: _span(days, form))
    return closest, farther


def _span(days: list[str], form: str) -> timedelta:
    read = [datetime.strptime(day, form).replace(tzinfo=UTC) for day in days]
    return max(read) - min(read)

"""Time: the only now(), local clocks to instants and back, night dates. All in integer microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Micros = NDArray[np.int64]
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PROBED_YEARS = (1995, 2045)


def now() -> datetime:
    """The present instant, in UTC. The only place that asks."""
    return datetime.now(UTC)  # noqa: TID251


def local_date(instant: datetime, zone_name: str) -> date:
    """The date on a zone's calendars at this instant."""
    return date(1970, 1, 1) + timedelta(days=int(zone(zone_name).to_local(np.array([to_micros(instant)]))[0] // DAY))


def tzdata_version() -> str:
    """Version of the zone rules in use: always those of the tzdata package, never the machine's."""
    import tzdata

    return str(tzdata.IANA_VERSION)


def zone_exists(name: str) -> bool:
    """True if `name` is a zone of the tzdata package."""
    try:
        _zone_info(name)
    except (OSError, ValueError, ModuleNotFoundError):
        return False
    return True


@lru_cache(maxsize=600)
def _zone_info(name: str) -> ZoneInfo:
    parts = name.split("/")
    if not all(part and part.replace("_", "a").replace("-", "a").replace("+", "a").isalnum() for part in parts):
        raise ValueError("no zone name")
    file = resources.files("tzdata.zoneinfo").joinpath(*parts)
    with file.open("rb") as stream:
        return ZoneInfo.from_file(stream, key=name)


@dataclass(frozen=True)
class Zone:
    """A zone's offsets as arrays, so that a column of clocks is converted at once.

    `wall_first` and `wall_second` are the local clocks at which each change takes hold for the first and the
    second reading of a repeated hour (PEP 495, fold 0 and 1); in a gap they stand the other way round.
    """

    name: str
    changes_utc: Micros
    offsets: Micros
    wall_first: Micros
    wall_second: Micros

    def offset_at(self, instant_us: Micros) -> Micros:
        """UTC offset in microseconds at each instant."""
        return self.offsets[np.searchsorted(self.changes_utc, instant_us, side="right")]

    def to_local(self, instant_us: Micros) -> Micros:
        """Local clock of each instant."""
        return instant_us + self.offset_at(instant_us)

    def to_utc(self, local_us: Micros) -> tuple[Micros, Micros, Micros]:
        """Instants of local clocks: first reading, second reading, and what is special.

        The third array is 0 for an ordinary clock, 1 for one that stands twice (the readings differ), -1 for
        one that never was. A clock in a gap is read with the offset before it, so it lands after the gap by as
        much as it lay inside; the second reading uses the offset after.
        """
        first = self.offsets[np.searchsorted(self.wall_first, local_us, side="right")]
        second = self.offsets[np.searchsorted(self.wall_second, local_us, side="right")]
        return local_us - first, local_us - second, np.sign(first - second)


def travelled(home: str, periods: Sequence[tuple[datetime, str]]) -> str:
    """Name under which `zone` gives one zone that follows a traveller: the home zone, then, from a local time of
    the new zone on, each further zone.
    """
    return ";".join([home, *(f"{since.isoformat()}={name}" for since, name in periods)])


@lru_cache(maxsize=600)
def zone(name: str) -> Zone:
    """The zone called `name`, or the one of a traveller (see `travelled`), whose journeys are changes of the
    clock like any other; raises ValueError or OSError if there is none (ask zone_exists first).
    """
    home, *periods = name.split(";")
    changes, steps = _steps(home)
    for period in periods:
        since, _, other = period.partition("=")
        local = np.array([to_micros(datetime.fromisoformat(since))])
        at = int(zone(other).to_utc(local)[0][0])
        other_changes, other_steps = _steps(other)
        before, after = changes < at, other_changes > at
        changes = np.concatenate([changes[before], [at], other_changes[after]])
        steps = np.concatenate(
            [steps[: before.sum() + 1], other_steps[~np.append(False, after)][-1:], other_steps[1:][after]]
        )
    before_change, after_change = steps[:-1], steps[1:]
    return Zone(
        name,
        changes,
        steps,
        changes + np.maximum(before_change, after_change),
        changes + np.minimum(before_change, after_change),
    )


@lru_cache(maxsize=600)
def _steps(name: str) -> tuple[Micros, Micros]:
    """Instants at which a zone's offset changes, and the offsets before, between and after them."""
    info = _zone_info(name)
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in _PROBED_YEARS)
    days = [start + timedelta(days=i) for i in range((end - start).days)]
    offsets = [_offset(info, day) for day in days]
    changes, kept = [], [offsets[0]]
    for i in range(1, len(days)):
        if offsets[i] != offsets[i - 1]:
            changes.append(_bisect(info, days[i - 1], days[i]))
            kept.append(offsets[i])
    return np.array(changes, dtype=np.int64), np.array(kept, dtype=np.int64)


def _offset(info: ZoneInfo, instant: datetime) -> int:
    offset = instant.astimezone(info).utcoffset() or timedelta()
    return offset // timedelta(microseconds=1)


def _bisect(info: ZoneInfo, low: datetime, high: datetime) -> int:
    old = _offset(info, low)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        low, high = (middle, high) if _offset(info, middle) == old else (low, middle)
    return to_micros(high)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 of an instant, or of a naive clock taken as it stands."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)


def from_micros(value: int) -> datetime:
    """The instant at `value` microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(value))


def day_number(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - date(1970, 1, 1).toordinal()


def night_day(onset_local_us: Micros, anchor_hour: Micros | int = 12) -> NDArray[np.int64]:
    """Night dates, in days since 1970, of local onsets: the date of (onset - anchor hour).

    The anchor hour is 12 (noon to noon) unless the roster says otherwise for a shift worker.
    """
    day: NDArray[np.int64] = np.floor_divide(onset_local_us - np.asarray(anchor_hour, dtype=np.int64) * HOUR, DAY)
    return day

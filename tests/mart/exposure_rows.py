"""Small tables of nights and uses for the tests of the exposure mart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from ingest._core.contract import arrow_schema, schemas
from ingest._core.settings import Exposure
from ingest.mart.exposure import night_exposure
from ingest.mart.person import PersonSettings

WHO = "p0000000000000000000a"
Row = dict[str, Any]


def instant(text: str) -> datetime:
    """An ISO 8601 instant, `Z` for UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _table(name: str, rows: Iterable[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=arrow_schema(name))


def nights_table(rows: Iterable[Row]) -> pa.Table:
    """The columns of schema night that exposure and coverage need."""
    names = ["participant_id", "night_date", "onset_utc", "final_wake_utc", "onset_local"]
    whole = arrow_schema("night")
    return pa.Table.from_pylist(list(rows), schema=pa.schema([whole.field(name) for name in names]))


def uses_table(rows: Iterable[Row]) -> pa.Table:
    """Rows of the lake's substance_use; ids and file facts are filled in where a row lacks them."""
    return _table(
        "substance_use",
        (
            {
                "use_id": f"u{number:04d}",
                "instrument": "canonical",
                "exported_at": datetime(2030, 1, 1, tzinfo=UTC),
                "content_hash": f"h{number:04d}",
                "has_record_id": False,
                "source_file_id": "f" * 64,
                "source_row": number + 1,
                **row,
            }
            for number, row in enumerate(rows)
        ),
    )


def night(night_date: str, onset: str | None, wake: str | None, zone: str = "UTC", who: str = WHO) -> Row:
    """One night from instants."""
    begin = instant(onset) if onset else None
    return {
        "participant_id": who,
        "night_date": date.fromisoformat(night_date),
        "onset_utc": begin,
        "final_wake_utc": instant(wake) if wake else None,
        "onset_local": begin.astimezone(ZoneInfo(zone)).replace(tzinfo=None) if begin else None,
    }


def dose(at: str, amount: float | None = None, unit: str | None = "g", zone: str = "UTC", **other: Any) -> Row:
    """One timed use."""
    taken = instant(at)
    local = taken.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return {
        "participant_id": WHO,
        "substance": "kratom",
        "substance_class": "leaf",
        "no_use": False,
        "taken_utc": taken,
        "taken_local": local,
        "local_date": local.date(),
        "time_precision": "exact",
        "amount": amount,
        "unit": unit,
        **other,
    }


def day_use(day: str, amount: float | None = None, unit: str | None = "g", **other: Any) -> Row:
    """One use of which the exposure day is known."""
    return {
        "participant_id": WHO,
        "substance": "kratom",
        "substance_class": "leaf",
        "no_use": False,
        "local_date": date.fromisoformat(day),
        "time_precision": "day",
        "amount": amount,
        "unit": unit,
        **other,
    }


def no_use(day: str, **other: Any) -> Row:
    """A stated no-use."""
    return day_use(day, None, None, **{"no_use": True, **other})


def no_uses(first: str, last: str, **other: Any) -> list[Row]:
    """A stated no-use on every day from `first` to `last`."""
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    return [no_use(str(begin + timedelta(days=i)), **other) for i in range((end - begin).days + 1)]


def exposures(
    nights: Iterable[Row],
    uses: Iterable[Row],
    settings: Exposure | None = None,
    registry: Mapping[str, tuple[str, str]] | None = None,
    **person: Any,
) -> list[Row]:
    """Rows of night_exposure for one participant in UTC (or `zone_name`)."""
    people = {WHO: PersonSettings(WHO, **{"zone_name": "UTC", **person})}
    table = night_exposure(nights_table(nights), uses_table(uses), people, settings or Exposure(), registry)
    assert table.schema.equals(arrow_schema("night_exposure"))
    return table.to_pylist()


def one(rows: list[Row], **where: Any) -> Row:
    """The only row with these values; the anchor is `onset` unless stated."""
    where = {"anchor": "onset", **where}
    found = [row for row in rows if all(row[name] == value for name, value in where.items())]
    assert len(found) == 1, f"{len(found)} rows match {where}"
    return found[0]


def primary_key(table: str) -> list[str]:
    """Names of the key's columns."""
    return list(schemas()[table]["primaryKey"])

"""How a release shows its participants: under the warehouse's pseudonyms or others, by their dates or shifted ones.

Shifted dates are moved by whole weeks (1 to 26, back or forth), a number of weeks that follows from the study's key,
so that weekdays stay and nobody without the key can move them back. Clocks tell of the season by when they change:
no instant is shown then, a night's local clocks all go by the offset of its beginning, and flags that tell of a
change are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ingest._core import contract
from ingest._core.contract import PUBLISH
from ingest._core.errors import WrongUse
from ingest._core.pseudonyms import id_in_release, keyed, read_key
from ingest._core.study import Study
from ingest.publish.contents import Field
from ingest.report._release_choice import NEVER

_WEEKS = 26
_OFFSET = "utc_offset_min"
_DAY_US = 86_400_000_000
_OF_CLOCK_CHANGES = {"ambiguous_local_time", "nonexistent_local_time", "dst_tail_removed"}


class Disguise:
    """What is shown in place of ids and dates; `ids` are the participants in the order in which they appear."""

    def __init__(self, study: Study, release: str, ids: list[str]) -> None:
        said = study.settings.release
        self._other_ids = said.participant_ids == "release"
        self._shifted = said.dates == "shifted"
        self._other_keys = self._other_ids or self._shifted
        self._key = key = read_key(study.identity / "key")
        self._keyed = partial(keyed, key, "release", release)
        shown = {pid: id_in_release(key, release, pid) if self._other_ids else pid for pid in ids}
        self.ids = sorted(ids, key=shown.__getitem__)
        self._shown = pa.array([shown[pid] for pid in self.ids], pa.string())
        self._days = pa.array([_days(keyed(key, "shift", pid)) if self._shifted else 0 for pid in self.ids])

    def person(self, pid: str) -> tuple[str, int]:
        """The id shown of a participant, and by how many days their dates are moved."""
        place = self.ids.index(pid)
        return str(self._shown[place]), int(self._days[place].as_py())

    def consent_id(self, *parts: str) -> str:
        """The id of a consent: the study finds it by making it again, others can only tell that two are the same."""
        return (self._keyed if self._other_keys else partial(keyed, self._key))("consent", *parts)[:32]

    def shown(self, table: str, fields: list[Field]) -> list[Field]:
        """Those of the fields that the release has; raises WrongUse where a table cannot be shown at all."""
        found = [field for field in fields if (table, field["name"]) not in NEVER]
        if not self._shifted:
            return found
        found = [field for field in found if contract.kind(field) != "instant" and field["name"] != _OFFSET]
        if not set(contract.primary_key(table)) <= {field["name"] for field in found}:
            raise WrongUse(
                f"{table} is told apart by instants, which a release with shifted dates does not show; leave it out"
            )
        return found

    def apply(self, table: str, fields: list[Field], rows: pa.Table) -> pa.Table:
        """Rows with the columns `fields` as the release shows them, with those of `shown`."""
        shown = self.shown(table, fields)
        place = pc.index_in(rows["participant_id"], value_set=pa.array(self.ids, pa.string()))
        columns = {field["name"]: rows[field["name"]] for field in fields}
        if self._shifted:
            columns |= self._moved(fields, columns, pc.take(self._days, place))
        for field in shown:
            name = field["name"]
            if name == "participant_id":
                # Of the cohort tables, rows of the whole cohort keep their name.
                columns[name] = pc.coalesce(pc.take(self._shown, place), columns[name])
            elif self._other_keys and field["type"] == "string" and name.endswith(("_id", "_hash")):
                columns[name] = _by_value(columns[name], lambda text: self._keyed("id", text)[:32])
        return pa.table([columns[each["name"]] for each in shown], schema=contract.arrow_schema_of(shown))

    def _moved(
        self, fields: list[Field], columns: dict[str, pa.ChunkedArray], days: pa.ChunkedArray
    ) -> dict[str, pa.ChunkedArray]:
        found = {}
        shift = pc.multiply(days, _DAY_US)
        offset = _first_offset(columns)
        for field in fields:
            name, kind = field["name"], contract.kind(field)
            if kind == "date":
                moved = pc.add(columns[name].cast(pa.int32()).cast(pa.int64()), days)
                found[name] = moved.cast(pa.int32()).cast(pa.date32())
            elif kind == "clock":
                instant = columns.get(_instant_of(name))
                at = columns[name].cast(pa.int64())
                if instant is not None and offset is not None:
                    # A clock without its instant stays as it is.
                    at = pc.if_else(pc.is_valid(at), pc.coalesce(pc.add(instant.cast(pa.int64()), offset), at), at)
                found[name] = pc.add(at, shift).cast(pa.timestamp("us"))
            elif name == "flags":
                found[name] = _by_value(columns[name], _without_clock_changes)
        return found


def check_shown(disguise: Disguise, tables: list[str]) -> None:
    """Raises WrongUse for the first table that the release cannot show."""
    for table in tables:
        disguise.shown(table, contract.fields(table, PUBLISH))


def _days(digits: str) -> int:
    """One to 26 weeks back or forth, as days, from hexadecimal digits."""
    weeks = int(digits[:16], 16) % (2 * _WEEKS) - _WEEKS
    return 7 * (weeks if weeks < 0 else weeks + 1)


def _instant_of(clock: str) -> str:
    return clock.removesuffix("_local") + "_utc"


def _first_offset(columns: dict[str, pa.ChunkedArray]) -> pa.ChunkedArray | None:
    """Of each row, local clock minus instant in microseconds, of the first pair of columns that has both."""
    offsets = [
        pc.subtract(column.cast(pa.int64()), columns[_instant_of(name)].cast(pa.int64()))
        for name, column in columns.items()
        if name.endswith("_local") and _instant_of(name) in columns
    ]
    return pc.coalesce(*offsets) if offsets else None


def _without_clock_changes(flags: str) -> str | None:
    return ",".join(word for word in flags.split(",") if word not in _OF_CLOCK_CHANGES) or None


def _by_value(column: pa.ChunkedArray, change: Callable[[str], str | None]) -> pa.ChunkedArray:
    """The column with each of its texts changed; the function is called once for each different one."""
    different = column.unique().drop_null()
    changed = pa.array([change(text) for text in different.to_pylist()], pa.string())
    return pc.take(changed, pc.index_in(column, value_set=different))

"""What a decoder is, what it is given and what it gives back.

A decoder is one module below `decode/sleep/` or `decode/log/` with an object called `DECODER`. It knows its
vendor's files and nothing else: no zone, no participant, no database. It claims files by content, and turns
the claimed files of one export into the columns below.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import islice
from posixpath import splitext
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from ingest._core.errors import Refused
from ingest._core.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

V = TypeVar("V")
HEAD_BYTES = 1 << 16
_LITTLE_BYTES = 1 << 12
_WHOLE_BYTES = 1 << 29
_LONGEST_KEY = 100
# Records repeat their keys, and reading every string of a long file would cost more than hashing it.
_KEYS_BYTES = 24 << 10
_KEY = re.compile(rf'"([^"\\]{{1,{_LONGEST_KEY}}}+)"\s*+:')
IGNORED = "ignored:"
BESIDE, WITH_BESIDE = "beside:", "with_beside:"
"""Beginnings of roles: a file that is read along with others of its folder, and one that wants such files."""
RecordKind = Literal["file", "member", "sleep", "score", "substance_use", "diary", "scale", "value"]
SESSION_FLAGS = frozenset(
    {
        "vendor_rejected",
        "placeholder",
        "unscored",
        "manual_entry",
        "unknown_stage_label",
        "stages_exceed_record",
        "stages_contradict_record",
        "stages_unusable",
        "merged_by_vendor",
    }
)
"""What a decoder may say of a session; docs/glossary.md explains each."""
REJECTED_FLAGS = frozenset({"vendor_rejected", "placeholder"})
"""Flags of sessions that are no sleep: kept, but never a night."""
RECORD_KINDS: frozenset[str] = frozenset({"sleep", "score", "substance_use", "diary", "scale"})


class _lazy(Generic[V]):  # noqa: N801 - used as a decorator, like property
    """A value worked out when first asked for. functools.cached_property takes a lock for each."""

    def __init__(self, work: Callable[[Any], V]) -> None:
        self._work, self._name, self.__doc__ = work, work.__name__, work.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> V:
        value = instance.__dict__[self._name] = self._work(instance)
        return value


class Head:
    """What may be looked at to claim a file: its relative name, its size, its first 64 KiB.

    The bytes are read when first asked for, so a decoder that knows a file by its name costs nothing; the header of
    a table mostly needs the first 4 KiB only, the keys of JSON 24 KiB. What is derived from them is worked out once
    for all decoders. `start` is the bytes, or a function that gives the first n of them.
    """

    def __init__(self, name: str, size: int, start: bytes | Callable[[int], bytes]) -> None:
        self.name, self.size, self._read = name, size, start
        self._headers: dict[tuple[str, int], tuple[str, ...]] = {}

    @_lazy
    def base(self) -> str:
        """The last part of the name."""
        return self.name.rpartition("/")[2]

    @_lazy
    def suffix(self) -> str:
        """The ending of the name in lower case, with its dot."""
        return splitext(self.name)[1].lower()

    @_lazy
    def start(self) -> bytes:
        """The first 64 KiB."""
        if isinstance(self._read, bytes):
            return self._read
        return self._little if self._little_is_all else self._read(HEAD_BYTES)

    @_lazy
    def whole(self) -> bytes:
        """All bytes, of which at most 512 MiB: only for what cannot be known from its start, as workbooks."""
        return self._read if isinstance(self._read, bytes) else self._read(min(self.size, _WHOLE_BYTES))

    @_lazy
    def text(self) -> str:
        """The first 64 KiB as text: UTF-8, or UTF-16 with its mark; strange bytes replaced, no byte order mark."""
        return self._little_text if self._little_is_all else _text(self.start)

    @_lazy
    def is_json(self) -> bool:
        """True if the first character that is no blank opens a list or an object."""
        first = self._little_text.lstrip()[:1] or self.text.lstrip()[:1]
        return first in ("[", "{")

    def has_keys(self, *names: str) -> bool:
        """True if each name (at most 100 characters, no quotes) stands in the first 24 KiB as a JSON key."""
        return self.is_json and self._keys.issuperset(names)

    def header(self, delimiter: str = ",", line: int = 0) -> tuple[str, ...]:
        """Cells, without outer blanks, of the `line`-th line (from 0) that is not blank; empty if there is none."""
        found = self._headers.get((delimiter, line))
        if found is None:
            cells = _cells(self._little_text, delimiter, line, self._little_is_all)
            if cells is None:
                cells = _cells(self.text, delimiter, line, True) or []
            found = self._headers[delimiter, line] = tuple(cells)
        return found

    @_lazy
    def _little(self) -> bytes:
        count = self._little_bytes
        return self._read[:count] if isinstance(self._read, bytes) else self._read(count)

    @_lazy
    def _little_bytes(self) -> int:
        return _KEYS_BYTES if self.suffix == ".json" else _LITTLE_BYTES

    @_lazy
    def _little_is_all(self) -> bool:
        return len(self._little) < self._little_bytes

    @_lazy
    def _little_text(self) -> str:
        return _text(self._little)

    @_lazy
    def _keys(self) -> frozenset[str]:
        text = self._little_text if self.suffix == ".json" else self.text[:_KEYS_BYTES]
        return frozenset(_KEY.findall(text))


def _text(start: bytes) -> str:
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    return start.decode(encoding, errors="replace").removeprefix("\ufeff")


def _cells(text: str, delimiter: str, line: int, whole: bool) -> list[str] | None:
    """Cells of a line; None where the text may break off inside it."""
    try:
        rows = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if any(row))
        found = list(islice(rows, line, line + (1 if whole else 2)))
    except csv.Error:
        return [] if whole else None
    if whole:
        return [cell.strip() for cell in found[0]] if found else []
    return [cell.strip() for cell in found[0]] if len(found) == 2 else None


@dataclass(frozen=True)
class Member:
    """One claimed file: its ordinal in the export (from 1), the role the decoder gave it, its bytes."""

    ordinal: int
    name: str
    role: str
    open: Callable[[], IO[bytes]]

    def read(self) -> bytes:
        """All bytes of the file; raises Refused where they are more than is held at once, or pass a bound."""
        parts, size = [], 0
        with self.open() as stream:
            while part := stream.read(1 << 20):
                parts.append(part)
                size += len(part)
                if size > _WHOLE_BYTES:
                    raise Refused(
                        "too_big", f"expected a table or records of at most {_WHOLE_BYTES >> 20} MiB, got more"
                    )
        return b"".join(parts)


@dataclass(frozen=True)
class Format:
    """One row of the table of formats: what is recognised, what is taken, how well it is known."""

    title: str
    recognised_by: str
    extracted: str
    clock: Literal["instant", "local", "local+offset"]
    tried_on_real_exports: bool


@dataclass(frozen=True)
class Refusal:
    """One line for the quarantine: where, by which rule, expected against got and what to do.

    `records` is how many of the source's records it stands for: more than one where a session was built of
    samples. `row` is the row of a log that it is about.
    """

    kind: RecordKind
    locator: str
    reason: str
    detail: str
    records: int = 1
    row: int | None = None


@dataclass
class Tally:
    """Counts of one export. records_read = kept + duplicate + ignored + quarantined, always.

    `classes` counts what else the export holds by member or class; `refusals` holds a row for each
    quarantined record, and further rows for members and single values. `shared` are the rows of a log from which
    several mappings took something.
    """

    read: int = 0
    duplicate: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    shared: set[int] = field(default_factory=set)
    shared_repeats: set[int] = field(default_factory=set)

    @property
    def quarantined(self) -> int:
        """Records (not members, not single values) that were refused."""
        return sum(refusal.records for refusal in self.refusals if refusal.kind in RECORD_KINDS)

    @property
    def kept(self) -> int:
        """Records that became rows."""
        return self.read - self.duplicate - self.ignored.total() - self.quarantined

    def refuse(
        self, kind: RecordKind, locator: str, reason: str, detail: str, records: int = 1, row: int | None = None
    ) -> None:
        """Add a line; the records themselves are counted in `read` by whoever read them."""
        self.refusals.append(Refusal(kind, locator, reason, detail, records, row))

    def repeat(self, row: int) -> None:
        """Count a row of a log as a duplicate; of a shared one that is known when `settle` is told what is left."""
        if row in self.shared:
            self.shared_repeats.add(row)
        else:
            self.duplicate += 1

    def settle(self, left: Collection[int]) -> None:
        """Count each shared row once: where it is among those that are `left` in any table, what was refused in it
        since cost a value; else its first refusal quarantines it, and one that was only repeated is a duplicate.
        What several mappings say alike of one column is told once.
        """
        told: set[int] = set()
        alike: set[tuple[str, str]] = set()
        refusals = []
        for each in self.refusals:
            if each.row in self.shared and each.kind in RECORD_KINDS:
                if (each.locator, each.reason) in alike:
                    continue
                alike.add((each.locator, each.reason))
                further = each.row in left or each.row in told
                told.add(each.row)
                refusals.append(replace(each, kind="value") if further else each)
            else:
                refusals.append(each)
        self.refusals = refusals
        self.duplicate += len(self.shared_repeats - told - set(left))
        self.shared_repeats.clear()


@dataclass
class Decoded:
    """What one export says, in columns; any table may be absent.

    `sessions` has decoded_session_schema(), one row per kept record; `stages` has decoded_stage_schema() and
    refers to sessions by row number; `uses` has decoded_use_schema(), `diaries` decoded_diary_schema(),
    `responses` decoded_response_schema(). Without `uses_are_records` the uses are remarks beside the records (a
    tag on a night): one that cannot be used costs a value, never a record.
    """

    format: str
    tally: Tally
    sessions: pa.Table | None = None
    stages: pa.Table | None = None
    uses: pa.Table | None = None
    uses_are_records: bool = True
    diaries: pa.Table | None = None
    responses: pa.Table | None = None


class Decoder(Protocol):
    """One source. `version` rises whenever the same bytes would decode to other rows."""

    source: str
    version: str
    kind: Literal["sleep", "log"]
    together: bool
    """True: its files of one folder are one export. False: each file is an export of its own."""
    formats: tuple[Format, ...]

    def claim(self, head: Head, settings: Settings) -> str | None:
        """The role this file plays, `ignored:<class>` for a known file without data for us, None if foreign."""

    def decode(self, members: Sequence[Member], settings: Settings) -> Decoded:
        """All claimed files of one export. Bad records end in the tally; Refused for the whole export."""

    def settings_part(self, settings: Settings) -> str:
        """Text of the settings this decoder's output depends on, beyond those of every decoder."""


@cache
def decoded_session_schema() -> pa.Schema:
    """Columns of Decoded.sessions.

    `start_clock` and `end_clock` are read as `clock` says: `local` wall clock without zone, `utc` instants.
    `utc_offset_min` is the offset the file states for this record, `zone` the IANA zone it names; both NULL
    where it says nothing of the local clock. `elapsed_us` is the true length where the file states it apart
    from local clocks. `member` and `record` (both from 1) lead back to the file; `records` is how many of the
    source's records the session was built of (NULL: one). `flags` are words of SESSION_FLAGS, sorted, joined
    by commas. Vendor columns as in schemas/sleep_session.json.
    """
    import pyarrow as pa

    text, minutes, flag = pa.string(), pa.float64(), pa.bool_()
    return pa.schema(
        [
            ("member", pa.int32()),
            ("record", pa.int32()),
            ("records", pa.int32()),
            ("source_record_id", text),
            ("device", text),
            ("clock", text),
            ("start_clock", pa.timestamp("us")),
            ("end_clock", pa.timestamp("us")),
            ("utc_offset_min", pa.int32()),
            ("zone", text),
            ("elapsed_us", pa.int64()),
            ("is_main_reported", flag),
            ("is_nap_reported", flag),
            ("detail", text),
            ("vendor_tst_min", minutes),
            ("vendor_awake_min", minutes),
            ("vendor_sol_min", minutes),
            ("vendor_light_min", minutes),
            ("vendor_deep_min", minutes),
            ("vendor_rem_min", minutes),
            ("vendor_efficiency_pct", minutes),
            ("vendor_score", minutes),
            ("algorithm_version", text),
            ("flags", text),
        ]
    )


@cache
def decoded_stage_schema() -> pa.Schema:
    """Columns of Decoded.stages: row number of the session, elapsed microseconds since its start, stage.

    Stretches are ordered by session and start and do not overlap.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("session", pa.int32()),
            ("start_us", pa.int64()),
            ("end_us", pa.int64()),
            ("stage", pa.dictionary(pa.int8(), pa.string())),
        ]
    )


@cache
def decoded_use_schema() -> pa.Schema:
    """Columns of Decoded.uses: one row per report, in the words of the log.

    A timed use has `taken_clock` (wall clock without zone) or `taken_utc` (the file states an offset, then
    also `utc_offset_min`, NULL for `Z` and a zero offset, which state an instant only); a day-level one has
    `use_day`, already moved to the day of use by `date_means`. `part_of_day` goes with `use_day`.
    `reported_clock` is when the answer was given. `date_column` and `unit_column` say where date and unit stand, as
    the mapping calls the columns (`column 3`, where it calls them nothing). Words are dictionaries.
    """
    import pyarrow as pa

    text, number, word = pa.string(), pa.float64(), pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [
            ("source_row", pa.int64()),
            ("participant_ref", word),
            ("record_id", text),
            ("substance_reported", word),
            ("no_use", pa.bool_()),
            ("taken_clock", pa.timestamp("us")),
            ("taken_utc", pa.timestamp("us", tz="UTC")),
            ("utc_offset_min", pa.int32()),
            ("use_day", pa.date32()),
            ("part_of_day", word),
            ("time_precision", word),
            ("amount_reported", number),
            ("unit_reported", word),
            ("mitragynine_mg", number),
            ("mitragynine_pct", number),
            ("product_form", word),
            ("route", word),
            ("reasons", word),
            ("recall_method", word),
            ("recall_lag_days", number),
            ("reported_clock", pa.timestamp("us")),
            ("instrument", word),
            ("date_column", word),
            ("unit_column", word),
            ("flags", word),
        ]
    )


@cache
def decoded_diary_schema() -> pa.Schema:
    """Columns of Decoded.diaries: one row per diary night, in the participant's local clock.

    `night_day` is the night date, already moved by `date_means`. Clocks are placed on their dates.
    """
    import pyarrow as pa

    text, number, clock = pa.string(), pa.float64(), pa.timestamp("us")
    return pa.schema(
        [
            ("source_row", pa.int64()),
            ("participant_ref", text),
            ("record_id", text),
            ("night_day", pa.date32()),
            ("into_bed_clock", clock),
            ("try_to_sleep_clock", clock),
            ("sol_min", number),
            ("awakenings", pa.int64()),
            ("waso_min", number),
            ("final_wake_clock", clock),
            ("out_of_bed_clock", clock),
            ("intended_wake_clock", clock),
            ("quality", number),
            ("instrument", text),
            ("date_column", text),
            ("flags", text),
        ]
    )


@cache
def decoded_response_schema() -> pa.Schema:
    """Columns of Decoded.responses: one row per set of answers.

    `answered_day` is the day the answers were given or, by `date_means`, speak of, by the clock as written. Where
    the log states that clock, `answered_clock` is it as local time; `answered_utc` in its place where it is in UTC
    (`Z`, a zero offset). `items` is a JSON object of numbers by item name, null for an item without answer, NULL
    where none is answered; `total_reported` the sum where that was handed in.
    """
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("source_row", pa.int64()),
            ("participant_ref", text),
            ("record_id", text),
            ("answered_day", pa.date32()),
            ("answered_clock", pa.timestamp("us")),
            ("answered_utc", pa.timestamp("us", tz="UTC")),
            ("part_of_day", text),
            ("instrument", text),
            ("items", text),
            ("total_reported", pa.float64()),
            ("date_column", text),
            ("flags", text),
        ]
    )


@dataclass(frozen=True)
class ExportFacts:
    """What is known of an export besides its content, for harmonising it."""

    source_file_id: str
    source: str
    arrived_at: datetime
    exported_at: datetime

"""Fitbit in Google's tables: `UserSleeps_*.csv` (a row per sleep) and `UserSleepStages_*.csv` (a row per stretch).

Instants in UTC, and the offset of the local clock at either end. `sleep_id` has 19 digits, more than a number
type holds, and is not the `logId` of the JSON. A row of a stage is a part of its sleep, no record of its own.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from ingest._core.clock import DAY, MINUTE
from ingest._core.settings import Settings
from ingest.decode.building import Stated, Stretch
from ingest.decode.csv_records import Row, read_rows
from ingest.decode.instants import NONE_US, instant_us, instants_us, offset_min
from ingest.decode.model import Member, Tally
from ingest.decode.sleep._fitbit_nights import Night

SLEEP_COLUMNS = ("sleep_id", "sleep_type", "start_utc_offset", "sleep_start", "end_utc_offset", "sleep_end")
STAGE_COLUMNS = ("sleep_id", "sleep_stage_type", "sleep_stage_start", "sleep_stage_end")
STAGE_TYPES = {
    "AWAKE": "awake", "WAKE": "awake", "LIGHT": "light", "DEEP": "deep", "REM": "rem", "ASLEEP": "asleep",
    # As in the JSON: Fitbit counts restless minutes as awake.
    "RESTLESS": "awake",
}  # fmt: skip
_ID = re.compile(r"\d{1,20}", re.ASCII)
_MINUTES = re.compile(r"\d{1,5}(?:\.\d{1,6})?", re.ASCII)
_VERSION = re.compile(r"[vV]?[0-9][0-9_.]{0,20}[a-z]?", re.ASCII)
_LONGEST_US = 4 * DAY
Part = tuple[str, int, int]
"""Word of a stage row and its instants, NONE_US where the row tells none."""


def read_sleeps(
    sleeps: Sequence[Member], stages: Sequence[Member], tally: Tally, settings: Settings
) -> dict[str, Night]:
    """The sleeps of all files by `sleep_id`, with their stages; what cannot be used is in the tally."""
    rows = [row for member in sleeps for row in read_rows(member, tally, settings, needed=SLEEP_COLUMNS)]
    nights = {}
    for row in _without_repeats(rows, tally):
        night = _night(row, tally)
        if night is not None:
            nights[row.cells["sleep_id"]] = night
    parts = _parts(stages, tally, settings)
    if parts and not sleeps:
        tally.refuse("member", f"file {stages[0].ordinal}", "stages_without_sleeps",
                     "expected UserSleeps_*.csv beside UserSleepStages_*.csv, got stages only, which do not say what "
                     "a sleep is; hand in both")  # fmt: skip
    for sleep_id, its_rows in parts.items():
        if sleep_id in nights:
            _add_stages(nights[sleep_id], its_rows, tally)
        else:
            tally.classes["stage rows without a sleep"] += len(its_rows)
    return nights


def _without_repeats(rows: Sequence[Row], tally: Tally) -> list[Row]:
    # Of copies the most complete counts, then the one last updated; the rest makes the choice stable.
    best: dict[str, tuple[tuple[int, str, list[str], int, int], Row]] = {}
    for row in rows:
        key = row.cells["sleep_id"]
        cells = [cell for _, cell in sorted(row.cells.items())]
        rank = (sum(map(bool, cells)), row.cells.get("sleep_last_updated", ""), cells, row.member, row.record)
        if key in best and _ID.fullmatch(key):
            tally.duplicate += 1
            if rank < best[key][0]:
                continue
        elif key in best:
            key = row.locator
        best[key] = (rank, row)
    return sorted((row for _, row in best.values()), key=lambda row: (row.member, row.record))


def _night(row: Row, tally: Tally) -> Night | None:
    cells = row.cells
    if not _ID.fullmatch(cells["sleep_id"]):
        tally.refuse("sleep", row.locator, "sleep_id",
                     "sleep_id: expected digits only, got something else (a spreadsheet rounds such numbers); hand in "
                     "the file as it was exported")  # fmt: skip
        return None
    start, end = instant_us(cells["sleep_start"]), instant_us(cells["sleep_end"])
    if start is None or end is None:
        tally.refuse("sleep", row.locator, "impossible_time",
                     "expected sleep_start and sleep_end like 2026-03-01T22:10:30Z, got no such time; the other "
                     "records are read")  # fmt: skip
        return None
    first, last = (_offset(row, f"{which}_utc_offset", tally) for which in ("start", "end"))
    local = None
    if first is not None and last is not None:
        local = (start[0] + first * MINUTE, end[0] + last * MINUTE, end[0] + first * MINUTE)
    by_hand = cells.get("data_source") == "MANUAL"
    asleep, awake, latency = (_minutes(row, f"minutes_{name}") for name in ("asleep", "awake", "to_fall_asleep"))
    version = cells.get("algorithm_version", "")
    return Night(
        row.member, row.record, "utc", start[0], end[0], local,
        detail="period" if asleep is None else "summary",
        flags={"manual_entry"} if by_hand else set(),
        stated=Stated(
            source_record_id=cells["sleep_id"],
            utc_offset_min=first,
            vendor_tst_min=asleep,
            vendor_awake_min=awake,
            # An automatic record writes 0 without having measured a latency.
            vendor_sol_min=latency if latency or by_hand else None,
            algorithm_version=version if _VERSION.fullmatch(version) else None,
        ),
    )  # fmt: skip


def _offset(row: Row, name: str, tally: Tally) -> int | None:
    minutes = offset_min(row.cells[name])
    if minutes is None:
        tally.refuse("value", row.locator, "utc_offset",
                     f"{name}: expected an offset like +05:30, got none; the instant stands, its local clock is not "
                     "known from the file")  # fmt: skip
    return minutes


def _minutes(row: Row, name: str) -> float | None:
    text = row.cells.get(name, "")
    return float(text) if _MINUTES.fullmatch(text) else None


def _parts(members: Sequence[Member], tally: Tally, settings: Settings) -> dict[str, list[Part]]:
    """Rows of stages by `sleep_id`; a row that stands in two files once, as it was last updated."""
    apart = Tally()
    best: dict[tuple[str, ...], Row] = {}
    for member in members:
        for row in read_rows(member, apart, settings, needed=STAGE_COLUMNS, kind="value"):
            cells = row.cells
            own = cells.get("sleep_stage_id") or cells["sleep_stage_start"]
            key = (cells["sleep_id"], own)
            if key not in best or _updated(row) >= _updated(best[key]):
                best[key] = row
    tally.refusals += apart.refusals
    rows = [row.cells for row in best.values()]
    # All at once: each night has many rows.
    starts = instants_us([each["sleep_stage_start"] for each in rows])[0].tolist()
    ends = instants_us([each["sleep_stage_end"] for each in rows])[0].tolist()
    parts = defaultdict(list)
    for each, start, end in zip(rows, starts, ends, strict=True):
        parts[each["sleep_id"]].append((each["sleep_stage_type"].upper(), start, end))
    return parts


def _updated(row: Row) -> tuple[str, list[str]]:
    return row.cells.get("sleep_stage_last_updated", ""), sorted(row.cells.values())


def _add_stages(night: Night, parts: Sequence[Part], tally: Tally) -> None:
    problems: Counter[str] = Counter()
    for word, start, end in parts:
        if NONE_US in (start, end):
            problems["stage_times"] += 1
            continue
        low, high = start - night.start_us, end - night.start_us
        if low >= high or high <= 0 or low < -MINUTE or start >= night.end_us or high > _LONGEST_US:
            problems["stage_outside_sleep"] += 1
            continue
        stage = STAGE_TYPES.get(word)
        problems["unknown_stage_label"] += stage is None
        night.stretches.append((max(low, 0), high, stage or "unknown"))
    night.stretches.sort()
    if night.stretches:
        night.detail = "stages" if _has_stages(night.stretches) else "asleep_awake"
    for rule, count in sorted((+problems).items()):
        night.flags.add("unknown_stage_label" if rule == "unknown_stage_label" else "stages_contradict_record")
        tally.refuse("value", night.locator, rule, f"{count} stage rows: {_EXPECTED[rule]}")


_EXPECTED = {
    "stage_times": "expected sleep_stage_start and sleep_stage_end like 2026-03-01T22:10:30Z, got no such time; the "
    "rows are left out",
    "stage_outside_sleep": "expected a start before the end, both within the sleep, got others; the rows are left out",
    "unknown_stage_label": f"expected sleep_stage_type to be one of {', '.join(STAGE_TYPES)}, got another; kept as "
    "unknown",
}


def _has_stages(stretches: Sequence[Stretch]) -> bool:
    return any(stage in {"light", "deep", "rem"} for _, _, stage in stretches)

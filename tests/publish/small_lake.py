"""A small lake and its marts, written without decoders: rows that are made up but fit the contract.

`Content` is what one participant has; `expected` computes from it, in plain Python, what the warehouse must
show.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from ingest._core.contract import LAKE, PUBLISH, fields, primary_key, published_tables, to_contract
from ingest._core.files import digest, write_bytes
from ingest._core.roster import Roster, RosterEntry
from ingest._core.settings import Publish, Settings
from ingest._core.study import Study
from ingest.lake.store import Manifest, commit, manifests, write_part
from ingest.mart.rebuild import MartState

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIRST_NIGHT = datetime(2026, 3, 1, 21, 30, tzinfo=UTC)
Row = dict[str, Any]
EXPORTED = {"old": datetime(2026, 3, 20, tzinfo=UTC), "new": datetime(2026, 4, 20, tzinfo=UTC)}


@dataclass(frozen=True)
class Content:
    """A participant with `nights` nights in an old and a new export; the old one lacks the last night.

    `variant` changes the rows (not the ids), as a revised export would.
    """

    participant_id: str
    nights: int = 3
    variant: int = 0

    @property
    def entry(self) -> RosterEntry:
        return RosterEntry(f"ref-{self.participant_id}", "Europe/Oslo", date(2026, 2, 1), arm=f"arm{self.variant}")

    def export(self, age: str) -> str:
        return digest(self.participant_id, age)

    def lake_rows(self, age: str) -> dict[str, list[Row]]:
        count = self.nights if age == "new" else self.nights - 1
        common = {"participant_id": self.participant_id, "source_file_id": self.export(age)}
        names = ("sleep_session", "sleep_stage", "substance_use", "sleep_diary", "scale_response")
        rows: dict[str, list[Row]] = {name: [] for name in names}
        for n in range(count):
            start = FIRST_NIGHT + timedelta(days=n, minutes=self.variant)
            record = common | {"session_id": digest(self.participant_id, "night", str(n))}
            rows["sleep_session"].append(
                record
                | {
                    "source": "fitbit",
                    "device": "watch",
                    "source_record_id": str(1000 + n),
                    "start_utc": start,
                    "end_utc": start + timedelta(hours=8),
                    "utc_offset_min": 60,
                    "time_basis": "roster",
                    "is_main_reported": True,
                    "detail": "stages",
                    "vendor_tst_min": 400.25 + n if age == "new" else None,
                    "exported_at": EXPORTED[age],
                    "content_hash": digest(age, str(n)),
                }
            )
            for k, stage in enumerate(["light", "awake", "deep"]):
                begin = start + timedelta(hours=k)
                rows["sleep_stage"].append(
                    record | {"start_utc": begin, "end_utc": begin + timedelta(hours=1), "stage": stage}
                )
            rows["substance_use"].append(
                common
                | {
                    "use_id": digest(self.participant_id, "use", str(n)),
                    "substance": "kratom",
                    "no_use": n == 1,
                    "taken_utc": None if n == 1 else start - timedelta(hours=2),
                    "taken_local": None if n == 1 else (start - timedelta(hours=1)).replace(tzinfo=None),
                    "local_date": start.date(),
                    "time_precision": "day" if n == 1 else "exact",
                    "amount": None if n == 1 else 2.5 + self.variant,
                    "unit": "g",
                    "substance_class": "kratom",
                    "instrument": "canonical",
                    "exported_at": EXPORTED[age],
                    "content_hash": digest("use", age, str(n)),
                    "has_record_id": True,
                    "source_row": n + 1,
                }
            )
            reported = common | {"exported_at": EXPORTED[age], "content_hash": digest("said", age, str(n)),
                                 "source_row": n + 1}  # fmt: skip
            rows["sleep_diary"].append(
                reported
                | {
                    "diary_id": digest(self.participant_id, "diary", str(n)),
                    "night_date": start.date(),
                    "sol_min": 20.0 + n,
                    "instrument": "morning",
                }
            )
            rows["scale_response"].append(
                reported
                | {
                    "response_id": digest(self.participant_id, "scale", str(n)),
                    "answered_on": start.date(),
                    "instrument": "ISI",
                    "items": '{"1": 2}',
                }
            )
        rows["quarantine"] = [
            common
            | {
                "source": "fitbit",
                "record_kind": "sleep",
                "locator": "member 1, record 9",
                "reason": "end_before_start",
                "detail": "expected an end after the start; put it right in the source",
                "first_seen_at": EXPORTED[age],
            }
        ]
        return rows

    def manifest(self, age: str) -> Manifest:
        kept = len(self.lake_rows(age)["sleep_session"])
        exported = EXPORTED[age].isoformat()
        counts = {"read": kept + 3, "kept": kept, "duplicate": 1, "ignored": 1, "quarantined": 1}
        return Manifest(
            self.export(age),
            self.participant_id,
            "fitbit",
            "takeout",
            "1",
            exported,
            exported,
            "partial",
            digest(age, str(self.nights), str(self.variant))[:16],
            counts,
            covers=["2026-03-01", "2026-03-20" if age == "old" else "2026-04-19"],
        )

    def mart_rows(self) -> dict[str, list[Row]]:
        rows: dict[str, list[Row]] = {name: [] for name in MART_TABLES}
        new, old = self.lake_rows("new"), self.lake_rows("old")
        revised = {row["session_id"] for row in old["sleep_session"]}
        for table, versions, key in (
            ("sleep_session", "session_version", "session_id"),
            ("substance_use", "use_version", "use_id"),
            ("sleep_diary", "diary_version", "diary_id"),
            ("scale_response", "response_version", "response_id"),
        ):
            for row in [*old[table], *new[table]]:
                current = row in new[table]
                version = {name: row[name] for name in (key, "participant_id", "source_file_id")}
                version["is_current"] = current
                if table == "sleep_session":
                    version["superseded_reason"] = None if current else "newer_export"
                if table == "substance_use":
                    version["possible_same_dose"] = row["source_row"] == 1 if current else None
                rows[versions].append(version)
        for n, row in enumerate(new["sleep_session"]):
            night = {"participant_id": self.participant_id, "night_date": row["start_utc"].date()}
            rows["night"].append(
                night
                | {
                    "wake_date": night["night_date"] + timedelta(days=1),
                    "source": "fitbit",
                    "main_session_id": row["session_id"],
                    "basis": "stages",
                    "time_basis": "roster",
                    "bed_start_utc": row["start_utc"],
                    "bed_end_utc": row["end_utc"],
                    "tib_basis": "record",
                    "tib_min": 480.0,
                    "tst_min": 420.5 + n + self.variant,
                }
            )
            rows["night_source"].append(
                night | {"session_id": row["session_id"], "role": "main", "reason": "only record"}
            )
            counts = {f"{m}_n_{w}d": min(n + 1, w) for m in ("tst", "sol", "waso", "se") for w in (7, 14, 28)}
            rows["night_diary"].append(night | {"sol_min": 20.0 + n})
            rows["safety_signal"].append(
                {
                    "participant_id": self.participant_id,
                    "rule": "extreme_dose",
                    "observed_at": row["start_utc"] - timedelta(hours=2),
                    "observed_on": night["night_date"],
                    "about": "kratom",
                    "first_seen_at": EXPORTED["new"],
                    "acknowledged_at": NOW if n == 0 else None,
                    "acknowledged_by": "Kim" if n == 0 else None,
                }
            )
            rows["trend"].append(night | counts | {"sri_pairs": n, "tst_mean_7d": 420.5 + self.variant})
            for anchor in ("onset", "usual"):
                rows["night_exposure"].append(
                    night
                    | {
                        "anchor": anchor,
                        "substance": "kratom",
                        "substance_class": "kratom",
                        "unit": "g",
                        "log_status": "logged" if row["session_id"] in revised else "not_logged",
                        "amount_24h": 2.5 if anchor == "onset" else None,
                    }
                )
            rows["coverage"].append(
                {
                    "participant_id": self.participant_id,
                    "date": night["night_date"],
                    "has_sleep": True,
                    "has_log": True,
                    "has_diary": False,
                }
            )
        rows["phase"].append(
            {
                "participant_id": self.participant_id,
                "phase": "baseline",
                "start_on": date(2026, 2, 1),
                "source": "derived",
            }
        )
        return rows

    @property
    def mart_hash(self) -> str:
        return digest("mart", self.participant_id, str(self.nights), str(self.variant))


MART_TABLES = (
    "session_version",
    "use_version",
    "night",
    "night_source",
    "night_exposure",
    "trend",
    "coverage",
    "diary_version",
    "response_version",
    "night_diary",
    "phase",
    "safety_signal",
)


def study_at(root: Path, *, stages: bool = True) -> Study:
    """A study folder with the default settings."""
    root.mkdir(parents=True, exist_ok=True)
    return Study(root, Settings(study="small", publish=Publish(stages=stages)), Roster({}))


def people(*contents: Content) -> dict[str, RosterEntry]:
    """Roster entries by participant_id."""
    return {each.participant_id: each.entry for each in contents}


def put(study: Study, *contents: Content) -> None:
    """Write lake, marts and mart state of these participants."""
    for content in contents:
        for age in EXPORTED:
            rows = {name: arrow(name, found) for name, found in content.lake_rows(age).items()}
            commit(study.lake, content.manifest(age), rows)
        for name, found in content.mart_rows().items():
            write_part(study.lake, name, content.participant_id, arrow(name, found))
        put_state(study, content.participant_id, content.mart_hash)


def put_state(study: Study, participant_id: str, mart_hash: str) -> None:
    """Commit the marts as built from the manifests that stand now."""
    held = [f"{each.source_file_id}.{each.inputs_hash}.{each.status}" for each in manifests(study.lake, participant_id)]
    state = MartState(participant_id, mart_hash, "1", "settings", held)
    write_bytes(study.lake / "_mart" / f"{participant_id}.json", msgspec.json.encode(state))


def arrow(table: str, rows: list[Row]) -> pa.Table:
    """Rows as an Arrow table that fits the contract."""
    names = {name for row in rows for name in row}
    columns = {name: [row.get(name) for row in rows] for name in sorted(names)}
    return to_contract(table, pa.table(columns), LAKE) if rows else to_contract(table, pa.table({}), LAKE)


def expected(contents: Iterable[Content], *, stages: bool = True) -> dict[str, list[Row]]:
    """What each table of the warehouse must hold, sorted by its key."""
    rows: dict[str, list[Row]] = {name: [] for name in published_tables()}
    for content in contents:
        mart = content.mart_rows()
        versions = {(v["session_id"], v["source_file_id"]): v for v in mart["session_version"]}
        for age, exported_at in EXPORTED.items():
            lake = content.lake_rows(age)
            for row in lake["sleep_session"]:
                rows["sleep_session"].append(row | versions[row["session_id"], row["source_file_id"]])
            for table, key, version in (
                ("substance_use", "use_id", "use_version"),
                ("sleep_diary", "diary_id", "diary_version"),
                ("scale_response", "response_id", "response_version"),
            ):
                found = {(v[key], v["source_file_id"]): v for v in mart[version]}
                rows[table] += [row | found[row[key], row["source_file_id"]] for row in lake[table]]
            if stages and age == "new":
                rows["sleep_stage"] += lake["sleep_stage"]
            rows["quarantine"] += lake["quarantine"]
            counts = dict(content.manifest(age).counts or {})
            rows["source_file"].append(
                {
                    "source_file_id": content.export(age),
                    "participant_id": content.participant_id,
                    "source": "fitbit",
                    "format": "takeout",
                    "decoder_version": "1",
                    "arrived_at": exported_at,
                    "records_read": counts.pop("read"),
                    **counts,
                    "status": "partial",
                }
            )
        for name in ("night", "night_source", "night_exposure", "trend", "coverage", "night_diary", "phase",
                     "safety_signal"):  # fmt: skip
            rows[name] += mart[name]
        rows["participant"].append(
            {
                "participant_id": content.participant_id,
                "time_zone": "Europe/Oslo",
                "enrolled_on": date(2026, 2, 1),
                "arm": content.entry.arm,
                "censor_on": date(2026, 4, 19),
                "censor_reason": "last_export",
            }
        )
        rows["publication"].append(
            {
                "participant_id": content.participant_id,
                "mart_hash": content.mart_hash,
                "definitions_version": "1",
                "settings_hash": "settings",
                "published_at": NOW,
            }
        )
    return {name: by_key(name, found) for name, found in rows.items()}


def by_key(table: str, rows: list[Row]) -> list[Row]:
    """Rows with every column of the warehouse's table, sorted by the table's key."""
    columns = [field["name"] for field in fields(table, PUBLISH)]
    whole = [{name: row.get(name) for name in columns} for row in rows]
    return sorted(whole, key=lambda row: [row[name] for name in primary_key(table)])


def warehouse_rows(path: Path) -> dict[str, list[Row]]:
    """Every row of every table of a warehouse, sorted by key."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {
            name: by_key(name, connection.execute(f"FROM {name}").to_arrow_table().to_pylist())
            for name in published_tables()
        }


def forget(study: Study, content: Content) -> None:
    """Take a participant out of lake and marts, as erasing does."""
    for folder in study.lake.glob(f"*/participant_id={content.participant_id}"):
        shutil.rmtree(folder)
    (study.lake / "_mart" / f"{content.participant_id}.json").unlink()


def in_child(work: Callable[[], object]) -> int:
    """Run `work` in a forked child; returns its exit code, 0 where it came back, 1 where it raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

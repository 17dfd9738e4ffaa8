"""ops/: what each run did and when, one small file per run, published as table ops_run.

It lies beside the lake, for it holds clock times: the lake's bytes follow from what came in. Nothing in it is of a
person; participants are counted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path

import msgspec
import pyarrow as pa

from ingest._core import clock
from ingest._core.contract import PUBLISH, arrow_schema
from ingest._core.errors import Transient
from ingest._core.files import remove, write_bytes
from ingest._core.logs import event
from ingest._core.study import Study
from ingest.mart.participant import DEFINITIONS_VERSION
from ingest.publish.audit import audited
from ingest.publish.run_ids import new_id

TABLE = "ops_run"
_IDLE = ".idle.json"
log = logging.getLogger(__name__)


class OpsRun(msgspec.Struct):
    """One run, with the columns of ops_run."""

    run_id: str
    kind: str
    started_at: datetime
    outcome: str = "unfinished"
    error: str | None = None
    ended_at: datetime | None = None
    exports_loaded: int = 0
    exports_partial: int = 0
    exports_ignored: int = 0
    exports_refused: int = 0
    records_read: int = 0
    records_kept: int = 0
    records_duplicate: int = 0
    records_ignored: int = 0
    records_quarantined: int = 0
    participants_rebuilt: int = 0
    nights_rebuilt: int = 0
    participants_published: int = 0
    participants_removed: int = 0
    participants_waiting: int = 0
    unpublished_count: int | None = None
    oldest_unpublished_at: datetime | None = None
    silent_participants: int | None = None
    definitions_version: str = ""
    package_version: str = ""
    tzdata_version: str = ""

    def add_load(self, counts: Mapping[str, int]) -> None:
        """Add what `LoadResult.counts` says of a batch."""
        for status in ("loaded", "partial", "ignored", "refused"):
            name = f"exports_{status}"
            setattr(self, name, getattr(self, name) + counts.get(status, 0))
        for fate in ("read", "kept", "duplicate", "ignored", "quarantined"):
            name = f"records_{fate}"
            said = "ignored_records" if fate == "ignored" else fate
            setattr(self, name, getattr(self, name) + counts.get(said, 0))

    @property
    def idle(self) -> bool:
        """True if it ended and changed nothing."""
        exports = self.exports_loaded + self.exports_partial + self.exports_ignored + self.exports_refused
        people = self.participants_rebuilt + self.participants_published + self.participants_removed
        return self.outcome == "ended" and exports + people == 0


_RUNS = msgspec.json.Decoder(OpsRun)


@contextmanager
def recorded(study: Study, kind: str, started_at: datetime | None = None) -> Iterator[OpsRun]:
    """A record that stands in ops/ as unfinished until the context ends, and then says how; fill in the counts.

    Raises Transient where storage refuses the record at the beginning; at the end that is a warning, for the work
    is done. Records beyond `monitor.keep_runs` go, the oldest first.
    """
    now = started_at or clock.now()
    run = OpsRun(new_id(now), kind, now, definitions_version=DEFINITIONS_VERSION,
                 package_version=metadata.version("sleep-ingest"), tzdata_version=clock.tzdata_version())  # fmt: skip
    _write(study, run)
    with audited(study, kind, entry_id=run.run_id) as entry:
        try:
            yield run
        except BaseException as error:
            run.outcome, run.error, run.ended_at = "failed", type(error).__name__, clock.now()
            run.participants_published = run.participants_removed = 0
            _end(study, run)
            raise
        run.outcome, run.ended_at = "ended", run.ended_at or clock.now()
        entry.counts = _counts(run)
        _end(study, run)


def record_load(study: Study, started_at: datetime, counts: Mapping[str, int], kind: str = "load") -> None:
    """Record what several calls of `load_batch` did together: the sums of their counts."""
    with recorded(study, kind, started_at) as run:
        run.add_load(counts)


def runs(study: Study) -> list[OpsRun]:
    """The runs that are recorded, the oldest first; a damaged record is left out with a warning."""
    found = []
    for path in _files(study):
        try:
            found.append(_RUNS.decode(path.read_bytes()))
        except FileNotFoundError:
            continue  # Another run took it away after it was listed.
        except msgspec.DecodeError:
            log.warning("ops/%s is damaged and left out; remove it", path.name)
    return found


def rows(study: Study, current: OpsRun | None) -> pa.Table:
    """Rows of ops_run, `current` as it stands in place of its record."""
    kept = [each for each in runs(study) if current is None or each.run_id != current.run_id]
    every = sorted([*kept, *([current] if current else [])], key=lambda each: each.run_id)
    return pa.Table.from_pylist([msgspec.structs.asdict(each) for each in every], schema=arrow_schema(TABLE, PUBLISH))


def _folder(study: Study) -> Path:
    return study.root / "ops"


def _files(study: Study) -> list[Path]:
    found = [path for path in _folder(study).glob("*.json") if not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def _write(study: Study, run: OpsRun, ending: str = ".json") -> None:
    write_bytes(_folder(study) / f"{run.run_id}{ending}", msgspec.json.encode(run))


def _counts(run: OpsRun) -> dict[str, int]:
    return {name: value for name, value in msgspec.structs.asdict(run).items() if isinstance(value, int) and value}


def _end(study: Study, run: OpsRun) -> None:
    ended = run.ended_at or run.started_at
    event("run", run_id=run.run_id, kind=run.kind, outcome=run.outcome, error=run.error, **_counts(run),
          seconds=round((ended - run.started_at).total_seconds(), 3))  # fmt: skip
    try:
        _write(study, run, _IDLE if run.idle else ".json")
    except (Transient, OSError) as error:
        log.warning("how run %s ended could not be written down (%s)", run.run_id, type(error).__name__)
        return
    present = _files(study)
    gone = present[: -study.settings.monitor.keep_runs]
    if run.idle:
        mine = f"{run.run_id}{_IDLE}"
        gone += [
            path for path in present if path.name != mine and (path.name.endswith(_IDLE) or run.run_id in path.name)
        ]
    for path in gone:
        remove(path)

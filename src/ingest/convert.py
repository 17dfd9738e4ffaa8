"""One export to Parquet without a study: a passing study of one participant, of which nothing stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from ingest._core.clock import zone_exists
from ingest._core.errors import WrongUse
from ingest._core.files import CHUNK_BYTES, inside, write_bytes
from ingest._core.objects import store
from ingest._core.roster import REF, Roster, RosterEntry
from ingest._core.settings import Settings
from ingest._core.settings_storage import ObjectStorage, is_url, place
from ingest._core.study import Study
from ingest.lake.load import load_batch
from ingest.lake.parquet import to_parquet
from ingest.lake.plan import plan
from ingest.lake.store import Manifest, manifests, participants, read_all, read_part
from ingest.mart.rebuild import rebuild, stale
from ingest.report.quarantine import Line, lines

_REF = "export"
# Anyone's export gives the same ids: without a study there is nobody to hide, and runs should agree.
_KEY = bytes(32).hex().encode() + b"\n"
_FROM_LAKE = ("sleep_session", "sleep_stage", "substance_use")
_SHOWN = 5
_FROM_MARTS = ("night", "night_source")


def convert(export: str, time_zone: str, to: Path) -> Iterator[str]:
    """Write <table>.parquet for sessions, stages, uses and nights into `to`; lines that say what was done.

    `export` is an archive, a file or a folder, or the URL of an object or of a prefix in an object store. Raises
    WrongUse where it is not there, the zone is unknown or `to` is a file; Unreachable where the store is.
    """
    if not zone_exists(time_zone):
        raise WrongUse("--time-zone: no such IANA zone; it looks like Europe/Oslo")
    if not is_url(export) and not Path(export).exists():
        raise WrongUse(f"{export} is not there")
    if to.exists() and not to.is_dir():
        raise WrongUse(f"{to} is a file; --to names a folder, which is made where it is not there")
    with tempfile.TemporaryDirectory(prefix="ingest-convert-") as folder:
        settings = Settings(study="convert", time_zone=time_zone, quiet_seconds=0)
        # A log inside may carry its participant_ref, which is what landing calls the folder.
        name = "" if is_url(export) or not Path(export).is_dir() else Path(export).resolve().name
        ref = name if REF.fullmatch(name) else _REF
        study = Study(Path(folder), settings, Roster({ref: RosterEntry(ref, time_zone)}))
        if is_url(export):
            _fetch(export, study.landing / ref)
        else:
            _land(Path(export), study.landing / ref)
        study.identity.mkdir(mode=0o700)
        write_bytes(study.identity / "key", _KEY, 0o600)
        yield from _convert(study, to)


def _convert(study: Study, to: Path) -> Iterator[str]:
    counts = load_batch(study, [arrival.token for arrival in plan(study).wanted]).counts()
    rebuild(study, stale(study))
    yield (f"{counts['read']} records read = {counts['kept']} kept + {counts['duplicate']} duplicate"
           f" + {counts['ignored_records']} ignored + {counts['quarantined']} quarantined")  # fmt: skip
    yield from _refusals(lines(study))
    for pid in participants(study.lake):
        held = manifests(study.lake, pid)
        yield from _passed_over(held)
        tables = read_all(study.lake, held)
        for name in _FROM_LAKE:
            if len(tables[name]):
                write_bytes(to / f"{name}.parquet", to_parquet(tables[name]))
                yield f"{to / name}.parquet: {len(tables[name])} rows"
        for name in _FROM_MARTS:
            write_bytes(to / f"{name}.parquet", to_parquet(read_part(study.lake, name, pid)))
            yield f"{to / name}.parquet"


def _refusals(found: list[Line]) -> Iterator[str]:
    shown: Counter[str] = Counter()
    for each in found:
        shown[each.reason] += 1
        if shown[each.reason] <= _SHOWN:
            # Below landing and the participant's folder stands what was handed in.
            name = PurePath(*PurePath(each.path).parts[2:]) if each.path else "export"
            yield f"{name}: {each.where}: {each.reason}: {each.detail}"
    for reason, count in sorted(shown.items()):
        if count > _SHOWN:
            yield f"and {count - _SHOWN} more with the reason {reason}"


def _passed_over(held: Sequence[Manifest]) -> Iterator[str]:
    for title, counts in (("ignored", Counter[str]()), ("also there", Counter[str]())):
        for each in held:
            counts.update(each.ignored if title == "ignored" else each.classes)
        if counts:
            yield f"{title}: " + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


def _land(export: Path, folder: Path) -> None:
    """Put the export where a study would have it, linked where the file system can, else copied."""
    if export.is_dir():
        shutil.copytree(export, folder / export.name, copy_function=_link_or_copy)
    else:
        folder.mkdir(parents=True)
        _link_or_copy(str(export), str(folder / export.name))


def _fetch(url: str, folder: Path) -> None:
    """Copy the object, or all below the prefix, where a study would have it; its time of writing is kept."""
    from ingest.arrive.object_landing import is_usable, objects_below

    try:
        url = place(url, "")
    except ValueError:
        raise WrongUse("expected the URL of an export like s3://bucket/exports/takeout.zip") from None
    found = [each for each in objects_below(store(ObjectStorage()), url) if not each.path.endswith("/")]
    if not found:
        raise WrongUse(f"{url} is not there")
    above = url.rpartition("/")[0]
    for each in found:
        parts = each.path.removeprefix(f"{above}/").split("/")
        if not is_usable(parts):
            raise WrongUse(f"{url}: one of the objects has a key that no file may have; convert the others one by one")
        target = inside(folder, *parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with each.open() as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, CHUNK_BYTES)
        os.utime(target, ns=(each.mtime_ns, each.mtime_ns))


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

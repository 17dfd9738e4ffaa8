"""Every export that came in, with its counts: what was read, kept and refused of each file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ingest._core.study import Study
from ingest.arrive.arrivals import Arrivals, open_arrivals
from ingest.lake.store import Manifest, manifests, participants
from ingest.report.quarantine import below
from ingest.report.status import FATES

SHOWN = 5


@dataclass(frozen=True)
class ExportLine:
    """One export; `path` is relative to the study, or a URL; None where it is no longer in landing."""

    held: Manifest
    path: Path | str | None
    files: tuple[str, ...]

    @property
    def reconciles(self) -> bool:
        """read = kept + duplicate + ignored + quarantined; a refused export has no counts."""
        counts = self.held.counts
        return counts is None or counts["read"] == sum(counts[fate] for fate in FATES[1:])


def exports(study: Study) -> list[ExportLine]:
    """All exports the lake holds, by participant, source and id."""
    with open_arrivals(study) as store:
        return [
            ExportLine(held, *_place(study, store, held))
            for participant_id in participants(study.lake)
            for held in sorted(manifests(study.lake, participant_id), key=lambda m: (m.source, m.source_file_id))
        ]


def _place(study: Study, store: Arrivals, held: Manifest) -> tuple[Path | str | None, tuple[str, ...]]:
    arrivals = [each for each in store.of_file(held.source_file_id) if each.source == held.source]
    if not arrivals:
        return None, ()
    arrival = arrivals[0]
    names = tuple(name for _, name, _ in arrival.claim["members"])
    return below(study, arrival.unit_path), names


def as_lines(found: list[ExportLine]) -> Iterator[str]:
    """Text for a terminal: a line per export with its counts, below it reasons and classes of what was ignored."""
    for each in found:
        held = each.held
        yield f"{each.path or 'no longer in landing'}  {held.source}, {held.status}, {held.participant_id}"
        names = [PurePosixPath(name).name for name in each.files]
        if names and (each.path is None or [PurePosixPath(each.path).name] != names):
            more = ", ..." if len(each.files) > SHOWN else ""
            yield f"    files taken, {len(each.files)}: {', '.join(each.files[:SHOWN])}{more}"
        yield f"    {_counts(each)}"
        for title, counts in (("ignored", held.ignored), ("also there", held.classes)):
            if counts:
                yield f"    {title}: " + ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
    yield f"{len(found)} exports" if found else "Nothing has been taken up yet."


def _counts(line: ExportLine) -> str:
    counts = line.held.counts
    if counts is None:
        return "refused whole; `ingest quarantine` says why"
    sums = " + ".join(f"{counts[fate]:,} {fate}" for fate in FATES[1:])
    return f"{counts['read']:,} records read = {sums}" + ("" if line.reconciles else "; this does not add up")

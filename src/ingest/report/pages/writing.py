"""Writing a study's pages to reports/: one for each row of the roster, and those about the whole study."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ingest._core import clock
from ingest._core.errors import WrongUse
from ingest._core.files import inside, locked, remove
from ingest._core.study import Study, open_study
from ingest.harmonise.identity import entries_by_id, people
from ingest.publish.audit import audited
from ingest.publish.reading import Reader, opened
from ingest.report.pages.bundle import vega
from ingest.report.pages.cohort import cohort_page
from ingest.report.pages.intake import intake_page
from ingest.report.pages.page import Page, write_page
from ingest.report.pages.participant import NOBODY_SUCH, participant_page

FOLDER = "reports"
ALONE = 8
"""Up to so many pages are written in this process: another one costs as much to start as they."""
AT_A_TIME = 8
WORKERS = 4
"""Most processes at once: each holds one participant's rows and a page, about 200 MB with its imports."""
StudyPage = Callable[[Study, Reader], Page]
STUDY_PAGES: dict[str, StudyPage] = {
    "cohort.html": cohort_page,
    "intake.html": lambda study, reader: intake_page(study, reader, clock.now().date()),
}
"""Pages about the whole study by name of their file, such as `cohort.html`."""


@dataclass(frozen=True)
class Written:
    """The folder of the pages, how many about participants and which about the study were written, how many of people
    who left the roster were removed.
    """

    folder: Path
    participants: int
    study_pages: tuple[str, ...] = ()
    removed: int = 0

    def counts(self) -> dict[str, int]:
        """Plain numbers, for logs and XComs."""
        return {"participants": self.participants, "study_pages": len(self.study_pages), "removed": self.removed}


def said(written: Written) -> str:
    """A line about what was written."""
    names = "".join(f", {name}" for name in written.study_pages)
    gone = f"; {written.removed} of who left the roster removed" if written.removed else ""
    return f"pages      {written.participants} of participants{names}{gone}: {written.folder}"


def page_path(study: Study, participant_id: str) -> Path:
    """Where a participant's page stands."""
    return inside(study.root, FOLDER, f"{participant_id}.html")


def write_one(study: Study, participant: str) -> Path:
    """Write the page of a participant, given by participant_id or ref; raises WrongUse for somebody unknown, and where
    there is no warehouse.
    """
    known = people(study)
    pid = known[participant].participant_id if participant in known else participant
    if pid not in entries_by_id(study):
        raise WrongUse(NOBODY_SUCH)
    with audited(study, "report", [pid]), writing(study), opened(study) as reader:
        write_page(page_path(study, pid), participant_page(study, reader, pid))
    return page_path(study, pid)


def write_again(study: Study, participant_id: str) -> None:
    """Bring those pages up to date that stand already: the participant's, and those about the study."""
    with writing(study):
        names = [f"{participant_id}.html", *STUDY_PAGES]
        standing = [name for name in names if inside(study.root, FOLDER, name).exists()]
        if standing:
            with opened(study) as reader:
                for name in standing:
                    make = STUDY_PAGES.get(name)
                    page = make(study, reader) if make else participant_page(study, reader, participant_id)
                    write_page(inside(study.root, FOLDER, name), page)


def remove_pages(study: Study, participant_id: str) -> int:
    """Remove every file below reports/ that is named after the participant or names them, and the pages about the
    study, whose numbers hold theirs; returns how many.
    """
    with writing(study):
        files = [path for path in sorted((study.root / FOLDER).rglob("*")) if path.is_file()]
        pid = participant_id.encode()
        named = [path for path in files
                 if participant_id in path.name or path.name in STUDY_PAGES or pid in path.read_bytes()]  # fmt: skip
        for path in named:
            remove(path)
    return len(named)


def write_all(study: Study, progress: Callable[[], None] = lambda: None, workers: int | None = None) -> Written:
    """Write all pages of the study, those of participants beside each other in up to `workers` processes.

    Pages of people who are not on the roster any more are removed. Raises what `publish.reading.opened` raises.
    """
    count = min(workers or os.cpu_count() or 1, WORKERS)
    vega()  # made once here, not in every process
    with audited(study, "report") as entry, writing(study):
        ids = sorted(entries_by_id(open_study(study.root)))  # somebody may have been erased while this waited
        with opened(study) as reader:
            for name, make in STUDY_PAGES.items():
                write_page(inside(study.root, FOLDER, name), make(study, reader))
        for _ in _participants(study, ids, count):
            progress()
        removed = _remove_strangers(study, set(ids))
        written = Written(study.root / FOLDER, len(ids), tuple(STUDY_PAGES), removed)
        entry.counts = written.counts()
    return written


def writing(study: Study) -> AbstractContextManager[None]:
    """Held by one process at a time while it writes or removes pages: no page that was begun before an erasure may
    come after it.
    """
    return locked(study.root / FOLDER / ".pages.lock", "writing pages", wait=True)


def _participants(study: Study, ids: Sequence[str], workers: int) -> Iterator[str]:
    if workers == 1 or len(ids) <= ALONE:
        yield from write_some(study.root, ids)
        return
    groups = [ids[start : start + AT_A_TIME] for start in range(0, len(ids), AT_A_TIME)]
    context = multiprocessing.get_context("spawn")  # a fork would share open databases
    with ProcessPoolExecutor(min(workers, len(groups)), context) as pool:
        for done in pool.map(_write_group, [study.root] * len(groups), groups):
            yield from done


def _write_group(root: Path, ids: Sequence[str]) -> list[str]:
    return list(write_some(root, ids))


def write_some(root: Path, ids: Iterable[str]) -> Iterator[str]:
    """Write these participants' pages, one after the other; yields each as it stands."""
    study = open_study(root)
    with opened(study) as reader:
        for pid in ids:
            write_page(page_path(study, pid), participant_page(study, reader, pid))
            yield pid


def _remove_strangers(study: Study, ids: set[str]) -> int:
    pages = [path for path in (study.root / FOLDER).glob("p*.html") if path.stem not in ids and _is_id(path.stem)]
    for path in pages:
        remove(path)
    return len(pages)


def _is_id(name: str) -> bool:
    return len(name) == 21 and name[0] == "p" and all(letter in "0123456789abcdef" for letter in name[1:])

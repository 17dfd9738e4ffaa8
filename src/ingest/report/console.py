"""Status and quarantine as text, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ingest.report.quarantine import Line
from ingest.report.safety import safety_lines
from ingest.report.status import FATES, STATUSES, Status
from ingest.report.watch import Watch, watch_lines

Step = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


def console(stderr: bool = False) -> Console:
    """A console that never cuts what goes to a pipe and never takes text for markup."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True)
    if not made.is_terminal:
        made.width = 200
    return made


def progress(out: Console) -> Step:
    """Progress bars on a terminal; elsewhere nothing, since the result says it all."""

    @contextmanager
    def step(title: str, total: int) -> Iterator[Callable[[], None]]:
        if not out.is_terminal:
            yield lambda: None
            return
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                   TimeElapsedColumn())  # fmt: skip
        with Progress(*columns, console=out, transient=True) as bars:
            bar = bars.add_task(title, total=total or None)
            yield lambda: bars.advance(bar)

    return step


def show_status(status: Status, out: Console, seen: Watch | None = None) -> None:
    """The whole state of a study; with `seen`, what an operator watches below it."""
    _files(status, out)
    _people(status, out)
    for line in safety_lines(status.safety):
        out.print(line)
    out.print()
    if status.refusals:
        table = _table("Refused or set aside", ("what", "reason", ">count"))
        for kind, reason, count in status.refusals:
            table.add_row(kind, reason, str(count))
        out.print(table)
        out.print("  `ingest quarantine` lists each with its place, what was expected and what to do.\n")
    for problem in status.roster_problems:
        out.print(f"  {problem}")
    for substance, count in status.unknown_substances:
        out.print(f"  substance {substance!r} is not in the registry; {count} uses kept as reported")
    for sfid in status.shared:
        out.print(f"  export {sfid[:12]} was handed in by two participants: check both; the later is held back")
    if status.stale:
        out.print(f"  {status.stale} participants are not up to date; `ingest run` rebuilds them")
    if status.warehouse:
        out.print(f"  {status.warehouse}", markup=False)
    for line in watch_lines(seen) if seen else ():
        out.print(f"  {line}")


def _files(status: Status, out: Console) -> None:
    table = _table("Files", ("source", *(f">{name}" for name in STATUSES), *(f">{name}" for name in FATES)))
    table.caption = "records: read = kept + duplicate + ignored + quarantined"
    for line in status.sources:
        mark = "" if line.reconciles else "  does not reconcile"
        table.add_row(line.source + mark, *(str(line.exports[name]) for name in STATUSES),
                      *(f"{line.records[name]:,}" for name in FATES))  # fmt: skip
    if status.sources:
        out.print(table)
    else:
        out.print("Nothing has been taken up yet. Put exports under landing/<participant_ref>/ and `ingest run`.")


def _people(status: Status, out: Console) -> None:
    if not status.people:
        return
    table = _table("Nights", ("participant_id", ">nights", "first", "last", ">of dates", ">coverage", ">log days"))
    for line in status.people:
        share = "" if line.coverage_pct is None else f"{line.coverage_pct:.0f} %"
        table.add_row(line.participant_id, str(line.nights), str(line.first or ""), str(line.last or ""),
                      str(line.dates), share, str(line.logged))  # fmt: skip
    out.print(table)


def show_quarantine(lines: Sequence[Line], out: Console, values: Callable[[Line], str | None] | None = None) -> None:
    """A line each: where, reason, expected against got and what to do; with `values`, what stands there."""
    for line in lines:
        where = Text(f"{line.path or 'no longer in landing'}", style="bold")
        out.print(where.append(f": {line.where}: ", style="default").append(line.reason, style="yellow"))
        out.print(f"    {line.detail}")
        if values is not None and line.kind not in ("file", "member"):
            shown = values(line)
            out.print(f"    > {shown}" if shown is not None else "    > cannot be shown")
    out.print(f"{len(lines)} refused or set aside" if lines else "Nothing was refused.")


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, caption_justify="left", title_style="bold")
    for name in columns:
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    return table

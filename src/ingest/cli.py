"""The `ingest` command. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest._core.errors import IngestError, WrongUse

if TYPE_CHECKING:
    from ingest._core.study import Study
    from ingest.erase import Erased
    from ingest.mart.cohort import Associated
    from ingest.pipeline import Run

app = typer.Typer(
    name="ingest",
    help="Wearable sleep exports and substance-use logs in, one row per participant-night out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half of the time `--help` took
    context_settings={"help_option_names": ["-h", "--help"]},
)
Strict = Annotated[bool, typer.Option("--strict", help="End with 1 where this run sets anything aside.")]
Purpose = Annotated[
    str | None,
    typer.Option("--purpose", envvar="INGEST_PURPOSE", help="What for, for the audit."),
]
Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"])]


@app.callback()
def _options(
    context: typer.Context,
    study: Annotated[Path, typer.Option(envvar="INGEST_STUDY", help="The study's folder.")] = Path(),
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A log line for every export.")] = False,
    log_format: Annotated[str | None, typer.Option(envvar="INGEST_LOG", help="Log lines as text or json.")] = None,
) -> None:
    from ingest._core.logs import to_stderr

    to_stderr(verbose, log_format)
    context.obj = study


def _study(context: typer.Context) -> Study:
    from ingest._core.study import open_study

    return open_study(context.obj)


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")]) -> None:
    """Make a new study folder."""
    from ingest._core.new_study import make_study_folder
    from ingest._core.study import open_study
    from ingest.harmonise.identity import make_key

    make_study_folder(folder)
    make_key(open_study(folder))
    typer.echo(
        f"A study stands in {folder}. Next: a row for each participant in roster.csv, their exports under\n"
        f"landing/<participant_ref>/, then `ingest --study {folder} run`."
    )


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="A new or an empty folder.")],
    people: Annotated[int, typer.Option(min=1, max=500)] = 12,
    nights: Annotated[int, typer.Option(min=7, max=400)] = 120,
) -> None:
    """Write a synthetic study and run it."""
    from ingest._core.study import open_study
    from ingest.demo.study import make_study
    from ingest.report.console import console, progress, show_status
    from ingest.report.pages.writing import said, write_all
    from ingest.report.status import status

    make_study(folder, people, nights)
    out = console()
    study = open_study(folder)
    from ingest.pipeline import associate as compute
    from ingest.pipeline import run as run_all

    _show_run(run_all(study, progress(out)))
    _show_associated(compute(study, progress(out))[0])
    show_status(status(study), out)
    with progress(out)("writing pages", people) as done:
        typer.echo(said(write_all(study, done)))
    example = "SELECT * FROM night LIMIT 5"
    typer.echo(
        f"What is in it, and what is wrong on purpose: {folder}/README.md\n"
        f'Next: ingest --study {folder} query "{example}"'
    )


@app.command()
def run(
    context: typer.Context,
    strict: Strict = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say who was rebuilt and published, and why.")
    ] = False,
) -> None:
    """Take up what is new, all the way."""
    from ingest._core.clinicians import read_clinicians
    from ingest.lake.encryption import mixed
    from ingest.pipeline import explained
    from ingest.pipeline import run as run_all
    from ingest.report.console import console, progress

    study = _study(context)
    problems = read_clinicians(study.root, study.roster.entries).problems
    for problem in (*study.roster.problems, *problems):
        typer.echo(problem, err=True)
    done = run_all(study, progress(console(stderr=True)))
    _show_run(done)
    if told := mixed(study):
        typer.echo(f"encryption {told}")
    for line in explained(done.rebuilt, done.published) if explain else ():
        typer.echo(line)
    if strict and (done.loaded.exports["refused"] or done.loaded.exports["partial"]):
        raise typer.Exit(1)


def _show_run(done: Run) -> None:
    counts = done.loaded.counts()
    waiting = f"; {done.unsettled} still changing, left for the next run" if done.unsettled else ""
    waiting += f"; {done.waiting} wait for their row in roster.csv" if done.waiting else ""
    waiting += f"; {done.erased} of erased participants, left alone" if done.erased else ""
    odd = f"; {done.not_files} links, pipes, files closed to us or with names not in UTF-8, left alone"
    waiting += odd if done.not_files else ""
    typer.echo(f"landing    {done.present} exports{waiting}")
    fates = ", ".join(f"{counts[name]} {name}" for name in ("loaded", "partial", "ignored", "refused"))
    typer.echo(f"decoded    {counts['exports']} exports: {fates}")
    typer.echo(
        f"records    {counts['read']:,} read = {counts['kept']:,} kept + {counts['duplicate']:,} duplicate"
        f" + {counts['ignored_records']:,} ignored + {counts['quarantined']:,} quarantined"
    )
    people = [each for each in done.rebuilt.participants if not each.startswith("_")]
    names = f": {' '.join(people[:20])}{' ...' if len(people) > 20 else ''}" if people else ""
    typer.echo(f"rebuilt    {len(people)} participants, {done.rebuilt.nights:,} nights{names}")
    published = [each for each in done.published.published if not each.startswith("_")]
    why = f" ({done.published.rebuilt})" if done.published.rebuilt else ""
    typer.echo(f"published  {len(published)} participants, {done.published.unchanged} unchanged{why}")
    if counts["refused"] or counts["partial"]:
        typer.echo("`ingest quarantine` says what could not be used and what to do")


@app.command()
def associate(context: typer.Context) -> None:
    """What goes with what, over all participants: association, dose_sleep and flow."""
    from ingest.pipeline import associate as compute
    from ingest.report.console import console, progress

    done, _ = compute(_study(context), progress(console(stderr=True)))
    _show_associated(done)


def _show_associated(done: Associated) -> None:
    rows = done.rows["association"]
    typer.echo(
        f"associated {done.participants} participants: {done.estimable:,} of {rows:,} associations estimable,"
        " exploratory unless declared as primary"
    )


@app.command()
def status(
    context: typer.Context,
    files: Annotated[bool, typer.Option("--files", help="Each export with its own counts instead.")] = False,
    format: Annotated[str, typer.Option("--format", "-f", help="text, or json for monitoring.")] = "text",
) -> None:
    """Files, records, nights, and what waits."""
    from ingest.report.console import console, show_status
    from ingest.report.exports import as_lines, exports
    from ingest.report.status import status as read_status
    from ingest.report.status_json import as_json
    from ingest.report.watch import watch

    study = _study(context)
    if format not in ("text", "json"):
        raise WrongUse("--format: expected text or json")
    if format == "json":
        typer.echo(as_json(study))
    elif files:
        for line in as_lines(exports(study)):
            typer.echo(line)
    else:
        show_status(read_status(study), console(), watch(study))


@app.command()
def quarantine(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Also what stands there, read from landing.")] = False,
) -> None:
    """What could not be used: where, why, and what to do."""
    from ingest.report.console import console, show_quarantine
    from ingest.report.quarantine import lines, value_reader

    study = _study(context)
    found = lines(study, reason)
    if reason is not None and not found and (known := sorted({line.reason for line in lines(study)})):
        typer.echo(f"Nothing with this reason; there are {', '.join(known)}")
        return
    show_quarantine(found, console(), value_reader(study) if show else None)


@app.command()
def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help="One SELECT.")],
    format: Annotated[str, typer.Option("--format", "-f", help="table, csv, json or parquet.")] = "table",
    purpose: Purpose = None,
) -> None:
    """Ask the warehouse; read-only, in UTC."""
    from ingest.publish.audit import acting
    from ingest.publish.query import query as ask

    with acting(purpose=purpose):
        ask(_study(context), sql, format, sys.stdout.buffer)


@app.command()
def explain(
    context: typer.Context,
    participant: Annotated[str, typer.Argument(help="A participant_id, or a ref of roster.csv.")],
    night_date: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="Like 2026-03-01.")],
) -> None:
    """How one night came about: sessions, what was chosen and why, the metrics and their parts."""
    from ingest.report.explain import explain as tell

    typer.echo(tell(_study(context), participant, night_date.date()), nl=False)


@app.command()
def report(
    context: typer.Context,
    participant: Annotated[str | None, typer.Argument(help="A participant_id, or a ref of roster.csv.")] = None,
    every: Annotated[bool, typer.Option("--all", help="A page for each row of the roster, and the study's.")] = False,
    purpose: Purpose = None,
) -> None:
    """Write pages to look at into reports/: of one participant, or all."""
    from ingest.publish.audit import acting
    from ingest.report.pages.writing import said, write_all, write_one

    study = _study(context)
    if (participant is None) != every:
        raise WrongUse("say whose page, by ref or participant_id, or `--all`")
    if participant is not None:
        with acting(purpose=purpose):
            path = write_one(study, participant)
        typer.echo(f"written    {path}")
        return
    from ingest.report.console import console, progress

    with progress(console(stderr=True))("writing pages", len(study.roster.entries)) as done, acting(purpose=purpose):
        typer.echo(said(write_all(study, done)))


@app.command()
def acknowledge(
    context: typer.Context,
    participant: Annotated[str, typer.Argument(help="A participant_id, or a ref of roster.csv.")],
    rule: Annotated[str, typer.Argument(help="The signal's rule, like extreme_dose.")],
    observed_at: Annotated[str, typer.Argument(help="Its instant like 2026-03-01T21:30:00Z, or its day.")],
    by: Annotated[str, typer.Option(help="Who has seen it.")],
) -> None:
    """Close an open safety signal with a name."""
    from ingest.pipeline import refresh
    from ingest.report.console import console, progress
    from ingest.report.safety import acknowledge as close

    study = _study(context)
    said, behind = close(study, participant, rule, observed_at, by)
    if behind:
        refresh(study, progress(console(stderr=True)))
    typer.echo(said)


@app.command()
def withdraw(
    context: typer.Context,
    participant: Annotated[str, typer.Argument(help="A ref of roster.csv, or a participant_id.")],
    on: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day without consent, like 2026-03-01.")],
    keep: Annotated[bool, typer.Option("--keep/--erase", help="What was recorded before: keep it, or erase all.")],
    purpose: Purpose = None,
) -> None:
    """Write a withdrawal into roster.csv and take what is from that day on out of marts and warehouse."""
    from ingest.publish.audit import acting
    from ingest.report.console import console, progress
    from ingest.withdraw import withdraw as do

    with acting(purpose=purpose):
        done = do(_study(context), participant, on.date(), keep, progress(console(stderr=True)))
    if done.erased is not None:
        _show_erased(done.erased)
    else:
        typer.echo(f"withdrawn from {done.on} on; {done.nights} nights before that day stay")


@app.command()
def erase(
    context: typer.Context,
    participant: Annotated[str, typer.Argument(help="A ref of roster.csv, or a participant_id.")],
    yes: Annotated[bool, typer.Option("--yes", help="It cannot be undone: say so.")] = False,
    purpose: Purpose = None,
) -> None:
    """Remove a participant from all stores, and say what remains."""
    from ingest.erase import erase as do
    from ingest.publish.audit import acting

    if not yes:
        raise WrongUse("an erasure cannot be undone; add --yes to do it")
    with acting(purpose=purpose):
        done = do(_study(context), participant)
    _show_erased(done)


def _show_erased(done: Erased) -> None:
    typer.echo("erased     " + ", ".join(f"{count} {store.replace('_', ' ')}" for store, count in done.removed.items()))
    typer.echo("What remains, and who has to see to it:")
    for line in done.remains:
        typer.echo(f"  [ ] {line}")


@app.command()
def rekey(
    context: typer.Context,
    to: Annotated[
        str | None, typer.Option("--to", help="Where the key is: file:/PATH, env:VARIABLE or airflow:CONNECTION.")
    ] = None,
    same: Annotated[bool, typer.Option("--same", help="Keep the key; only say where it is from now on.")] = False,
) -> None:
    """Change the study's key: every id is made anew in lake and warehouse."""
    from ingest.rekey import move_key
    from ingest.rekey import rekey as do

    if same:
        if to is None:
            raise WrongUse("--same wants --to: where the present key is from now on")
        move_key(_study(context), to)
        typer.echo(f"identity/key now says {to}; the key is the same")
        return
    done = do(_study(context), to, lambda line: typer.echo(line, err=True))
    typer.echo(f"decoded    {done.decoded} exports under the new key")
    if done.carried.exports:
        typer.echo(f"carried    {done.carried.exports} exports that left landing; {done.carried.ids_of_its_own} of "
                   "their ids rest on the former ones")  # fmt: skip
    if done.published is not None:
        typer.echo(f"published  {len(done.published.published)} participants; {len(done.published.removed)} former ids "
                   "removed")  # fmt: skip
    if done.reports:
        typer.echo(f"reports    {done.reports} named former ids and are gone; make them again")
    typer.echo("releases   keep the ids they were handed out with")


@app.command()
def verify(
    context: typer.Context,
    repair: Annotated[bool, typer.Option("--repair", help="Let the next run decode damaged files again.")] = False,
) -> None:
    """Check the invariants of lake, marts, warehouse and landing."""
    from ingest.report.verify import INVARIANTS, drop_damaged, forget_damaged_marts, waiting
    from ingest.report.verify import verify as check

    study = _study(context)
    if repair:
        typer.echo(f"{drop_damaged(study)} damaged exports taken out of the lake; `ingest run` decodes them again")
        if people := forget_damaged_marts(study):
            typer.echo(f"nights of {people} participants are damaged; `ingest run` builds them again")
    broken = check(study)
    for each in broken:
        typer.echo(f"{each.invariant}: {each.where}")
    for name, text in INVARIANTS.items():
        if all(each.invariant != name for each in broken):
            typer.echo(f"{name}: holds: {text}")
    if behind := waiting(study):
        typer.echo(
            f"{len(behind)} participants have former rows in the warehouse: {' '.join(behind[:20])}; `ingest run`"
        )
    if broken:
        raise typer.Exit(3)


@app.command()
def convert(
    export: Annotated[str, typer.Argument(help="An archive, a file or a folder, or an s3:// URL of one.")],
    time_zone: Annotated[str, typer.Option(help="IANA zone that local clocks are read in.")],
    to: Annotated[Path, typer.Option(help="Folder for the Parquet files.")],
) -> None:
    """One export to Parquet, without a study."""
    from ingest.convert import convert as convert_export

    for line in convert_export(export, time_zone, to):
        typer.echo(line)


@app.command()
def backfill(
    context: typer.Context,
    arrived: Annotated[tuple[str, str] | None, typer.Option(
        metavar="FROM TO", help="Decode again what arrived from the first to the last date, or instant.")] = None,
    nights: Annotated[tuple[str, str] | None, typer.Option(
        metavar="FROM TO", help="Rebuild participants with nights from the first to the last date.")] = None,
    participant: Annotated[list[str] | None, typer.Option(help="Only this ref or id; may be repeated.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:  # fmt: skip
    """Do again what lies in an interval."""
    from ingest.backfill import backfill as do
    from ingest.report.console import console, progress

    for line in do(_study(context), arrived, nights, participant or [], source or [], dry_run,
                   progress(console(stderr=True))):  # fmt: skip
        typer.echo(line)


@app.command()
def compact(
    context: typer.Context,
    participant: Annotated[list[str] | None, typer.Option(help="Only this ref or id; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Have one file of the lake hold a participant's rows of a table and year."""
    from ingest.backfill import ids_of
    from ingest.lake.pack import compact as do
    from ingest.lake.store import participants
    from ingest.report.console import console, progress

    study = _study(context)
    only = sorted(ids_of(study, participant or []))
    with progress(console(stderr=True))("compacting", len(only) or len(participants(study.lake))) as step:
        done = do(study, only, dry_run, step)
    would = "would hold" if dry_run else "hold"
    typer.echo(
        f"compacted  {len(done.changed)} of {done.participants} participants: {done.files_after:,} files {would} what "
        f"{done.files_before:,} held, {done.bytes_after:,} bytes of {done.bytes_before:,}"
    )
    if done.kept_for_readers:
        typer.echo(f"left       {done.kept_for_readers:,} files that a publication may be reading; the next run, or "
                   "the next call, removes them")  # fmt: skip


@app.command()
def encryption(context: typer.Context) -> None:
    """Rewrite files of the lake that are not as lake_encryption of study.yaml has them."""
    from ingest.encryption import settle_encryption
    from ingest.lake.store import participants
    from ingest.report.console import console, progress

    study = _study(context)
    with progress(console(stderr=True))("rewriting the lake's files", len(participants(study.lake))) as step:
        count = settle_encryption(study, step)
    form = "encrypted" if study.settings.lake_encryption else "plain"
    typer.echo(f"rewritten  {count:,} files; all of the lake's Parquet is {form}")


@app.command()
def catalog(
    context: typer.Context,
    engine: Annotated[str | None, typer.Option("--for", help="spark, trino or athena: the DDL of its tables.")] = None,
    location: Annotated[str | None, typer.Option(help="The lake's URL as the engine reaches it.")] = None,
    database: Annotated[str, typer.Option(help="The database, or Trino's schema, for the tables.")] = "sleep",
    files: Annotated[bool, typer.Option("--files", help="Which files hold what is committed, as CSV.")] = False,
) -> None:
    """The lake's tables for other engines."""
    from ingest.report.catalog import committed_files, location_of, rendered

    if (engine is None) != files:
        raise WrongUse("say `--for spark`, `--for trino` or `--for athena`, or `--files`")
    study = _study(context)
    if engine is None:
        typer.echo(committed_files(study), nl=False)
    else:
        typer.echo(rendered(engine, location or location_of(study), database), nl=False)


@app.command()
def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine's own need a token.")]
    = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8321,
    token_file: Annotated[Path | None, typer.Option(
        help="File with the token that is asked for; made where there is none. Or INGEST_SERVE_TOKEN.")] = None,
    name: Annotated[list[str] | None, typer.Option(
        help="Name by which browsers reach this server, beside its address; may be repeated.")] = None,
    refs: Annotated[bool, typer.Option(
        "--refs", help="Find participants by ref, too: who may look can then tell whose pseudonym is whose.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="TLS certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
) -> None:  # fmt: skip
    """The study's pages for browsers, read-only, until Ctrl-C."""
    from ingest.serve.access import token_of
    from ingest.serve.run import Listening
    from ingest.serve.run import serve as do

    _study(context)
    token = token_of(os.environ.get("INGEST_SERVE_TOKEN"), token_file)
    do(context.obj, token, refs, Listening(host, port, name or (), certificate, key), typer.echo)


@app.command()
def release(
    context: typer.Context,
    name: Annotated[str, typer.Option("--as", help="Its name, such as 2026-12.")],
    tables: Annotated[
        str | None, typer.Option(help="Tables, separated by commas; `default` is those without it.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for it; releases/ of the study without it.")] = None,
    aggregates: Annotated[
        bool, typer.Option("--aggregates", help="Tables of the cohort instead, without small cells.")
    ] = False,
    purpose: Purpose = None,
) -> None:
    """A frozen set of tables to hand out: Parquet, CSV, a data package, checksums."""
    from ingest.publish.audit import acting

    if aggregates:
        from ingest.report.aggregates import release_aggregates
        from ingest.report.aggregates import said as said_of

        if tables is not None:
            raise WrongUse("--aggregates has tables of its own; leave out --tables")
        with acting(purpose=purpose):
            made = release_aggregates(_study(context), name, to)
        for line in said_of(made):
            typer.echo(line)
        return
    from ingest.report.release import release as write
    from ingest.report.release import said

    with acting(purpose=purpose):
        done = write(_study(context), name, tables, to)
    for line in said(done):
        typer.echo(line)


@app.command()
def audit(
    context: typer.Context,
    participant: Annotated[str | None, typer.Option(help="Only what was done about this ref or id.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, like query.")] = None,
    last: Annotated[int, typer.Option(min=0, help="How many entries; 0 for all.")] = 40,
    format: Annotated[str, typer.Option("--format", "-f", help="text, csv or json.")] = "text",
    head: Annotated[str | None, typer.Option(help="A head kept from before, which must still be in it.")] = None,
) -> None:
    """Who did what with the study, when and what for; and whether anybody changed that."""
    from ingest.report.audit import FORMATS, lines
    from ingest.report.audit import audit as look

    if format not in FORMATS:
        raise WrongUse(f"--format: expected one of {', '.join(FORMATS)}")
    said = look(_study(context), participant, action, head)
    for line in lines(said, format, last):
        typer.echo(line)
    for line in said.notes:
        typer.echo(line, err=format != "text")
    for line in said.breaks:
        typer.echo(f"broken     {line}", err=format != "text")
    if said.breaks:
        raise typer.Exit(3)


@app.command("map")
def map_log(
    file: Annotated[Path, typer.Argument(help="A log (CSV or XLSX) that no mapping describes yet.")],
    layout: Annotated[str | None, typer.Option(help="long, daily, wide, calendar, diary or scale.")] = None,
) -> None:
    """Propose a mapping for a log, with the rows it would give."""
    from ingest.report.mapping import show

    typer.echo(show(file, layout), nl=False)


@app.command()
def formats(
    format: Annotated[str, typer.Option("--format", "-f", help="text, md or json.")] = "text",
) -> None:
    """Every source: what is recognised, what is taken, whose clock, how well tried."""
    from ingest.report.formats import show

    typer.echo(show(format), nl=False)


@app.command()
def dictionary(
    format: Annotated[str, typer.Option("--format", "-f", help="md, csv, json or html.")] = "md",
) -> None:
    """Every table and column, with definitions."""
    from ingest._core.dictionary import render

    typer.echo(render(format), nl=False)


def main() -> None:
    """Run the command; errors of this package end as one line and an exit code."""
    try:
        app()
    except IngestError as error:
        typer.echo(f"ingest: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and nobody listens to a message.
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        from ingest._core.files import storage_error

        told = storage_error(error)
        if not isinstance(told, IngestError):
            raise
        typer.echo(f"ingest: {told}", err=True)
        sys.exit(told.exit_code)

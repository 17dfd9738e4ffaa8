"""How one night came about, on one screen: every source's sessions on a time line, the choice, the metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from textwrap import wrap
from typing import Any

from ingest._core.errors import WrongUse
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id, people
from ingest.publish.reading import opened

Row = Mapping[str, Any]
WIDTH = 72
LINE = 120
IN_FULL = 6
"""Of more sessions than these, each is told in one line."""
MARKS = {"awake": "w", "light": "l", "deep": "d", "rem": "r", "asleep": "s", "in_bed": "b", "out_of_bed": "o",
         "unknown": "?"}  # fmt: skip
NO_STAGE = "="
_LEGEND = (
    "w awake  l light  d deep  r REM  s asleep  b in bed  o out of bed  ? unknown  = no stages  . nothing measured"
)
_SESSIONS = """
select role, reason, s.session_id, s.source, s.device, s.detail, s.start_utc, s.end_utc, s.utc_offset_min, s.time_basis,
    s.source_file_id, s.flags, s.vendor_tst_min
from night_source n join sleep_session s using (participant_id, session_id)
where participant_id = $pid and night_date = $night
    and (s.is_current or (role = 'superseded' and not exists (
        select 1 from sleep_session o where o.participant_id = $pid and o.session_id = s.session_id and o.is_current)))
order by s.start_utc, s.source, s.device, s.session_id, s.source_file_id
"""
_VERSIONS = """
select session_id, superseded_reason from sleep_session
where participant_id = $pid and not is_current and session_id in (
    select session_id from night_source where participant_id = $pid and night_date = $night)
order by session_id, superseded_reason
"""
_STAGES = """
select session_id, start_utc, end_utc, stage from sleep_stage
where participant_id = $pid and session_id in (
    select session_id from night_source where participant_id = $pid and night_date = $night)
order by session_id, start_utc
"""


def explain(study: Study, participant: str, night: date) -> str:
    """The screen as text, no line over 120 characters; `participant` is a participant_id or a ref of the roster.

    Raises WrongUse where the participant is not known, or nothing is known of that night date.
    """
    pid = _participant_id(study, participant)
    with opened(study) as reader:

        def ask(sql: str) -> list[Row]:
            return reader.table(sql, pid=pid, night=night).to_pylist()  # type: ignore[no-any-return]

        nights = ask("select * from night where participant_id = $pid and night_date = $night")
        sessions, stages = ask(_SESSIONS), ask(_STAGES)
        others: dict[str, list[str]] = {}
        for version in ask(_VERSIONS):
            others.setdefault(version["session_id"], []).append(version["superseded_reason"])
        covered = ask("select * from coverage where participant_id = $pid and date = $night")
    if not (nights or sessions or covered):
        raise WrongUse(f"nothing is known of {pid} on {night}; `ingest status` says which dates are there")
    return "\n".join(_screen(pid, night, nights, sessions, stages, others, covered)) + "\n"


def _participant_id(study: Study, word: str) -> str:
    known = people(study)
    if word in known:
        return known[word].participant_id
    if word in entries_by_id(study):
        return word
    raise WrongUse("no such participant; give a participant_id (`ingest status` lists them) or a ref of roster.csv")


def _screen(
    pid: str, night: date, nights: Sequence[Row], sessions: Sequence[Row], stages: Sequence[Row],
    others: Mapping[str, Sequence[str]], covered: Sequence[Row],
) -> list[str]:  # fmt: skip
    offset = _offset([*nights, *sessions])
    lines = [f"{pid}, night of {night}", ""]
    lines += _timeline(sessions, stages, offset) if sessions else ["No session has this night date."]
    lines.append("")
    for number, session in enumerate(sessions, start=1):
        lines += _choice(number, session, offset, others.get(session["session_id"], ()), len(sessions) <= IN_FULL)
    if nights:
        lines += ["", *_metrics(nights[0])]
    else:
        reason = covered[0]["reason"] if covered else None
        lines += ["", f"No night: {reason or 'this date lies outside the time that is followed'}."]
    return lines


def _offset(rows: Sequence[Row]) -> timedelta:
    """Of the night, else of its first session."""
    return timedelta(minutes=next((row["utc_offset_min"] for row in rows if row["utc_offset_min"] is not None), 0))


def _timeline(sessions: Sequence[Row], stages: Sequence[Row], offset: timedelta) -> list[str]:
    start = min(s["start_utc"] for s in sessions)
    end = max(s["end_utc"] for s in sessions)
    cell = max((end - start) / WIDTH, timedelta(minutes=1))
    of: dict[str, list[Row]] = {}
    for stretch in stages:
        of.setdefault(stretch["session_id"], []).append(stretch)
    clock = f"local time ({timezone(offset)})" if offset else "UTC"
    left, right = f"{start + offset:%H:%M}", f"{end + offset:%H:%M}"
    lines = [f"     {left}{f'{clock}, {_length(cell)} a letter':^{WIDTH - 10}}{right}"]
    for number, session in enumerate(sessions, start=1):
        lines.append(f"{number:>3}  {_bar(session, of.get(session['session_id'], []), start, cell)}")
    return [*lines, f"     {_LEGEND}"]


def _bar(session: Row, stretches: Sequence[Row], start: datetime, cell: timedelta) -> str:
    """A letter for each cell: the stage that fills most of it, blank outside the session."""
    letters = []
    for i in range(WIDTH):
        low, high = start + i * cell, start + (i + 1) * cell
        inside = _shared(session, low, high)
        if not inside:
            letters.append(" ")
            continue
        if not stretches:
            letters.append(NO_STAGE)
            continue
        share: dict[str, timedelta] = {}
        for stretch in stretches:
            length = _shared(stretch, low, high)
            if length:
                share[stretch["stage"]] = share.get(stretch["stage"], timedelta()) + length
        best = max(sorted(share), key=lambda stage: share[stage], default=None)
        covered = sum(share.values(), timedelta())
        letters.append("." if best is None or covered * 2 < inside else MARKS[best])
    return "".join(letters).rstrip()


def _shared(span: Row, low: datetime, high: datetime) -> timedelta:
    start: datetime = max(span["start_utc"], low)
    end: datetime = min(span["end_utc"], high)
    return max(end - start, timedelta())


def _choice(number: int, session: Row, offset: timedelta, others: Sequence[str], in_full: bool) -> list[str]:
    """What became of a session and why; in full also its file, its flags and the versions that gave way."""
    what = f"{session['source']}/{session['device'] or 'unknown'}"
    if not in_full:
        start, end = (f"{session[name] + offset:%d %b %H:%M}" for name in ("start_utc", "end_utc"))
        return [f"{number:>3}  {what}, {start} to {end}, {session['role']}: {session['reason']}"[:LINE]]
    start, end = (f"{session[name] + offset:%d %b %H:%M:%S}" for name in ("start_utc", "end_utc"))
    lines = [
        f"{number:>3}  {session['role']}: {session['reason']}",
        f"     {what}, {session['detail']}, {start} to {end}, "
        f"clock by {session['time_basis']}, file {session['source_file_id'][:12]}",
    ]
    if others and session["role"] != "superseded":
        lines.append(f"     other versions that gave way: {len(others)} ({', '.join(sorted(set(others)))})")
    return [*lines, *(_wrapped("     ", f"flags {session['flags'].replace(',', ', ')}") if session["flags"] else ())]


def _wrapped(first: str, text: str) -> list[str]:
    return wrap(text, LINE, initial_indent=first, subsequent_indent=" " * len(first))


def _metrics(night: Row) -> list[str]:
    m = {name: _minutes(value) for name, value in night.items() if name.endswith("_min")}
    percent = {name: "NULL" if night[name] is None else f"{night[name]:.1f} %" for name in ("se_tib_pct", "se_spt_pct")}
    lines = [
        f"Night    {night['source']}/{night['device'] or 'unknown'}, basis {night['basis']}, time in bed by "
        f"{night['tib_basis']}, {night['n_sources']} source(s)",
        f"         onset {_clock(night['onset_local'])}, final awakening {_clock(night['final_wake_local'])} local",
        *_clock_change(night),
        f"TIB      {m['tib_min']} = SOL {m['sol_min']} + SPT {m['spt_min']} + snooze {m['snooze_min']}"
        f"   (first wake of the record {m['record_first_wake_min']})",
        f"SPT      {m['spt_min']} = TST {m['tst_min']} + WASO {m['waso_min']} + unknown {m['unknown_min']} "
        f"+ gap {m['gap_min']}",
        f"TST      {m['tst_min']} = light {m['light_min']} + deep {m['deep_min']} + REM {m['rem_min']} "
        f"+ unspecified {m['asleep_min']}",
        f"WASO     {m['waso_min']}, of it {m['waso_long_min']} in {_count(night['nawk_long'])} long bouts; "
        f"{_count(night['nawk'])} awakenings, mean {m['mean_awakening_min']}",
        f"SE       {percent['se_tib_pct']} of TIB, {percent['se_spt_pct']} of SPT; the vendor says "
        f"{'nothing' if night['vendor_efficiency_pct'] is None else night['vendor_efficiency_pct']}",
        f"Naps     {_count(night['nap_count'])}: {m['nap_before_min']} before, {m['nap_after_min']} after; "
        f"sleep in 24 h {m['tst_24h_min']}",
    ]
    flags = (night["flags"] or "none").replace(",", ", ")
    return [*lines, *_wrapped("Flags    ", f"{flags} (docs/glossary.md)"), "         minutes; NULL is not known"]


def _clock_change(night: Row) -> list[str]:
    wake = night["final_wake_local"] - night["final_wake_utc"].replace(tzinfo=None)
    onset = timedelta(minutes=night["utc_offset_min"])
    if wake == onset:
        return []
    change = f"{timezone(wake)} when it ended; the time line and the sessions are by {timezone(onset)}"
    return [f"         the clock changed in the night: {change}"]


def _minutes(value: float | None) -> str:
    return "NULL" if value is None else f"{value:.1f}"


def _count(value: int | None) -> str:
    return "NULL" if value is None else str(value)


def _clock(value: datetime | None) -> str:
    return "NULL" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _length(cell: timedelta) -> str:
    return f"{cell.total_seconds() / 60:.1f} min"

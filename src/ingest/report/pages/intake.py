"""The data manager's page: what came in, what was refused and what to do, who is silent, what is not understood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.study import Study
from ingest.publish.reading import Reader
from ingest.report.intake import WEEKS_SHOWN, Intake, intake
from ingest.report.pages.page import Chart, Notice, Page, Part, Section, Table, Text

STATUSES = {"loaded": "$blue", "partial": "$orange", "ignored": "$grey", "refused": "$vermillion"}
_ROW_PX = 16
_WHAT = {
    "source": "Source", "record_kind": "What", "reason": "Reason", "rows_set_aside": "Rows", "exports": "Exports",
    "participants": "Participants", "last_seen_on": "Last seen", "what_to_do": "What to do", "last_on": "Last date",
    "participant_id": "Participant", "days": "Days ago", "substance": "Substance", "uses": "Uses", "first_on": "First",
    "unit_reported": "Unit as reported", "amount_basis": "Why no amount", "columns": "Columns",
    "time_basis": "Known by",
    "sessions": "Sleep records", "decoder_version": "Read by version", "installed_version": "Installed",
    "first_arrived_on": "First arrived", "last_arrived_on": "Last arrived", "read": "Read", "kept": "Kept",
    "duplicate": "Duplicate", "ignored": "Ignored", "quarantined": "Quarantined",
}  # fmt: skip
_NUMBERS = {"rows_set_aside", "exports", "participants", "days", "uses", "columns", "sessions", "read", "kept",
            "duplicate", "ignored", "quarantined"}  # fmt: skip


def intake_page(study: Study, reader: Reader, today: date, first: date | None = None, last: date | None = None) -> Page:
    """The page of what came in from `first` to `last`, both counted; who is silent, `today`."""
    found = intake(study, reader, today, first, last)
    span = f"{first or 'the beginning'} to {last or today}"
    data = {name: getattr(found, name) for name in ("files", "records", "refusals", "silent", "substances", "units",
                                                    "columns", "zones", "decoders", "coverage")}  # fmt: skip
    return Page(
        f"{study.settings.study}: intake",
        list(_sections(found)),
        data,
        subtitle=f"Arrivals (UTC) of {span}; silent as of {today}",
        labels={**_WHAT, "day": "Day", "status": "Status", "week": "Week of", "nights": "Nights", "logs": "Logs",
                "diaries": "Diaries", "dates": "Dates"},
        footer=["Participants stand under their pseudonyms; `ingest quarantine` names the files."],
    )  # fmt: skip


def _sections(found: Intake) -> Iterator[Section]:
    yield Section("", [_to_do(found), *_published(found)], "todo")
    yield Section("What came in", [*_files(found), _table("Records by source, over all exports of these days",
                                                          found.records)], "files")  # fmt: skip
    yield Section("Refused or set aside, and what to do", [_refusals(found)], "refusals")
    yield Section("Who is silent", _silent(found), "silent")
    yield Section("Nights, diaries and logs by week", _coverage(found), "coverage")
    yield Section("What is not understood", list(_strange(found)), "strange")
    yield Section("How the clocks are known, and which decoder read what", list(_origins(found)), "origins")


def _to_do(found: Intake) -> Notice:
    lines = []
    refused = _sum(found.files.filter(pc.equal(found.files["status"], "refused")), "exports")
    if refused:
        lines.append(f"Exports refused: {refused}; see what to do below")
    if partial := _sum(found.files.filter(pc.equal(found.files["status"], "partial")), "exports"):
        lines.append(f"Exports loaded without some of their records: {partial}; see below")
    if len(found.silent):
        lines.append(f"Participants who are silent: {len(found.silent)}; ask them")
    if len(found.substances) or len(found.units) or len(found.columns):
        lines.append("Substances, units or columns that are not understood: name them in study.yaml, then `ingest run`")
    old = [row for row in found.decoders.to_pylist() if row["installed_version"] not in (None, row["decoder_version"])]
    if old:
        lines.append(f"Exports read by another version of their decoder: {_sum_of(old, 'exports')}; `ingest run`")
    waiting = _last_run(found).get("unpublished_count")
    if waiting:
        lines.append(f"Files or exports that the last run did not publish: {waiting}")
    if _last_run(found).get("outcome") in ("failed", "unfinished"):
        lines.append("The last run did not end well: see its log")
    return Notice("To do" if lines else "Nothing waits for you here.", lines, alert=bool(refused))


def _published(found: Intake) -> Iterator[Part]:
    (of,) = found.publication.to_pylist()
    if of["last_published_at"] is None:
        yield Text("Nobody has been published yet.")
    else:
        yield Text(
            f"Last publication: {_instant(of['last_published_at'])}; {of['participants']} participants, definitions"
            f" {of['definitions_version']}; the oldest of them stands since {_instant(of['oldest_published_at'])}."
        )
    run = _last_run(found)
    if run:
        ended = f", ended {_instant(run['ended_at'])}" if run["ended_at"] else ""
        yield Text(f"Last run: {run['kind']}, begun {_instant(run['started_at'])}{ended}, {run['outcome']}"
                   f"{' with ' + run['error'] if run['error'] else ''}.")  # fmt: skip


def _files(found: Intake) -> list[Part]:
    rows = found.files
    if not len(rows):
        return [Text("Nothing came in on these days.")]
    sources = pc.unique(rows["source"]).to_pylist()
    spec = {
        "width": 900, "height": max(60, 2 * _ROW_PX * len(sources)), "data": {"name": "files"},
        "mark": {"type": "circle", "opacity": 0.85, "stroke": "$ink", "strokeWidth": 0.5},
        "encoding": {
            "x": {"field": "day", "type": "temporal", "scale": {"type": "utc"}, "title": "day of arrival (UTC)"},
            "y": {"field": "source", "type": "nominal", "title": None},
            "yOffset": {"field": "status", "type": "nominal", "sort": list(STATUSES)},
            "size": {"field": "exports", "type": "quantitative", "legend": None, "scale": {"range": [25, 400]}},
            "color": _statuses(),
            "tooltip": [{"field": "source"}, {"field": "day", "type": "temporal", "format": "%Y-%m-%d",
                        "timeUnit": "utcyearmonthdate"}, {"field": "status"}, {"field": "exports"}],
        },
    }  # fmt: skip
    total = ", ".join(f"{count} {name}" for name in STATUSES
                      if (count := _sum(rows.filter(pc.equal(rows["status"], name)), "exports")))  # fmt: skip
    alt = f"Exports from {pc.min(rows['day'])} to {pc.max(rows['day'])} of {len(sources)} sources: {total}."
    return [Chart("files", "Exports by source and day", alt, spec, ["files"])]


def _statuses() -> dict[str, Any]:
    return {"field": "status", "type": "nominal", "scale": {"domain": list(STATUSES), "range": list(STATUSES.values())}}


def _refusals(found: Intake) -> Part:
    if not len(found.refusals):
        return Text("Nothing was refused or set aside.")
    rows = []
    for row in found.refusals.to_pylist():
        more = f" (and {row['wordings'] - 1} other wordings)" if row["wordings"] > 1 else ""
        rows.append({**row, "what_to_do": row["what_to_do"] + more})
    names = (
        "reason",
        "source",
        "record_kind",
        "rows_set_aside",
        "exports",
        "participants",
        "last_seen_on",
        "what_to_do",
    )
    return _written("Files, members, records and values by reason", names, rows)


def _silent(found: Intake) -> list[Part]:
    if not len(found.silent):
        return [Text("Everybody has given something lately, as study.yaml expects (`monitor`).")]
    return [_table("No night, log or diary for longer than `monitor.silent_after_days`", found.silent)]


def _coverage(found: Intake) -> list[Part]:
    rows = found.coverage
    if not len(rows):
        return [Text("No dates to speak of.")]
    people = len(pc.unique(rows["participant_id"]))
    spec = {
        "data": {"name": "coverage"},
        "transform": [{"fold": ["nights", "diaries", "logs"], "as": ["kind", "found"]},
                      {"calculate": "100 * datum.found / datum.dates", "as": "share"}],
        "facet": {"column": {"field": "kind", "type": "nominal", "sort": ["nights", "diaries", "logs"], "title": None}},
        "spec": {
            "width": 240, "height": {"step": 9 if people > 20 else _ROW_PX}, "mark": "rect",
            "encoding": {
                "x": {"field": "week", "type": "ordinal", "timeUnit": "utcyearmonthdate", "title": "week of",
                      "axis": {"format": "%m-%d", "labelOverlap": True, "labelAngle": 0}},
                "y": {"field": "participant_id", "type": "nominal", "title": None,
                      "axis": {"labelLimit": 90, "labels": people <= 60}},
                "color": {"field": "share", "type": "quantitative", "title": "% of dates",
                          "scale": {"domain": [0, 100], "range": "ramp"}},
                "tooltip": [{"field": "participant_id"}, {"field": "week", "timeUnit": "utcyearmonthdate"},
                            {"field": "kind"}, {"field": "found"}, {"field": "dates"}],
            },
        },
    }  # fmt: skip
    shares = ", ".join(
        f"{name} on {100 * _sum(rows, name) / _sum(rows, 'dates'):.0f} %" for name in ("nights", "diaries", "logs")
    )
    alt = f"{people} participants by week from {pc.min(rows['week'])}: {shares} of their dates."
    note = f"At most the last {WEEKS_SHOWN} weeks; dates count from enrolment to the last export or withdrawal."
    return [Chart("coverage", "Share of dates with a night, a diary, a log", alt, spec, ["coverage"], note=note)]


def _strange(found: Intake) -> Iterator[Part]:
    if len(found.substances):
        yield _table(
            "Substances that no name of the registry or of study.yaml fits; kept as reported", found.substances
        )
    if len(found.units):
        yield _table("Units from which no amount follows; the uses are kept without amount", found.units)
    if len(found.columns):
        yield _table("Columns of logs that no mapping names", found.columns,
                     "`ingest status --files` names the files, `ingest map FILE` proposes a mapping.")  # fmt: skip
    if not (len(found.substances) or len(found.units) or len(found.columns)):
        yield Text("Every substance, unit and column is known.")


def _origins(found: Intake) -> Iterator[Part]:
    yield _table("Current sleep records by how their clocks are known", found.zones,
                 "`assumed`: neither the file nor roster.csv says the zone; the study's stands in.")  # fmt: skip
    yield _table("Exports by the decoder version that read them", found.decoders)


def _table(caption: str, rows: pa.Table, note: str = "") -> Table:
    return _written(caption, rows.column_names, rows.to_pylist(), note)


def _written(caption: str, names: Sequence[str], rows: Iterable[Mapping[str, Any]], note: str = "") -> Table:
    return Table(
        caption,
        [_WHAT.get(name, name) for name in names],
        [["" if row[name] is None else str(row[name]) for name in names] for row in rows],
        [_WHAT[name] for name in names if name in _NUMBERS],
        note,
    )


def _last_run(found: Intake) -> dict[str, Any]:
    rows: list[dict[str, Any]] = found.last_run.to_pylist()
    return rows[0] if rows else {}


def _sum(rows: pa.Table, name: str) -> int:
    return pc.sum(rows[name]).as_py() or 0


def _sum_of(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(row[name] for row in rows)


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"

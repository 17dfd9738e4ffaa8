"""The heart: lake rows of some participants in, their marts out. No file, no database, no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest._core.acknowledgements import Acknowledged
from ingest._core.contract import to_contract
from ingest._core.settings import Settings
from ingest.mart.consent import consented, within_scope
from ingest.mart.coverage import coverage
from ingest.mart.day_answers import with_day_answers
from ingest.mart.diary import in_study, night_diary
from ingest.mart.exposure import Registry, night_exposure, with_diary_nights
from ingest.mart.insomnia import insomnia_night, insomnia_week
from ingest.mart.night import nights
from ingest.mart.person import PersonSettings
from ingest.mart.phase import phase_rows, phases
from ingest.mart.record_versions import current_records, record_versions
from ingest.mart.safety import safety_signals
from ingest.mart.same_dose import with_same_dose
from ingest.mart.session_versions import session_versions, with_left_out
from ingest.mart.trend import trend

DEFINITIONS_VERSION = "5"
"""Rises whenever the same lake rows would give other marts."""


def build(
    lake: Mapping[str, pa.Table],
    source_files: pa.Table,
    people: Mapping[str, PersonSettings],
    settings: Settings,
    last_seen: Mapping[str, date],
    registry: Registry | None = None,
    log_sources: Collection[str] = (),
    acknowledged: Acknowledged | None = None,
    exported_at: Mapping[str, datetime] | None = None,
) -> dict[str, pa.Table]:
    """Mart tables by name, each with its schema's columns and sorted by its primary key.

    `lake` holds all rows of the lake's tables of the participants in `people`, from any number of exports, in
    any order; `source_files` rows of schema source_file of the exports that held, or may have held, data for
    them; `last_seen` the last date their exports cover; `log_sources` the sources that hold no sleep; `acknowledged`
    who saw which safety signal; `exported_at` when each export was made, by source_file_id.
    Rows outside a participant's consent, or from their withdrawal on, are as if they were not there.
    What comes out for one participant depends on that participant's rows alone.
    """
    lake = consented(lake, people)
    versions = session_versions(lake["sleep_session"])
    current = _current(lake["sleep_session"], versions)
    stages = _stages_of(lake["sleep_stage"], current)
    current = with_left_out(current, lake["sleep_session"])
    night, night_source = nights(current, stages, people, settings)
    night_source = _with_superseded(night_source, lake["sleep_session"], versions, people)
    diaries = in_study(current_records("diary_version", lake["sleep_diary"]), people, settings.history == "drop")
    of_diary = night_diary(diaries, people)
    insomnia = insomnia_night(night, of_diary, settings.insomnia)
    use_versions, uses = with_day_answers(
        record_versions("use_version", lake["substance_use"]), current_records("use_version", lake["substance_use"]),
        lake["substance_use"], people, settings.exposure,
    )  # fmt: skip
    in_phase = phases(uses, people, settings, registry)
    return {
        "session_version": versions,
        "diary_version": record_versions("diary_version", lake["sleep_diary"]),
        "response_version": record_versions("response_version", lake["scale_response"]),
        "night_diary": of_diary,
        "use_version": with_same_dose(use_versions, uses, source_files, people, settings.exposure),
        "safety_signal": safety_signals(lake, uses, source_files, people, settings, acknowledged or {}),
        "night": night,
        "night_source": night_source,
        "trend": trend(night, night_source, current, stages, people, settings.trend),
        "insomnia_night": insomnia,
        "insomnia_week": insomnia_week(insomnia, people, settings.insomnia, last_seen),
        "phase": phase_rows(in_phase, people),
        "night_exposure": within_scope(
            night_exposure(with_diary_nights(night, of_diary), uses, people, settings.exposure, registry, diaries),
            "substance_use", "night_date", people,
        ),
        "coverage": coverage(
            night, night_source, uses, _as_made(source_files, exported_at or {}), people, settings.exposure,
            last_seen, log_sources, diaries, in_phase,
        ),
    }  # fmt: skip


def _as_made(source_files: pa.Table, exported_at: Mapping[str, datetime]) -> pa.Table:
    """The exports with the time at which they were made for that of their arrival: of later dates they say nothing."""
    ids, arrived = (source_files[name].to_pylist() for name in ("source_file_id", "arrived_at"))
    made = [min(exported_at.get(sfid, at), at) for sfid, at in zip(ids, arrived, strict=True)]
    column = pa.array(made, pa.timestamp("us", tz="UTC"))
    return source_files.set_column(source_files.schema.get_field_index("arrived_at"), "arrived_at", column)


def _current(sessions: pa.Table, versions: pa.Table) -> pa.Table:
    """The rows of the versions that count; an equal copy in another export is not that version."""
    chosen = versions.filter(versions["is_current"])
    return sessions.filter(pc.is_in(_key(sessions), value_set=_key(chosen).combine_chunks()))


def _key(table: pa.Table) -> pa.ChunkedArray:
    return pa.chunked_array(pc.binary_join_element_wise(table["session_id"], table["source_file_id"], "/"))


def _stages_of(stages: pa.Table, current: pa.Table) -> pa.Table:
    if not len(stages):
        return stages
    encoded = [stages[name].combine_chunks().dictionary_encode() for name in ("session_id", "source_file_id")]
    session, source = (each.indices.to_numpy().astype(np.int64) for each in encoded)
    wanted = [pc.index_in(current[name], value_set=each.dictionary).to_numpy().astype(np.float64)
              for name, each in zip(("session_id", "source_file_id"), encoded, strict=True)]  # fmt: skip
    has_stages = ~(np.isnan(wanted[0]) | np.isnan(wanted[1]))
    width = len(encoded[1].dictionary)
    keys = (wanted[0][has_stages] * width + wanted[1][has_stages]).astype(np.int64)
    member = np.zeros(len(encoded[0].dictionary) * width, dtype=bool)
    member[keys] = True
    return stages.filter(pa.array(member[session * width + source]))


def _with_superseded(
    night_source: pa.Table, sessions: pa.Table, versions: pa.Table, people: Mapping[str, PersonSettings]
) -> pa.Table:
    """Add a row for each session of which no version counts; its night date is that of its start."""
    from ingest._core.clock import night_day
    from ingest.mart.records import by_zone_of, local_clocks, offset_of
    from ingest.mart.session_versions import micros

    lost = versions.filter(pc.invert(pc.is_in(versions["session_id"], value_set=night_source["session_id"])))
    if not len(lost):
        return night_source
    rows: dict[str, list[object]] = {name: [] for name in night_source.schema.names}
    keys = {key: i for i, key in enumerate(_key(sessions).to_pylist())}
    start, end = micros(sessions["start_utc"]), micros(sessions["end_utc"])
    offset, by_zone, reported = offset_of(sessions), by_zone_of(sessions), set()
    for version in lost.to_pylist():
        person = people.get(version["participant_id"])
        if person is None or version["session_id"] in reported:
            continue
        reported.add(version["session_id"])
        at = [keys[f"{version['session_id']}/{version['source_file_id']}"]]
        local = local_clocks(start[at], (start[at], end[at]), offset[at], by_zone[at], person)
        rows["participant_id"].append(version["participant_id"])
        rows["night_date"].append(int(night_day(local, person.day_anchor_hour)[0]))
        rows["session_id"].append(version["session_id"])
        rows["role"].append("superseded")
        rows["reason"].append(version["superseded_reason"])
    dates = pa.array(rows["night_date"], pa.int32()).cast(pa.date32())
    table = to_contract("night_source", pa.table({**rows, "night_date": dates}))
    both = pa.concat_tables([night_source, table])
    return both.sort_by([("participant_id", "ascending"), ("session_id", "ascending")])

"""A synthetic study for the benchmark of the warehouse: people, nights and doses straight into the lake.

Sessions, stages and uses go through the project's own harmonise and lake functions, without files to decode; so the
lake is what it would be, in a fraction of the time. Beside it each person has an export of one night in landing, so
that a run has as many exports to look at as people.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

FIRST = date(2025, 1, 6)
STAGES_PER_NIGHT = 40
DOSES_PER_DAY = 3
SUBSTANCE = "kratom"
_ZONES = ("Europe/Oslo", "America/New_York", "Asia/Bangkok")
_SLEEP, _LOG = "fitbit", "csv_log"
_QUIET_S = 3600


def make(root: Path, people: int, nights: int) -> None:
    """A study of `people` with `nights` nights each in the lake, and one export of the next night in landing."""
    from ingest._core.new_study import make_study_folder
    from ingest._core.study import open_study
    from ingest.harmonise.identity import make_key
    from ingest.harmonise.identity import people as of_roster

    make_study_folder(root)
    rows = [f"b{number:04d},{_ZONES[number % len(_ZONES)]},{FIRST}" for number in range(people)]
    (root / "roster.csv").write_text("\n".join(["participant_ref,time_zone,enrolled_on", *rows]) + "\n")
    settings = (root / "study.yaml").read_text()
    for old, new in (
        ("  substances: []", f"  substances: [{SUBSTANCE}]"),
        ("half_lives_h: {}", f"half_lives_h: {{{SUBSTANCE}: 24}}"),
        ("dose_bands: {}", f"dose_bands: {{{SUBSTANCE}: {{unit: g, edges: [0, 3, 6]}}}}"),
    ):
        settings = settings.replace(old, new)
    (root / "study.yaml").write_text(settings)
    (root / "identity").mkdir(mode=0o700)
    (root / "identity" / "key").write_text("b7" * 32 + "\n")
    study = open_study(root)
    make_key(study)
    for number, person in enumerate(of_roster(study).values()):
        _commit(study.lake, person, number, nights)
        land_night(root, person.ref, number, nights)


def land_night(root: Path, ref: str, number: int, after: int) -> None:
    """An export of one more night, the one `after` so many, in the person's landing folder."""
    from numpy.random import PCG64, Generator

    from ingest.demo.bulk import takeout_files

    day = FIRST + timedelta(days=after)
    ((name, data),) = takeout_files(1, day, Generator(PCG64(number)), 10**12 + number * 10**7 + after * 1000)
    path = root / "landing" / ref / f"export-{day}" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    settled = path.stat().st_mtime - _QUIET_S
    os.utime(path, (settled, settled))


def _commit(lake: Path, person: Any, number: int, nights: int) -> None:
    from numpy.random import PCG64, Generator

    from ingest._core.files import digest
    from ingest.decode.model import Decoded, ExportFacts, Tally
    from ingest.harmonise.sessions import harmonise_sleep
    from ingest.harmonise.uses import harmonise_uses
    from ingest.lake.store import Manifest, commit

    rng = Generator(PCG64(number))
    arrived = datetime(2026, 11, 1, tzinfo=UTC)
    last = (FIRST + timedelta(days=nights)).isoformat()
    for source in (_SLEEP, _LOG):
        facts = ExportFacts(digest("bench", source, str(number)), source, arrived, arrived)
        if source == _SLEEP:
            sessions, stages = _sleep(nights, number, rng)
            tables = harmonise_sleep(Decoded("bench", Tally(nights), sessions, stages), facts, person)
        else:
            uses, read = _uses(nights, rng), nights * DOSES_PER_DAY
            shares = harmonise_uses(uses, Tally(read), facts, {person.ref: person}, person.ref)
            tables = {"substance_use": shares[person.participant_id]}
        kept = len(tables["sleep_session" if source == _SLEEP else "substance_use"])
        counts = {"read": kept, "kept": kept, "duplicate": 0, "ignored": 0, "quarantined": 0}
        commit(lake, Manifest(
            facts.source_file_id, person.participant_id, source, "bench", "1", arrived.isoformat(),
            arrived.isoformat(), "loaded", facts.source_file_id[:16], counts=counts,
            members=[facts.source_file_id], covers=[FIRST.isoformat(), last],
        ), tables)  # fmt: skip


def _sleep(nights: int, number: int, rng: Any) -> tuple[Any, Any]:
    """Nights of STAGES_PER_NIGHT stretches from about 23:00 on, as a decoder gives them."""
    import numpy as np
    import pyarrow as pa

    from ingest.decode.model import decoded_session_schema, decoded_stage_schema

    minute, day = 60_000_000, 86_400_000_000
    begin = (np.datetime64(FIRST) - np.datetime64("1970-01-01")).astype(np.int64) * day + 23 * 60 * minute
    start = begin + np.arange(nights) * day + rng.integers(-60, 60, nights) * minute
    length = rng.integers(4, 22, (nights, STAGES_PER_NIGHT)) * minute
    ends = np.cumsum(length, axis=1)
    words = np.array(["awake", "light", "deep", "rem"])
    codes = np.stack([np.tile([0, 1, 2, 1, 3], STAGES_PER_NIGHT // 5)] * nights)
    of = {name: (length * (codes == code)).sum(axis=1) / minute for code, name in enumerate(words.tolist())}
    columns: dict[str, Any] = {
        "member": [1] * nights,
        "record": np.arange(1, nights + 1),
        "source_record_id": [str(10**10 + number * 10**6 + each) for each in range(nights)],
        "clock": ["local"] * nights,
        "start_clock": pa.array(start, pa.timestamp("us")),
        "end_clock": pa.array(start + ends[:, -1], pa.timestamp("us")),
        "elapsed_us": ends[:, -1],
        "is_main_reported": [True] * nights,
        "detail": ["stages"] * nights,
        "vendor_tst_min": of["light"] + of["deep"] + of["rem"],
        "vendor_awake_min": of["awake"],
        "vendor_efficiency_pct": rng.integers(80, 98, nights).astype(float),
    }
    sessions = _typed(columns, decoded_session_schema())
    stages = pa.table({
        "session": np.repeat(np.arange(nights, dtype=np.int32), STAGES_PER_NIGHT),
        "start_us": (ends - length).ravel(),
        "end_us": ends.ravel(),
        "stage": pa.DictionaryArray.from_arrays(pa.array(codes.ravel().astype(np.int8)), pa.array(words.tolist())),
    }, schema=decoded_stage_schema())  # fmt: skip
    return sessions, stages


def _uses(days: int, rng: Any) -> Any:
    """Exact doses in the morning, in the afternoon and in the evening of each day, as a log decoder gives them."""
    import numpy as np
    import pyarrow as pa

    from ingest.decode.model import decoded_use_schema

    n = days * DOSES_PER_DAY
    minute, day = 60_000_000, 86_400_000_000
    begin = (np.datetime64(FIRST) - np.datetime64("1970-01-01")).astype(np.int64) * day
    hours = np.tile([8, 14, 20], days)
    taken = begin + np.repeat(np.arange(days), DOSES_PER_DAY) * day + (hours * 60 + rng.integers(0, 150, n)) * minute
    columns = {
        "source_row": np.arange(2, n + 2),
        "record_id": [f"d{each}" for each in range(n)],
        "substance_reported": [SUBSTANCE] * n,
        "no_use": [False] * n,
        "taken_clock": pa.array(taken, pa.timestamp("us")),
        "time_precision": ["exact"] * n,
        "amount_reported": rng.integers(2, 12, n) / 2,
        "unit_reported": ["g"] * n,
        "instrument": ["doses"] * n,
    }
    return _typed(columns, decoded_use_schema())


def _typed(columns: dict[str, Any], schema: Any) -> Any:
    """Columns in the schema's order and types; None stands for one without values."""
    import pyarrow as pa

    rows = max(len(values) for values in columns.values() if values is not None)
    given = ((columns.get(field.name), field.type) for field in schema)
    arrays = [pa.nulls(rows, kind) if values is None else pa.array(values, kind) for values, kind in given]
    return pa.table(arrays, schema=schema)

"""A new study folder: a commented study.yaml, an empty roster, a landing folder."""

from __future__ import annotations

from pathlib import Path

from ingest._core.errors import WrongUse
from ingest._core.files import write_bytes
from ingest._core.roster import REF

_SETTINGS = """\
# Settings of this study. Every key may be left out but `study`; the values shown are the defaults.
study: '{name}'

# Zone of participants whose row in roster.csv names none. Their times are then marked `assumed`.
time_zone: UTC

# A landing file is taken up when nothing was written to it for so long.
quiet_seconds: 60

# Nights before enrolment: keep or drop.
history: keep

# Sources in order of preference where one person wears several devices.
source_priority: []

nights:
  merge_gap_min: 60
  nap_max_h: 3
  nap_from: '09:00'
  nap_to: '21:00'
  min_awakening_s: 30
  long_wake_min: 5

exposure:
  # Rows for each of these substances; empty: for those a participant logged.
  substances: []
  # An exposure day runs from this local hour to the same hour of the next day.
  day_start_hour: 5
  usual_nights: 14
  # substance: a day is logged when it has an entry of that substance; any: of any substance.
  logged_by: substance
  # Hours, from a source you can name; without one residual_load stays empty.
  half_lives_h: {{}}
  # Half-open bands of the day's amount, such as kratom: {{unit: g, edges: [0, 3, 6]}}
  dose_bands: {{}}

# What goes with what (`ingest associate`, docs/association.md). Declare beforehand what you look for.
# association:
#   primary: {{substance: kratom, exposure: late_dose, outcome: waso}}
#   dose_sleep: {{outcome: tst, margin: 20}}

phases:
  # Where phases.csv has none for a participant: reported dose-free days in a row before `abstinence`.
  dose_free_days: 7

# Insomnia symptoms: a monitoring aid, not a diagnosis. Presets and their sources: docs/glossary.md.
insomnia:
  diary: lichstein2003
  wearable: wearable_long_wake
  bad_nights: 3
  # Thresholds in place of the presets' own, such as {{sol_min: 25}}.
  thresholds: {{}}

# Substances of the study's own, such as {{code: akuamma, class: other, unit: g, names: [picralima nitida]}}, and what
# it knows of others: {{code: kratom, mg_per_capsule: 500}}. docs/logs.md lists the keys.
substances: []

# Safety signals (docs/glossary.md): say who is told of them and what is done, or write `safety: none`.
# Nobody watches in real time.
# safety:
#   contact: Dr. Lind, +47 00 00 00 00
#   protocol: call the participant the same day

# When `ingest status` and the DAG monitor_insomnia speak up; `null` asks for nothing.
# monitor: {{silent_after_days: 14, no_arrivals_days: 7, unpublished_after_hours: 24}}

# Which day an answer in WHOOP's journal speaks of; without it the journal is refused.
# journals: {{whoop_answers_speak_of: day_before_sleep}}

# Totals of questionnaires beside the nights after them (view night_wide): to how many days, by instrument.
# scales: {{recall_days: {{ISI: 14}}}}

# How a release shows participants, and the notice of 42 CFR Part 2 (docs/releases.md).
# release: {{participant_ids: warehouse, dates: recorded}}
# part2: true
# part2_notice: the words that go with every release

# Encrypt the lake's Parquet files with keys derived from the study's (docs/encryption.md).
# lake_encryption: true

# Tables of aggregates: cells of fewer participants are hidden. Without it none are shown.
# small_cells: {{min_participants: 11, round_to: 5, digits: 3}}

# What the columns of your own logs mean. docs/logs.md has examples; the canonical long log needs no entry.
logs: []
"""
_ROSTER = "participant_ref,time_zone,enrolled_on,withdrew_on,arm,taper_start_on,day_anchor_hour,free_days\n"


def make_study_folder(root: Path) -> None:
    """Write a new study into `root`, which must be new or empty; raises WrongUse where it is not."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise WrongUse(f"{root} is not empty; `ingest init` takes a new or an empty folder")
    name = root.resolve().name
    write_bytes(root / "roster.csv", _ROSTER.encode())
    (root / "landing").mkdir(parents=True, exist_ok=True)
    # Last, because it makes the folder a study.
    write_bytes(root / "study.yaml", _SETTINGS.format(name=name if REF.fullmatch(name) else "study").encode())

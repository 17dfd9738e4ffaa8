"""Writes the demo study's folder."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from ingest._core.errors import WrongUse
from ingest._core.files import write_bytes
from ingest.demo import answers, instruments, model
from ingest.demo.facts import CANARY, DemoFacts, PersonFacts
from ingest.demo.fitbit_takeout import (
    Member,
    old_takeout_zip,
    score_csv,
    sleep_files,
    takeout_zip,
)
from ingest.demo.model import Life, Use
from ingest.demo.people import generator, live, make_person
from ingest.demo.readme import readme

START = date(2026, 1, 5)
UNKNOWN_FOLDER = "X99"
BAD_LOG, LOOSE, DAMAGED, LATE_ENROLLED, NO_ZONE = 1, 3, 4, 7, 9
OLD_LAYOUT = (2, 7)
WITHOUT_DIARY = 2
EVERY_INSTRUMENT = 6
OWN_PHASES = 1
_RUN_IN_DAYS = 14
_ANSWERS = 10_000
_PERSONAL_NAME = f"Magda{CANARY}"
_LOG_HEADER = "participant_ref,substance,taken_at,amount,unit,product_form,route,reason,no_use"
_FORM_HEADER = "Date,Submitted,Did you drink alcohol today?"
_STUDY_YAML = """\
# A synthetic study; README.md says what is in it. Every threshold that is not set here has its default.
study: demo
# For participants without a zone of their own in roster.csv.
time_zone: Europe/Oslo
# Nothing is being copied into this landing folder, so there is nothing to wait for.
quiet_seconds: 0
source_priority:
  - fitbit
# Who is told of a safety signal, and how. Nobody watches in real time.
journals:
  # The journal's answers are keyed by the night that begins; they are about the day before it.
  whoop_answers_speak_of: day_before_sleep
safety:
  contact: the study's nurse
  protocol: called back on the next working day
exposure:
  substances:
    - kratom
    - alcohol
  half_lives_h:
    # Mitragynine, 31.9 to 50.2 h in five adults after 2 g of tea: PMC10353077, table 3.
    kratom: 45.3
  dose_bands:
    # Popular bands of a day's leaf; the sources contradict each other on what they do.
    kratom:
      unit: g
      edges:
        - 1
        - 5
        - 15
association:
  # Declared before anything was looked at: wake in the night, and doses in the three hours before it.
  primary:
    substance: kratom
    exposure: late_dose
    outcome: waso
  dose_sleep:
    outcome: tst
    # Minutes; a smaller difference would not matter to this study.
    margin: 20
  withdrawal_scale: SOWS
small_cells:
  # Nobody has to be protected here: all of these people are made up.
  min_participants: 3
logs:
  # A daily form, for some participants: one answer a day, without time and amount.
  - name: evening_form
    layout: daily
    files: "evening-form*.csv"
    recall_method: end_of_day
    reported_at:
      column: Submitted
      format: "%d/%m/%Y %H:%M"
    date:
      column: Date
      format: "%d/%m/%Y"
    date_means: use_day
    answers:
      # Quoted, because a bare yes or no is a truth value in YAML.
      "yes":
        - "Yes"
      "no":
        - "No"
      none:
        - ""
        - Prefer not to say
    items:
      - substance: alcohol
        answer: Did you drink alcohol today?

  # The consensus sleep diary, filled in each morning by two thirds of the participants.
  - name: morning_diary
    layout: diary
    files: "morning-diary*.csv"
    date:
      column: Date
    date_means: wake_day
    diary:
      into_bed: Into bed
      try_to_sleep: Tried to sleep
      sol_min: Minutes to fall asleep
      awakenings: Times awake
      waso_min: Minutes awake
      final_wake: Woke up
      out_of_bed: Got up
      quality: Quality

  # Four ratings from 0 to 10, each evening, by those who taper.
  - name: evening_ratings
    layout: scale
    files: "evening-ratings*.csv"
    date:
      column: Date
    date_means: use_day
    scale:
      instrument: DAILY
      part_of_day: evening
      items:
        anxiety: Anxiety
        muscle_aches: Muscle aches
        irritability: Irritability
        craving: Craving

  # The Insomnia Severity Index, every two weeks, by all.
  - name: insomnia_severity
    layout: scale
    files: "insomnia-severity*.csv"
    date:
      column: Date
    date_means: use_day
    scale:
      instrument: ISI
      items:
        "1": Q1
        "2": Q2
        "3": Q3
        "4": Q4
        "5": Q5
        "6": Q6
        "7": Q7
"""


def make_study(root: Path, people: int = 12, nights: int = 120, seed: int = 20260301) -> DemoFacts:
    """Write a synthetic study to `root`, a new or an empty folder, and say what is in it.

    The same arguments give the same bytes and modification times. Raises WrongUse where `root` holds
    something already.
    """
    if root.exists() and any(root.iterdir()):
        raise WrongUse(f"{root} is not empty; name a new or an empty folder for the demo study")
    lives = [_life(seed, index, nights) for index in range(people)]
    facts = DemoFacts(
        root=root,
        start=START,
        nights=nights,
        seed=seed,
        late_wake_min=model.LATE_WAKE_MIN,
        late_window_h=model.LATE_WINDOW_H,
        withdrawal_peak_min=model.WITHDRAWAL_PEAK_MIN,
        unknown_folder=UNKNOWN_FOLDER,
        canary=CANARY,
        people=tuple(_write_person(root, life, nights, seed) for life in lives),
    )
    _write_unknown(root, _life(seed, people, 3))
    _put(root, "study.yaml", (_STUDY_YAML + instruments.mappings()).encode(), _exported(nights, 0))
    _put(root, "roster.csv", _roster(facts), _exported(nights, 0))
    if people > OWN_PHASES:
        _put(root, "phases.csv", _phases(facts.people[OWN_PHASES]), _exported(nights, 0))
    _put(root, "README.md", readme(facts).encode(), _exported(nights, 0))
    return facts


def _life(seed: int, index: int, nights: int) -> Life:
    rng = generator(seed, index)
    return live(rng, make_person(rng, index, nights), START, nights)


def _exported(nights: int, index: int) -> datetime:
    """When a person's export was made: a day after the last awakening, a few minutes apart."""
    morning = datetime.combine(START + timedelta(days=nights + 1), time(9), UTC)
    return morning + timedelta(minutes=7 * index)


def _put(root: Path, name: str, data: bytes, modified: datetime) -> str:
    path = root / name
    write_bytes(path, data)
    os.utime(path, (modified.timestamp(), modified.timestamp()))
    return name


def _write_person(root: Path, life: Life, nights: int, seed: int) -> PersonFacts:
    index, home = life.person.index, f"landing/{life.person.ref}/"
    exported, until = _exported(nights, index), START + timedelta(days=nights)
    rows = _log_rows(life)
    _put(root, f"{home}logs/kratom-log.csv", _table(_LOG_HEADER, rows), exported)
    if life.drank:
        form = [f"{day:%d/%m/%Y},{day:%d/%m/%Y} 21:30,{word}" for day, word in life.drank]
        _put(root, f"{home}logs/evening-form.csv", _table(_FORM_HEADER, form), exported)
    answered = _put_answers(root, f"{home}logs/", life, seed, exported)
    if index == EVERY_INSTRUMENT:
        for name, data in instruments.files(START).items():
            _put(root, f"{home}instruments/{name}", data, exported)
    damaged: tuple[str, ...] = ()
    if index == DAMAGED:
        damaged = (_put_cut_short(root, home, life, exported),)
        exported, until = exported - timedelta(days=nights // 4), until - timedelta(days=nights // 4)
    exports, files = _put_exports(root, home, life, exported, until)
    records = sum(data.count(b'"logId" :') for _, data in files)
    return replace(
        _facts(life, until), exports=exports, damaged=damaged, sleep_records=records, log_rows=len(rows),
        diary_rows=answered[0], rating_rows=answered[1], insomnia_rows=answered[2],
    )  # fmt: skip


def _put_answers(root: Path, folder: str, life: Life, seed: int, exported: datetime) -> tuple[int, int, int]:
    """Write diary, ratings and questionnaire; how many rows of each."""
    # A stream of its own, so that nights and doses are the same with and without answers.
    rng = generator(seed, _ANSWERS + life.person.index)
    diary = answers.diary(rng, life) if life.person.index % 3 != WITHOUT_DIARY else []
    ratings = answers.ratings(rng, life) if life.person.taper_from is not None else []
    insomnia = answers.insomnia(rng, life, START)
    for name, header, rows in (
        ("morning-diary.csv", answers.DIARY_HEADER, diary),
        ("evening-ratings.csv", answers.RATINGS_HEADER, ratings),
        ("insomnia-severity.csv", answers.ISI_HEADER, insomnia),
    ):
        if rows:
            _put(root, f"{folder}{name}", _table(header, rows), exported)
    return len(diary), len(ratings), len(insomnia)


def _put_exports(
    root: Path, home: str, life: Life, exported: datetime, until: date
) -> tuple[tuple[str, ...], list[Member]]:
    """Write what the person hands in of the time up to `until`; its paths, and its sleep files."""
    files = sleep_files([log for log in life.sleeps if log.date_of_sleep <= until], START)
    scores = score_csv([score for score in life.scores if score.end.date() <= until])
    if life.person.index == LOOSE:
        loose = [*files, ("sleep_score.csv", scores)]
        return tuple(_put(root, f"{home}fitbit/{name}", data, exported) for name, data in loose), files
    pack = old_takeout_zip if life.person.index in OLD_LAYOUT else takeout_zip
    name = f"{home}takeout-{exported:%Y%m%dT%H%M%SZ}-001.zip"
    return (_put(root, name, pack(files, scores, _PERSONAL_NAME, exported), exported),), files


def _put_cut_short(root: Path, home: str, life: Life, exported: datetime) -> str:
    """The newest zip of this person, of which the last third was lost on the way."""
    whole = takeout_zip(sleep_files(life.sleeps, START), score_csv(life.scores), _PERSONAL_NAME, exported)
    return _put(root, f"{home}takeout-{exported:%Y%m%dT%H%M%SZ}-001.zip", whole[: len(whole) * 2 // 3], exported)


def _write_unknown(root: Path, life: Life) -> None:
    exported = _exported(3, 0)
    data = takeout_zip(sleep_files(life.sleeps, START), score_csv(life.scores), _PERSONAL_NAME, exported)
    _put(root, f"landing/{UNKNOWN_FOLDER}/takeout-{exported:%Y%m%dT%H%M%SZ}-001.zip", data, exported)


def _log_rows(life: Life) -> list[str]:
    uses = sorted(life.uses, key=lambda use: use.taken.isoformat())
    rows = [f"{life.person.ref},{_log_row(use)}" for use in uses]
    if life.person.index == BAD_LOG:
        day = next(use.taken for use in uses if use.substance == "kratom" and not use.no_use)
        rows.append(f"{life.person.ref},kratom,{day:%Y-%m}-32T21:15,2.5,g,powder,oral,energy,")
        rows.append(f"{life.person.ref},kratom,{day:%Y-%m-%d}T12:40,2,handful,powder,oral,energy,")
    return rows


def _log_row(use: Use) -> str:
    if use.no_use:
        return f"{use.substance},{use.taken:%Y-%m-%d},,,,,,yes"
    taken = f"{use.taken:%Y-%m-%dT%H:%M}"
    return f"{use.substance},{taken},{use.amount},{use.unit},{use.product_form},oral,{use.reason},"


def _table(header: str, rows: list[str]) -> bytes:
    return ("\n".join([header, *rows]) + "\n").encode()


def _roster(facts: DemoFacts) -> bytes:
    rows = [
        f"{p.ref},{p.roster_zone or ''},{p.enrolled_on},{'stable' if p.taper_start_on is None else 'taper'},"
        f"{p.taper_start_on or ''}"
        for p in facts.people
    ]
    return _table("participant_ref,time_zone,enrolled_on,arm,taper_start_on", rows)


def _phases(person: PersonFacts) -> bytes:
    last = person.enrolled_on + timedelta(days=_RUN_IN_DAYS - 1)
    rows = [f"{person.ref},run_in,{person.enrolled_on},{last}", f"{person.ref},stable,{last + timedelta(days=1)},"]
    return _table("participant_ref,phase,start_on,end_on", rows)


def _facts(life: Life, until: date) -> PersonFacts:
    """All that does not depend on how the files were written; `until` is the last readable date of sleep."""
    person = life.person
    sleeps = [log for log in life.sleeps if log.date_of_sleep <= until]
    scores = [score for score in life.scores if score.end.date() <= until]
    known = {log.log_id for log in sleeps}
    return PersonFacts(
        ref=person.ref,
        zone=person.zone,
        roster_zone=None if person.index == NO_ZONE else person.zone,
        enrolled_on=START + timedelta(days=7 if person.index == LATE_ENROLLED else 0),
        taper_start_on=None if person.taper_from is None else START + timedelta(days=person.taper_from),
        layout="old" if person.index in OLD_LAYOUT else "loose" if person.index == LOOSE else "new",
        exports=(),
        damaged=(),
        sleep_records=0,
        sessions=len(sleeps),
        mains=sum(log.main for log in sleeps),
        scores=len(scores),
        scores_without_log=sum(score.log_id not in known for score in scores),
        log_rows=0,
        bad_log_rows=2 if person.index == BAD_LOG else 0,
        no_use_rows=sum(use.no_use for use in life.uses),
        form_rows=len(life.drank),
        missing_log_days=len(life.missing_log_days),
        diary_rows=0,
        rating_rows=0,
        insomnia_rows=0,
        every_instrument=person.index == EVERY_INSTRUMENT,
        own_phases=person.index == OWN_PHASES,
        truth=tuple(life.truth),
    )

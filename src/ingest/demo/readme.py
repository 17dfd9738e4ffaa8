"""The README of the demo study, written from the numbers that were used."""

from __future__ import annotations

from ingest.demo import model
from ingest.demo.facts import DemoFacts, PersonFacts

_TEXT = """\
# Demo study

Synthetic from first to last: {people} simulated people, {f.nights} nights each from the evening of {f.start},
random seed {f.seed}. No real person's data were used. Everyone wears a Fitbit, hands in Takeout exports and
keeps a kratom log; some also log alcohol or caffeine, or answer a daily alcohol form. Two thirds fill in a sleep
diary each morning ({diaries} nights), everyone answers the Insomnia Severity Index every two weeks, and those who
taper rate anxiety, muscle aches, irritability and craving each evening.
{tapering} of them taper: from `taper_start_on` the dose falls every {m.TAPER_STEP_DAYS} days by a fifth of
the usual one, and from day {last_step} of the taper on the log says "no use".

## The truth behind it

- **A late dose costs {m.LATE_WAKE_MIN} minutes of sleep.** On a night with a kratom dose in the
  {m.LATE_WINDOW_H} h before bedtime, wake after sleep onset (WASO) is {m.LATE_WAKE_MIN} minutes longer and
  total sleep time (TST) {m.LATE_WAKE_MIN} minutes shorter, however large the dose.
- A late dose is taken {m.LATE_FROM_MIN} to {m.LATE_TO_MIN} minutes before the intended bedtime. Whether
  there is one is drawn at random before the night and without regard to how it goes, so nothing confounds
  it. Other doses are taken 4 h or more before bedtime and do nothing.
- Nothing else of the night depends on doses: not bedtime, not time in bed, not the wake before sleep onset.
  A late dose does not delay sleep onset here.
- WASO without late doses differs from person to person ({m.WAKE_MIN[0]} to {m.WAKE_MIN[1]} minutes on
  average) and from night to night (standard deviation {m.WAKE_SD_MIN} minutes).
- Withdrawal: from the start of a taper WASO grows over {m.WITHDRAWAL_RISE_DAYS} days by up to
  {m.WITHDRAWAL_PEAK_MIN} minutes, then this fades over {m.WITHDRAWAL_FALL_DAYS} days; TST loses as much.
  It has nothing to do with that night's dose.
- The amount of a dose, alcohol, caffeine and naps have no effect on sleep.
- Ratings and questionnaire follow the withdrawal and chance, nothing else. The diary's wake is 30 to 70 % of the
  true one, to five minutes: short wakes are not remembered.

## What is wrong in it on purpose

- {m.MISSING_NIGHTS:.0%} of the nights and {m.MISSING_LOG_DAYS:.0%} of the log days are missing at random,
  some in runs. A missing log day is silence, not "no use": doses of that day were taken.
- {m.NO_USE_DAYS:.0%} of the days before the end of a taper are stated days without kratom.
- Each export is cut into files of thirty days, and the last night of one file stands again in the next, with
  other thirty-day averages.
- `sleep_score.csv` prints local clocks with a false `Z`, and one score has no log.
- Fitbit writes local clocks without offset. In the night when the clock goes forward the log is an hour too
  long and ends in an hour of `unknown`; in the night when it goes back (Melbourne) an hour is in no segment.
- {m.LONG_CLASSIC_SHARE:.1%} of the nights are long ones without stages (`classic`); naps are `classic` too.
- The zips hold members without sleep, some with the made-up surname {f.canary}: it must show nowhere in lake,
  warehouse or logs.
{special}
- `landing/{f.unknown_folder}` belongs to nobody in the roster.

## Who is in it

"Missing" is what was never recorded, "late" counts all nights with a late dose, recorded or not; "logs" are
the sleep logs in readable files, "repeats" those among them that stand twice.

| participant_ref | zone | taper from | nights missing | log days missing | late | logs | repeats |
|---|---|---|---|---|---|---|---|
{rows}
"""


def readme(facts: DemoFacts) -> str:
    """Markdown: what the study is, the truth behind it, and everything that is wrong in it on purpose."""
    return _TEXT.format(
        f=facts,
        m=model,
        people=len(facts.people),
        tapering=sum(person.taper_start_on is not None for person in facts.people),
        diaries=f"{sum(person.diary_rows for person in facts.people):,}",
        last_step=(model.TAPER_STEPS - 1) * model.TAPER_STEP_DAYS,
        special="\n".join(line for person in facts.people for line in _special(person)),
        rows="\n".join(_row(person) for person in facts.people),
    ).replace("\n\n- `landing", "\n- `landing")


def _special(person: PersonFacts) -> list[str]:
    said = {
        "answers every other instrument a little, in the folder `instruments`": person.every_instrument,
        "the phases stand in phases.csv; those of everybody else are derived": person.own_phases,
        "an older Takeout layout, whose paths hold the made-up surname too": person.layout == "old",
        "loose files instead of a zip": person.layout == "loose",
        "the newest zip is cut short; an older, whole one ends earlier": bool(person.damaged),
        "one log row has a date that cannot be, one a unit that nobody knows": person.bad_log_rows > 0,
        "no time zone in the roster, so the study's is assumed": person.roster_zone is None,
        "the first nights lie before enrolment": person.enrolled_on != person.truth[0].night_date,
    }
    return [f"- {person.ref}: {text}." for text, holds in said.items() if holds]


def _row(person: PersonFacts) -> str:
    cells = (
        person.ref,
        person.zone,
        person.taper_start_on or "",
        sum(not night.recorded for night in person.truth),
        person.missing_log_days,
        sum(night.late_dose for night in person.truth),
        person.sleep_records,
        person.repeats,
    )
    return "| " + " | ".join(map(str, cells)) + " |"

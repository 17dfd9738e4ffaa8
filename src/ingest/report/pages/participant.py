"""The page of one participant: months of sleep, doses, scales and symptoms on one axis of time."""

from __future__ import annotations

from datetime import date

from ingest._core.errors import WrongUse
from ingest._core.study import Study
from ingest.harmonise.identity import entries_by_id
from ingest.publish.reading import Reader
from ingest.report.pages import person_words as words
from ingest.report.pages.page import Notice, Page, Section, Text
from ingest.report.pages.person_charts import lanes
from ingest.report.pages.person_data import datasets
from ingest.report.pages.person_rows import Person, read_person

NOBODY_SUCH = "no such participant; give a participant_id (`ingest status` lists them) or a ref of roster.csv"
LABELS = {
    "night_date": "Night of", "no_night": "No night", "phase": "Phase", "source": "Source", "onset": "Asleep",
    "final_wake": "Awake", "tst_min": "TST min", "tst_mean_7d": "TST 7-night mean", "tst_n_7d": "of 7 nights",
    "sol_min": "SOL min (device)", "waso_min": "WASO min (device)", "waso_long_min": "of it in long wakes",
    "se_tib_pct": "SE % (device)", "tib_basis": "Time in bed by", "nap_min": "Naps min",
    "diary_sol_min": "SOL min (diary)", "diary_waso_min": "WASO min (diary)", "diary_tst_min": "TST min (diary)",
    "diary_se_pct": "SE % (diary)", "symptoms": "Bad night", "log": "Log of the day", "flags": "Flags",
}  # fmt: skip
"""Words for the columns of the page's read-out and tables."""


def participant_page(
    study: Study, reader: Reader, participant_id: str, first: date | None = None, last: date | None = None
) -> Page:
    """The page, from what the warehouse holds of the participant; one without nights says so.

    `first` and `last` are night dates that restrict its axis of time. Raises WrongUse for an id that neither roster
    nor warehouse knows.
    """
    person = read_person(study, reader, participant_id, first, last)
    if not person.rows("participant") and participant_id not in entries_by_id(study):
        raise WrongUse(NOBODY_SUCH)
    data = datasets(person)
    dates = person.dates
    sections = [
        Section("", [*words.signals(person), words.figures(person, data)]),
        *([Section("Months on one axis", lanes(person, data), "time")] if dates else [_nothing()]),
        Section(
            "Dose and sleep",
            [*(Text(line) for line in words.what_goes_with_what(person)), *words.bands(person), Text(words.BANDS)],
        ),
        Section("Data quality", [words.quality(person), Text(words.missing(data)), *map(Text, words.absent(data))]),
    ]
    return Page(
        title=participant_id,
        subtitle=_subtitle(person),
        sections=sections,
        data=data if dates else {},
        time={"first": str(dates[0]), "last": str(dates[-1]), "readout": "nights"} if dates else None,
        footer=words.footer(person),
        labels=LABELS,
    )


def _nothing() -> Section:
    return Section("Months", [Notice("No night, no diary and no log of this participant has been published.")])


def _subtitle(person: Person) -> str:
    (entry,) = person.rows("participant") or [{}]
    said = [f"study {person.settings.study}"]
    for name, word in (("arm", "arm"), ("enrolled_on", "enrolled"), ("taper_start_on", "taper from"),
                       ("withdrew_on", "withdrew"), ("time_zone", "home zone")):  # fmt: skip
        if entry.get(name):
            said.append(f"{word} {entry[name]}")
    return ", ".join(said)

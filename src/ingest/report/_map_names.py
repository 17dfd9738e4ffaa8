"""What names of columns usually mean, as data for `ingest map`. Patterns are looked for in the name's words, which
are in lower case and parted by single blanks.
"""

from __future__ import annotations

import re

# ruff: noqa: E501

MAIN_DATE = re.compile(r"\b(taken|took|when|used|use|intake|consumed|ingested|dose|dosed|occurred|eingenommen)\b")
ANY_DATE = re.compile(r"\b(date|day|night|morning|datetime|time|datum|dato|tag|dag|zeit|tid|uhrzeit|tidspunkt)\b")
REPORTED = re.compile(r"\b(timestamp|submitted|submit|reported|completed|complete|created|saved|filled|answered|updated|modified|entered|recorded|sent)\b")  # fmt: skip
INTERVIEW = re.compile(r"\b(interview|interviewed|assessment|assessed|visit)\b")
TLFB = re.compile(r"\b(tlfb|time ?line|follow ?back)\b|tlfb[^a-z]")
DRINKS = re.compile(r"((number|no|n|how|many|of|standard|std|alcoholic) )*drinks?( (yesterday|today|us|uk|au))?")
CODE_OF = re.compile(r"\b(drug|substance|medication|product|unit)$")
NEVER = re.compile(r"\b(birth|birthday|dob|born|geburtsdatum|enrol|enroll|enrolled|consent)\b")
NOTES = re.compile(
    r"\b(notes?|comments?|remarks?|free ?text|other details|bemerkung\w*|kommentar\w*|merknad\w*|describe|description)\b"
)
PARTICIPANT = re.compile(r"\b(participant|subject|patient|pid|proband|deltaker|respondent|study id|ref)\b")
RECORD_ID = re.compile(r"^(id|uuid|guid)$|\b(event|entry|row|response|submission|log|record|dose|intake) (id|uuid|number|no|nr)\b")  # fmt: skip
SUBSTANCE = re.compile(r"\b(substance|substances|drug|drugs|medication|medicine|med|product|compound|what|item|stoff|substanz|medikament|legemiddel|middel)\b")  # fmt: skip
AMOUNT = re.compile(r"\b(amount|dose|dosage|quantity|qty|how much|menge|mengde|dosis|number|count|grams?|mg|g|drinks?|units taken|strength)\b")  # fmt: skip
UNIT = re.compile(r"\b(units?|uom|einheit|enhet)\b")
NO_USE = re.compile(r"\b(no use|none taken|not taken|nothing taken|no intake|nothing used|did not (use|take))\b")
FORM = re.compile(r"\b(form|formulation|preparation|product form|darreichung)\b")
ROUTE = re.compile(r"\b(route|roa|administration)\b")
REASON = re.compile(r"\b(reasons?|why|motive|grund|purpose)\b")
PRECISION = re.compile(r"^time precision$")
RECALL = re.compile(r"^recall( method)?$")
CLOCK = re.compile(r"\b(time|clock|at|hour|uhrzeit|zeit|tid|kl|when)\b")
MITRAGYNINE = {"mitragynine_mg": re.compile(r"\bmitragynine mg\b"),
               "mitragynine_pct": re.compile(r"\bmitragynine (pct|percent|per cent)\b")}  # fmt: skip
UNITS_IN_NAMES = {"g": "g", "gram": "g", "grams": "g", "gramm": "g", "mg": "mg", "milligram": "mg", "milligrams": "mg",
                  "mcg": "ug", "ug": "ug", "microgram": "ug", "micrograms": "ug"}  # fmt: skip
# Kind of cell that the column must hold: clock, minutes, or a number. The first pattern that fits a name counts.
DIARY: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("intended_wake", "clock", re.compile(r"\b(intended|planned|wanted|alarm)\b.*\b(wake|waking|up)\b|\balarm\b")),
    ("out_of_bed", "clock", re.compile(r"\bout of bed\b|\b(got|get|getting) up\b|\brise time\b|\brising\b|\bleft bed\b")),
    ("try_to_sleep", "clock", re.compile(r"\b(try|tried|trying|attempt\w*) to (fall a)?sleep\b|\blights? (out|off)\b|\bsleep attempt\b|\btry sleep\b")),
    ("into_bed", "clock", re.compile(r"\b(in|into|to) bed\b|\bbed ?times?\b|\bleggetid\b|\bbettzeit\b|\bgot in bed\b")),
    ("final_wake", "clock", re.compile(r"\bfinal (wake|awakening)\b|\bwoke( up)?\b|\bwake ?(up )?time\b|\bwake up\b|\bwaketime\b|\bawakening time\b")),
    ("waso_min", "minutes", re.compile(r"\bwaso\b|\b(minutes|mins?|time|long) .*\bawake\b|\bawake\b.*\b(min|mins|minutes|total|long)\b|\bwake after sleep onset\b|\bawakenings? (last|total|min|minutes|duration)\b")),
    ("sol_min", "minutes", re.compile(r"\bsol\b|\bfall(ing)? asleep\b|\b(sleep|onset) latency\b|\blatency\b")),
    ("awakenings", "number", re.compile(r"\bawakenings?\b|\btimes\b.*\b(awake|wake|woke|waking)\b|\bnwak\b|\bn awake\b|\bwakeups\b")),
    ("quality", "number", re.compile(r"\bquality\b|\bqualität\b|\bkvalitet\b")),
)  # fmt: skip
# Items in the published scale, and words by which its columns or file are called.
SCALES: tuple[tuple[str, int, re.Pattern[str]], ...] = (
    ("SOWS_GOSSOP", 10, re.compile(r"gossop|short opiate|sows ?10")),
    ("SOWS", 16, re.compile(r"\bsows\b|subjective opiate")),
    ("COWS", 11, re.compile(r"\bcows\b|clinical opiate")),
    ("ISI", 7, re.compile(r"\bisi\b|insomnia severity")),
    ("AIS", 8, re.compile(r"\bais\b|athens")),
    ("PSQI", 0, re.compile(r"\bpsqi\b|pittsburgh")),
)
TOTAL = re.compile(r"\b(total|sum|score)\b")

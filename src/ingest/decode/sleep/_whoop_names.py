"""WHOOP's column names in the languages an account can have, back into English."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence

# English, then German, Spanish, French, Portuguese as published by people who read such exports. A language
# that is not here is not guessed: a column taken for its neighbour would be a wrong night without a word.
_TRANSLATIONS: tuple[tuple[str, ...], ...] = (
    ("Cycle start time", "Startzeit des Zyklus", "Hora de inicio del ciclo", "Heure de début du cycle",
     "Hora de início do ciclo"),
    ("Cycle end time", "Endzeit des Zyklus", "Hora de finalización del ciclo", "Heure de fin du cycle",
     "Hora de fim do ciclo"),
    ("Cycle timezone", "Zeitzone des Zyklus", "Zona horaria del ciclo", "Fuseau horaire du cycle",
     "Fuso horário do ciclo"),
    ("Sleep onset", "Beginn des Schlafs", "Inicio del sueño", "Premiers signes de sommeil", "Início do sono"),
    ("Wake onset", "Beginn des Aufwachens", "Inicio de la vigilia", "Premiers signes de réveil", "Início da vigília"),
    ("Sleep performance %", "Schlafleistung %", "Calificación del sueño (%)", "Performance Sommeil %",
     "Desempenho do sono %"),
    ("Respiratory rate (rpm)", "Atemfrequenz (Atemzüge/Min.)", "Frecuencia respiratoria (rpm)",
     "Fréquence respiratoire (tr/min)", "Frequência respiratória (rpm)"),
    ("Asleep duration (min)", "Schlafdauer (Min.)", "Duración del sueño (min)", "Durée du sommeil (min)",
     "Duração do sono (min)"),
    ("In bed duration (min)", "Dauer im Bett (Min.)", "Tiempo en la cama (min)", "Temps passé au lit (min)",
     "Duração na cama (min)"),
    ("Light sleep duration (min)", "Dauer des Leichtschlafs (Min.)", "Duración de sueño ligero (min)",
     "Durée du sommeil léger (min)", "Duração do sono leve (min)"),
    ("Deep (SWS) duration (min)", "Dauer des Tiefschlafs (Min.)", "Duración de sueño profundo (SWS) (min)",
     "Durée du sommeil profond (min)", "Duração profundo (Sono) (min)"),
    ("REM duration (min)", "Dauer des REM-Schlafs (Min.)", "Duración de sueño REM (min)",
     "Durée du sommeil paradoxal (min)", "Duração REM (min)"),
    ("Awake duration (min)", "Dauer des Aufwachens (Min.)", "Tempo despierto/a (min)", "Temps d'éveil (min)",
     "Duração de vigília (min)"),
    ("Sleep need (min)", "Schlafbedarf (Min.)", "Sueño necesario (min)", "Besoins en sommeil (min)",
     "Necessidade de sono (min)"),
    ("Sleep debt (min)", "Schlafdefizit (Min.)", "Deuda de sueño (min)", "Dette de sommeil (min)",
     "Débito de sono (min)"),
    ("Sleep efficiency %", "Schlafeffizienz %", "Eficiencia del sueño %", "Efficacité du sommeil %",
     "Eficácia do sono %"),
    ("Sleep consistency %", "Schlafbeständigkeit %", "Regularidad del sueño %", "Régularité du sommeil %",
     "Consistência do sono %"),
    ("Nap", "Nickerchen", "Siesta", "Sieste", "Sesta"),
    ("Recovery score %", "Erholungswert %", "Puntuación de recuperación (%)", "Score de récupération %",
     "Pontuação de recuperação %"),
    ("Resting heart rate (bpm)", "Ruheherzfrequenz (Schläge pro Minute)", "Frecuencia cardíaca en reposo (lpm)",
     "Fréquence cardiaque au repos (bpm)", "Frequência cardíaca em repouso (bpm)"),
    ("Heart rate variability (ms)", "Herzfrequenzvariabilität (ms)", "Variabilidad de la frecuencia cardíaca (ms)",
     "Variabilité de la fréquence cardiaque (ms)", "Variabilidade da frequência cardíaca (ms)"),
    ("Skin temp (celsius)", "Hauttemperatur (Celsius)", "Temp. cutánea (grados centígrados)",
     "Température cutanée (Celsius)", "Temp. da pele (celsius)"),
    ("Blood oxygen %", "Blutsauerstoff %", "Oxígeno en sangre %", "Niveau d'oxygène %", "% de oxigênio no sangue"),
    ("Day Strain", "Tagesbelastung", "Esfuerzo del día", "Effort du jour", "Esforço diário"),
    ("Energy burned (cal)", "Verbrannte Energie (cal)", "Energía quemada (cal)", "Dépense énergétique (cal.)",
     "Energia queimada (cal)"),
    ("Max HR (bpm)", "Max HF (Schläge pro Minute)", "FC máx. (lpm)", "FC max. (bpm)", "FC máx. (bpm)"),
    ("Average HR (bpm)", "Durchschnittliche HF (Schläge pro Minute)", "FC promedio (lpm)", "FC moyenne (bpm)",
     "FC média (bpm)"),
    ("Workout start time", "Startzeit des Trainings", "Hora de inicio del entrenamiento",
     "Heure de début de l'entraînement"),
    ("Activity name", "Name der Aktivität", "Nombre de la actividad", "Nom de l'activité", "Nome da atividade"),
    ("Question text", "Fragetext", "Texto de la pregunta"),
)  # fmt: skip
ENGLISH = frozenset(names[0] for names in _TRANSLATIONS)
_JOURNAL = ("Cycle start time", "Cycle end time", "Cycle timezone", "Question text", "Answered yes", "Notes")


def _plain(name: str) -> str:
    # Exports hold no-break spaces, curly apostrophes and accents as marks of their own.
    text = unicodedata.normalize("NFKC", name).replace("’", "'")
    return " ".join(text.casefold().split())


_KNOWN = {_plain(name): names[0] for names in _TRANSLATIONS for name in names}


def in_english(names: Iterable[str]) -> list[str]:
    """Each column's English name; a name that is not known stays as it is."""
    return [_KNOWN.get(_plain(name), name) for name in names]


def is_journal(names: Sequence[str]) -> bool:
    """True for the columns of a journal: those of a cycle and a question, or six that begin with a cycle's."""
    header = in_english(names)
    if "Sleep onset" in header or not {"Cycle start time", "Cycle timezone"}.issubset(header):
        return False
    return "Question text" in header or (len(header) == len(_JOURNAL) and "Activity name" not in header
                                         and "Workout start time" not in header)  # fmt: skip


def with_journal_header(data: bytes) -> bytes:
    """A journal in UTF-8 with English names; six columns that begin with a cycle's are named by their places."""
    english = with_english_header(data)
    first, end, rest = english.partition(b"\n")
    try:
        names = next(csv.reader([first.decode("utf-8")]), [])
    except (csv.Error, UnicodeDecodeError):
        return data
    by_place = len(names) == len(_JOURNAL) and tuple(names[:3]) == _JOURNAL[:3]
    return ",".join(_JOURNAL).encode() + end + rest if by_place else english


def with_english_header(data: bytes) -> bytes:
    """A table in UTF-8 with the names of its first line in English; as it came where that line is no header."""
    text = data.lstrip(b"\r\n")
    first, end, rest = text.partition(b"\n")
    try:
        names = next(csv.reader([first.decode("utf-8")]), [])
    except (csv.Error, UnicodeDecodeError):
        return data
    header = io.StringIO()
    csv.writer(header, lineterminator="").writerow(in_english(names))
    return header.getvalue().encode() + end + rest

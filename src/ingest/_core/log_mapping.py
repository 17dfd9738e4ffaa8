"""How a study says what the columns of its own logs mean (`logs:` in study.yaml)."""

from __future__ import annotations

import codecs
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Column = Annotated[str, Field(min_length=1, max_length=200)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,40}$")]
DateMeans = Literal["use_day", "report_day", "wake_day", "bed_day"]
PartOfDay = Literal["morning", "midday", "afternoon", "evening", "night"]
CANONICAL = "canonical"
_PROBE = datetime(2024, 11, 28, 21, 30, tzinfo=UTC)
_CLOCK_DIRECTIVES = ("%H", "%I", "%c", "%X")
_LONG_ONLY = (
    "taken_at",
    "substance",
    "substance_is",
    "amount",
    "unit",
    "unit_is",
    "no_use",
    "product_form",
    "route",
    "reason",
    "mitragynine_mg",
    "mitragynine_pct",
    "time_precision",
    "recall",
)
_IN_CALENDARS = ("substance", "substance_is", "unit", "unit_is")
_BOX = re.compile(r"___\w+\Z|\(choice=.*\)( \(\d+\))?\Z")
ITEM_COUNTS = {"ISI": 7, "SOWS": 16, "SOWS_GOSSOP": 10, "COWS": 11, "PSQI": 7, "AIS": 8}
_YAML_WORDS = {True: ("yes", "true", "on"), False: ("no", "false", "off"), None: ("",)}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _is_a_date_format(text: str | None) -> str | None:
    if text is not None:
        try:
            day = datetime.strptime(_PROBE.strftime(text), text).date()  # noqa: DTZ007
        except ValueError as error:
            raise ValueError("is no strptime format; %d/%m/%Y %H:%M:%S is one") from error
        if day != _PROBE.date():
            raise ValueError("must hold year, month and day, like %d/%m/%Y")
    return text


class When(_Strict):
    """A column of dates, clocks or both, and how they are written (strptime; ISO 8601 without `format`)."""

    column: Column
    format: str | None = None

    @field_validator("format")
    @classmethod
    def _says_the_whole_date(cls, text: str | None) -> str | None:
        return _is_a_date_format(text)

    @property
    def may_hold_a_clock(self) -> bool:
        """False if the format has no hours, so that every value is a bare date."""
        return self.format is None or any(word in self.format for word in _CLOCK_DIRECTIVES)


class Answers(_Strict):
    """Words for yes, no, and no answer; compared without case and outer blanks. Any other word is refused.

    An empty cell is no answer unless it is listed otherwise. YAML reads a bare `Yes` as a truth value: such
    an entry stands for yes, true and on, its opposite for no, false and off.
    """

    yes: list[str] = ["yes", "true", "1"]
    no: list[str] = ["no", "false", "0"]
    none: list[str] = [""]

    @model_validator(mode="before")
    @classmethod
    def _undo_yaml_truth_values(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        names: dict[Any, str] = {True: "yes", False: "no", None: "none"}
        return {
            names[key] if key is None or isinstance(key, bool) else key: _as_words(words) for key, words in data.items()
        }

    @model_validator(mode="after")
    def _words_mean_one_thing(self) -> Answers:
        words = [{word.strip().casefold() for word in group} for group in (self.yes, self.no, self.none)]
        if len(set().union(*words)) < sum(map(len, words)):
            raise ValueError("a word stands in two of yes, no and none")
        return self

    def meanings(self) -> dict[str, bool | None]:
        """True, False or None (no answer) by word, in lower case without outer blanks."""
        table: dict[str, bool | None] = {"": None}
        for words, meaning in ((self.none, None), (self.no, False), (self.yes, True)):
            table.update(dict.fromkeys((word.strip().casefold() for word in words), meaning))
        return table


def _as_words(words: Any) -> Any:
    if not isinstance(words, list):
        return words
    found: list[Any] = []
    for word in words:
        if word is None or isinstance(word, bool):
            found.extend(_YAML_WORDS[word])
        else:
            found.append(str(word) if isinstance(word, int | float) else word)
    return found


class Item(_Strict):
    """One substance of a `daily` or `wide` row: a yes/no column, an amount column, or both.

    An amount of 0 is a stated no. `at` (a clock column, HH:MM) or `part_of_day` places the use in the day;
    with neither the use has day precision. Where the date is a `wake_day` or `bed_day`, clocks before the
    start of the exposure day lie after midnight, on the next calendar date.
    """

    substance: Code
    answer: Column | None = None
    amount: Column | None = None
    unit: str | None = None
    at: Column | None = None
    part_of_day: PartOfDay | None = None
    product_form: str | None = None

    @model_validator(mode="after")
    def _something_to_read(self) -> Item:
        if self.answer is None and self.amount is None:
            raise ValueError("needs `answer` or `amount`, the column to read")
        if self.amount is not None and self.unit is None:
            raise ValueError("an amount needs its `unit`")
        if self.at is not None and self.part_of_day is not None:
            raise ValueError("give `at` or `part_of_day`, not both")
        return self


class DiaryColumns(_Strict):
    """Columns of a consensus sleep diary (Carney 2012); a row is a night. Any may be left out.

    Clock columns hold HH:MM, placed across midnight in the order of the night, or full local times. Minutes are
    whole or decimal; `quality` is a number, or a word of `quality_words`.
    """

    into_bed: Column | None = None
    try_to_sleep: Column | None = None
    sol_min: Column | None = None
    awakenings: Column | None = None
    waso_min: Column | None = None
    final_wake: Column | None = None
    out_of_bed: Column | None = None
    intended_wake: Column | None = None
    quality: Column | None = None
    quality_words: dict[str, float] = {}

    def columns(self) -> set[str]:
        """Every column named."""
        return {value for name, value in self if name != "quality_words" and value is not None}

    @model_validator(mode="after")
    def _something_to_read(self) -> DiaryColumns:
        if not self.columns():
            raise ValueError("names no column")
        return self


class ScaleColumns(_Strict):
    """Columns of a questionnaire; a row is one set of answers.

    `items` names the column of each item: `1`, `2`, ... in the order of the published scale; of DAILY any names
    (anxiety, muscle_aches, ...). `labels` gives the number of an answer in words. `total` is a column that holds
    the sum alone, where the items are not there. `low` and `high` bound the items of DAILY, `ranges` single ones
    ([low, high]).
    """

    instrument: Literal["ISI", "SOWS", "SOWS_GOSSOP", "COWS", "PSQI", "AIS", "DAILY"]
    items: dict[str, Column] = {}
    total: Column | None = None
    labels: dict[str, float] = {}
    low: float = 0
    high: float = 10
    ranges: dict[str, tuple[float, float]] = {}
    part_of_day: PartOfDay | None = None

    def range_of(self, item: str) -> tuple[float, float]:
        """Least and greatest answer to an item of DAILY."""
        return self.ranges.get(item, (self.low, self.high))

    def columns(self) -> set[str]:
        """Every column named."""
        return {*self.items.values(), *([self.total] if self.total else [])}

    @field_validator("items", mode="before")
    @classmethod
    def _names_as_text(cls, items: Any) -> Any:
        return {str(name): column for name, column in items.items()} if isinstance(items, dict) else items

    @model_validator(mode="after")
    def _something_to_read(self) -> ScaleColumns:
        if not self.columns():
            raise ValueError("needs `items`, or `total` where only the sum is there")
        if self.instrument == "DAILY" and self.total is not None:
            raise ValueError("DAILY has no total; name its `items`")
        if self.low >= self.high or any(low >= high for low, high in self.ranges.values()):
            raise ValueError("`low` must be below `high`")
        self._check_items()
        return self

    def _check_items(self) -> None:
        count = ITEM_COUNTS.get(self.instrument)
        strange = [name for name in self.items if count and name not in {str(n + 1) for n in range(count)}]
        if strange:
            raise ValueError(f"items of {self.instrument} are called 1 to {count}")
        if self.ranges and (count or not self.ranges.keys() <= self.items.keys()):
            raise ValueError("`ranges` bounds single `items` of DAILY")


class FilledIn(_Strict):
    """A column that says whether the form of the row was filled in, and the words for it, compared without case.

    The words are those of REDCap's `<form>_complete`, raw and in words.
    """

    column: Column
    values: list[str] = ["2", "Complete"]

    @field_validator("values", mode="before")
    @classmethod
    def _values_as_text(cls, values: Any) -> Any:
        return _as_words(values)


class LogMapping(_Strict):
    """What the columns of one kind of log file mean.

    `long`: a row is a use (or a stated no-use). `daily`: a row is a day with a column per substance.
    `wide`: a row is a day with several doses side by side. `calendar`: a row is a substance, or one of a person,
    with a column per day. `diary`: a row is a night of a sleep diary. `scale`: a row is one set of answers to a
    questionnaire. A file belongs to the mapping when its header holds every column named here, and its name
    matches `files` where that is given. Several mappings may read one file if each reads rows of its own (`only`),
    or takes columns of its own from the rows they share. A name that stands in the header more than once is called
    with its number: `Date (2)`.
    """

    name: Code
    layout: Literal["long", "daily", "wide", "calendar", "diary", "scale"]
    files: str | None = Field(None, description="glob on the file's name")
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    sheet: Column | None = Field(None, description="sheet of a workbook (XLSX); else the first that is shown")
    only: dict[Column, list[str]] = Field(
        {}, description="rows that are read, by the words of a column; the others are passed over"
    )
    filled_in: FilledIn | None = Field(None, description="rows of forms that were not filled in are passed over")
    codebook: bool = Field(
        False, description="codes are read from the REDCap data dictionary (CSV) that lies beside the file"
    )
    participant: Column | None = Field(None, description="column of the participant_ref, in landing/_logs")
    record_id: Column | None = Field(None, description="column of an id that each row has of its own")
    record_id_with: list[Column] = Field(
        [], description="further columns that make up the id, where it is unique within them only (REDCap's event)"
    )
    reported_at: When | None = Field(None, description="when the answer was given")
    recall_method: Literal["event", "end_of_day", "tlfb", "clinician"] | None = None
    answers: Answers = Answers()
    units: dict[str, str] = Field({}, description="the log's own words for units, each with the unit it means")
    substances: dict[str, Code] = Field({}, description="the log's own names of substances, each with its code")
    date: When | None = Field(None, description="day of a daily or wide row")
    date_means: DateMeans | None = Field(
        None,
        description="what a day-level date means: `use_day` and `bed_day` the day itself, `wake_day` and "
        "`report_day` the day after the use",
    )
    items: list[Item] = []
    day_format: str | None = Field(
        None, description="calendar: how the header writes its days (strptime; ISO 8601 without)"
    )
    diary: DiaryColumns | None = Field(None, description="diary: the columns of the night")
    scale: ScaleColumns | None = Field(None, description="scale: the instrument and its columns")
    taken_at: When | None = Field(None, description="long: date and clock of the use; a bare date is a day")
    substance: Column | None = None
    substance_is: Code | None = Field(None, description="long, calendar: the substance when no column says it")
    amount: Column | None = None
    unit: Column | None = None
    unit_is: str | None = None
    no_use: Column | None = Field(None, description="long: a column of answers; yes means that there was no use")
    product_form: Column | None = None
    route: Column | None = None
    reason: Column | None = None
    mitragynine_mg: Column | None = None
    mitragynine_pct: Column | None = Field(None, description="long: mitragynine in per cent of the mass")
    time_precision: Column | None = Field(None, description="long: exact, hour, part_of_day or day")
    recall: Column | None = Field(None, description="long: a column of recall methods, row by row")

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, name: str) -> str:
        try:
            "a".encode(name)
            codecs.getincrementaldecoder(name)
        except LookupError as error:
            raise ValueError("is no encoding that Python knows, like utf-8, cp1252 or utf-16") from error
        return name

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name == CANONICAL:
            raise ValueError(f"{CANONICAL} is the log that needs no mapping; choose another name")
        return name

    @field_validator("only", mode="before")
    @classmethod
    def _words_as_text(cls, only: Any) -> Any:
        if not isinstance(only, dict):
            return only
        return {column: _as_words(words if isinstance(words, list) else [words]) for column, words in only.items()}

    @field_validator("day_format")
    @classmethod
    def _says_the_whole_day(cls, text: str | None) -> str | None:
        return _is_a_date_format(text)

    @field_validator("files")
    @classmethod
    def _glob_names_something(cls, glob: str | None) -> str | None:
        if glob == "":
            raise ValueError("is empty; leave it out, or give a glob like evening-form*.csv")
        return glob

    @field_validator("delimiter")
    @classmethod
    def _delimiter_can_part(cls, mark: str) -> str:
        if mark in '"\r\n\0' or not mark.isascii():
            raise ValueError("must be one ASCII character that is no quote and no line end")
        return mark

    @model_validator(mode="after")
    def _layout_is_whole(self) -> LogMapping:
        for name in ("diary", "scale"):
            if (getattr(self, name) is not None) != (self.layout == name):
                raise ValueError(f"`{name}` belongs to layout {name}, which needs it")
        if self.layout == "long":
            self._check_long()
        elif self.layout == "calendar":
            self._check_calendar()
        else:
            self._check_day_level()
        if self.day_format is not None and self.layout != "calendar":
            raise ValueError("`day_format` belongs to layout calendar")
        if self.record_id_with and self.record_id in (None, self.participant):
            raise ValueError("`record_id_with` needs `record_id`, a column of its own")
        self._check_boxes()
        if self.decimal == self.delimiter:
            raise ValueError("`decimal` and `delimiter` are the same character")
        return self

    def _check_long(self) -> None:
        if self.taken_at is None:
            raise ValueError("layout long needs `taken_at`")
        if (self.substance is None) == (self.substance_is is None):
            raise ValueError("layout long needs either `substance` or `substance_is`")
        if self.items or self.date is not None:
            raise ValueError("`date` and `items` belong to the layouts daily and wide")
        if self.unit is not None and self.unit_is is not None:
            raise ValueError("give `unit` or `unit_is`, not both")
        if not self.taken_at.may_hold_a_clock and self.date_means is None:
            raise ValueError("`taken_at` without a clock needs `date_means`: use_day, report_day, ...")

    def _check_calendar(self) -> None:
        if (self.substance is None) == (self.substance_is is None):
            raise ValueError("layout calendar needs either `substance` or `substance_is`")
        if self.unit is not None and self.unit_is is not None:
            raise ValueError("give `unit` or `unit_is`, not both")
        if self.items or self.date is not None:
            raise ValueError("a calendar has its days in the header; `date` and `items` belong to daily and wide")
        if self.date_means is None:
            raise ValueError("a calendar needs `date_means`: use_day, report_day, wake_day or bed_day")
        foreign = [name for name in _LONG_ONLY if name not in _IN_CALENDARS and getattr(self, name) is not None]
        if foreign:
            raise ValueError(f"`{foreign[0]}` belongs to layout long")

    def _check_boxes(self) -> None:
        """REDCap writes 0 into the boxes of a form that nobody filled in, which would read as a stated no."""
        boxes = [item.answer for item in self.items if item.answer is not None and _BOX.search(item.answer)]
        if boxes and not self.only and self.filled_in is None:
            raise ValueError("an item reads a checkbox (`___`, `(choice=...)`), which is 0 or Unchecked in forms that "
                             "were not filled in: say which were with `filled_in` (<form>_complete, Complete?), or "
                             "choose rows with `only`")  # fmt: skip

    def _check_day_level(self) -> None:
        by_items = self.layout in ("daily", "wide")
        if self.date is None or (by_items and not self.items):
            raise ValueError(f"layout {self.layout} needs `date`" + (" and `items`" if by_items else ""))
        if self.items and not by_items:
            raise ValueError("`items` of a log belong to the layouts daily and wide")
        if self.date_means is None:
            raise ValueError("a day-level log needs `date_means`: use_day, report_day, wake_day or bed_day")
        foreign = [name for name in _LONG_ONLY if getattr(self, name) is not None]
        if foreign:
            raise ValueError(f"`{foreign[0]}` belongs to layout long; here every item says it for itself")

    def columns(self) -> set[str]:
        """Every column the mapping names."""
        named = {self.participant, self.record_id, self.substance, self.amount, self.unit, self.no_use}
        named |= {self.product_form, self.route, self.reason, self.mitragynine_mg, self.mitragynine_pct}
        named |= {self.time_precision, self.recall}
        named |= {when.column for when in (self.reported_at, self.date, self.taken_at) if when}
        for item in self.items:
            named |= {item.answer, item.amount, item.at}
        named |= {*self.only, *self.record_id_with, self.filled_in.column if self.filled_in else None}
        for part in (self.diary, self.scale):
            named |= part.columns() if part else set()
        return {column for column in named if column is not None}

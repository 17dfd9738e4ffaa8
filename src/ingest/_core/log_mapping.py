"""How a study says what the columns of its own logs mean (`logs:` in study.yaml)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Column = Annotated[str, Field(min_length=1, max_length=200)]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,40}$")]
DateMeans = Literal["use_day", "report_day", "wake_day", "bed_day"]
PartOfDay = Literal["morning", "midday", "afternoon", "evening", "night"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class When(_Strict):
    """A column of dates, clocks or both, and how they are written (strptime; ISO 8601 without `format`)."""

    column: Column
    format: str | None = None


class Answers(_Strict):
    """Words for yes, no, and no answer; compared without case and outer blanks. Any other word is refused."""

    yes: list[str] = ["yes", "true", "1"]
    no: list[str] = ["no", "false", "0"]
    none: list[str] = [""]


class Item(_Strict):
    """One substance of a `daily` or `wide` row: a yes/no column, an amount column, or both.

    An amount of 0 is a stated no. `at` (a clock column, HH:MM) or `part_of_day` places the use in the day;
    with neither the use has day precision.
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


class LogMapping(_Strict):
    """What the columns of one kind of log file mean.

    `long`: a row is a use (or a stated no-use). `daily`: a row is a day with a column per substance.
    `wide`: a row is a day with several doses side by side. A file belongs to the mapping when its header
    holds every column named here, and its name matches `files` where that is given.
    """

    name: Code
    layout: Literal["long", "daily", "wide"]
    files: str | None = Field(None, description="glob on the file's name")
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    participant: Column | None = Field(None, description="column of the participant_ref, in landing/_logs")
    record_id: Column | None = None
    reported_at: When | None = Field(None, description="when the answer was given")
    recall_method: Literal["event", "end_of_day", "tlfb", "clinician"] | None = None
    answers: Answers = Answers()
    date: When | None = Field(None, description="day of a daily or wide row")
    date_means: DateMeans | None = Field(
        None,
        description="what a day-level date means: `use_day` and `bed_day` the day itself, `wake_day` and "
        "`report_day` the day after the use",
    )
    items: list[Item] = []
    taken_at: When | None = Field(None, description="long: date and clock of the use; a bare date is a day")
    substance: Column | None = None
    substance_is: Code | None = Field(None, description="long: the substance when no column says it")
    amount: Column | None = None
    unit: Column | None = None
    unit_is: str | None = None
    no_use: Column | None = Field(None, description="long: a column of answers; yes means that there was no use")
    product_form: Column | None = None
    route: Column | None = None
    reason: Column | None = None

    @model_validator(mode="after")
    def _layout_is_whole(self) -> LogMapping:
        if self.layout == "long":
            if self.taken_at is None:
                raise ValueError("layout long needs `taken_at`")
            if (self.substance is None) == (self.substance_is is None):
                raise ValueError("layout long needs either `substance` or `substance_is`")
        else:
            if self.date is None or not self.items:
                raise ValueError(f"layout {self.layout} needs `date` and `items`")
            if self.date_means is None:
                raise ValueError("a day-level log needs `date_means`: use_day, report_day, wake_day or bed_day")
        return self

    def columns(self) -> set[str]:
        """Every column the mapping names."""
        named = {self.participant, self.record_id, self.substance, self.amount, self.unit, self.no_use}
        named |= {self.product_form, self.route, self.reason}
        named |= {when.column for when in (self.reported_at, self.date, self.taken_at) if when}
        for item in self.items:
            named |= {item.answer, item.amount, item.at}
        return {column for column in named if column is not None}

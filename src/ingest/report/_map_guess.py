"""From the columns of a log to a mapping of them: layouts by what the header holds, columns by name and cells."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any

from ingest._core.errors import WrongUse
from ingest.report import _map_names as names
from ingest.report._map_answers import Answers
from ingest.report._map_base import NUMBERED, SAY_SUBSTANCE, SAY_UNIT, UNSAID, Proposal, is_report
from ingest.report._map_columns import code_in, code_of, is_amount, is_rating, is_substance, is_words, unit_in
from ingest.report._map_dates import day_format
from ingest.report._map_sample import NO, YES, Column, Sample, calendar_days

LAYOUTS = ("long", "daily", "wide", "calendar", "diary", "scale")
_SAY_CODES = "codes: lay the data dictionary beside the file and ask again, or list them under `substances`"


def propose(sample: Sample, layout: str | None, given: dict[str, Any] | None = None) -> Proposal:
    """The mapping that fits best, with what is `given` of it; raises WrongUse where columns it needs are not there."""
    return _Guess(sample).proposal(layout, given or {})


class _Guess(Answers):
    def proposal(self, layout: str | None, given: dict[str, Any]) -> Proposal:
        stem = "_".join(re.findall(r"[a-z0-9]+", PurePath(self.sample.name).stem.lower()))[:40].strip("_")
        self.mapping = {"name": stem if stem and stem != "canonical" else "my_log", "layout": layout or ""}
        said = {"encoding": self.sample.encoding, "delimiter": self.sample.delimiter, "decimal": self.sample.decimal,
                "sheet": self.sample.sheet}  # fmt: skip
        usual = {"encoding": "utf-8", "delimiter": ",", "decimal": ".", "sheet": None}
        self.mapping |= {key: value for key, value in said.items() if value != usual[key]}
        self.mapping |= given
        if "participant" not in given:
            self._people_and_rows()
        layout = layout or self._layout()
        self.mapping["layout"] = layout
        by_layout = {"long": self._long, "daily": self._daily, "wide": self._wide,
                     "calendar": self._calendar, "diary": self._diary}  # fmt: skip
        by_layout.get(layout, self._scale)()
        self.unused.update((column.name, "not recognised") for column in self.left)
        order = {column.name: place for place, column in enumerate(self.sample.columns)}
        unused = dict(sorted(self.unused.items(), key=lambda each: order[each[0]]))
        return Proposal(self.mapping, self.remarks, unused)

    def _layout(self) -> str:
        tests: dict[str, Callable[[], bool]] = {
            "calendar": lambda: bool(calendar_days(self.sample)),
            "diary": lambda: len(self._diary_columns()) >= 2,
            "scale": lambda: bool(self._items()) or self._total() is not None,
            "long": lambda: any(is_substance(column) for column in self.left),
        }
        sure = next((layout for layout, test in tests.items() if test()), None)
        return sure or self._by_doses()

    def _by_doses(self) -> str:
        dated = [column for column in self.left if column.dates]
        if len(self._doses()) >= 2:
            return "wide"
        drugs = [c for c in self.left if not c.dates and code_of(c) and (c.is_said or c.is_number())]
        dosed = bool(drugs) or any(is_amount(names.AMOUNT, column) for column in self.left)
        ticks = any(column.is_tick for column in self.left)
        if not dosed and not ticks and sum(is_rating(column) for column in self.left) > 1:
            return "scale"
        clocked = any(c.dates and c.dates.has_clock and not names.REPORTED.search(c.words) for c in dated)
        return "daily" if len(drugs) > 1 or ((drugs or (ticks and not dosed)) and not clocked) else "long"

    def _long(self) -> None:
        main = self._take("substance", is_substance)
        self._date("taken_at", clock=True)
        when = next(c for c in self.sample.columns if c.name == self.mapping["taken_at"]["column"])
        if when.dates and when.dates.some_bare:
            self._means()
            if any(column.is_clock for column in self.left):
                self.remarks["taken_at.column"] = (
                    "the clock in a column of its own is not read: join the two to keep it"
                )
        if main is None and "filled_in" in self.mapping:
            main = self._take(
                "substance",
                lambda c: bool(names.CODE_OF.search(c.words)) and not names.UNIT.search(c.words) and not c.dates,
            )
            self.remarks["substance"] = _SAY_CODES
        if main is None:
            self._substance_is()
        unit = self._take("", lambda c: bool(names.UNIT.search(c.words)) and not c.is_number())
        amount = self._take("amount", partial(is_amount, names.AMOUNT))
        amount = amount or self._take("amount", lambda c: c.is_number() and not c.dates and unit_in(c) is not None)
        if unit is not None:
            self.mapping["unit"] = unit.name
        elif amount is not None:
            self.mapping["unit_is"] = unit_in(amount) or UNSAID
            if unit_in(amount) is None:
                self.remarks["unit_is"] = SAY_UNIT
        self._take("no_use", lambda c: bool(names.NO_USE.search(c.words)) and (c.is_answer or c.is_box))
        self._answers([self.mapping.get("no_use")])
        for key, pattern in (("product_form", names.FORM), ("route", names.ROUTE), ("reason", names.REASON),
                             ("time_precision", names.PRECISION), ("recall", names.RECALL)):  # fmt: skip
            self._take(key, partial(is_words, pattern))
        for key, pattern in names.MITRAGYNINE.items():
            self._take(key, partial(is_amount, pattern))

    def _substance_is(self) -> None:
        code = code_in(" ".join([self.sample.name.rpartition(".")[0], *(c.name for c in self.left)]))
        self.mapping["substance_is"] = code or UNSAID
        self.remarks["substance_is"] = "taken from a name; correct it if it is another" if code else SAY_SUBSTANCE

    def _daily(self) -> None:
        self._date("date", clock=False)
        self._means()
        self._recall()
        items: dict[str, dict[str, Any]] = {}
        chosen = [c for c in self.left if c.is_said or c.is_number(self.sample.decimal)]
        chosen = [c for c in chosen if code_of(c)] or [c for c in chosen if c.is_answer or c.is_tick]
        for column in chosen:
            code = code_of(column) or UNSAID
            kind = "answer" if column.is_said else "amount"
            key = code if code != UNSAID and kind not in items.get(code, {}) else f"{code}:{column.name}"
            items.setdefault(key, {"substance": code})[kind] = column.name
            if kind == "amount":
                items[key]["unit"] = unit_in(column) or UNSAID
            self.left.remove(column)
        self._items_of(list(items.values()), "a column of yes and no, or of amounts, for each substance")
        self._answers([item.get("answer") for item in self.mapping["items"]])

    def _calendar(self) -> None:
        days = calendar_days(self.sample)
        if not days:
            raise WrongUse("expected a column for each day, called by its date, for layout calendar, got none; choose "
                           "another --layout")  # fmt: skip
        form, other = day_format([column.name for column in days])
        self.remarks["layout"] = 'an empty day says nothing; where it means none, list "" under the words for no'
        if form is not None:
            self.mapping["day_format"] = form
        if other is not None:
            self.remarks["day_format"] = f"told by the order in which the days lie closest; the other is {other}"
        self._means()
        self.left = [column for column in self.left if column not in days]
        for column in days:
            self.unused.pop(column.name, None)
        told = [column for column in self.left if is_report(column)]
        if told:
            self._when("reported_at", told[0])
        if self._take("substance", is_substance) is None:
            self._substance_is()
        unit = self._take("unit", lambda c: bool(names.UNIT.search(c.words)) and not c.is_number())
        cells = {cell for column in days for cell in column.different}
        if unit is None and any(Column("", [cell]).is_number() and cell not in ("0", "1") for cell in cells):
            self.mapping["unit_is"] = unit_in(Column(self.sample.name, [])) or UNSAID
            self.remarks["unit_is"] = SAY_UNIT
        self._answers([column.name for column in days])

    def _recall(self) -> None:
        """Timeline Follow-Back: called so, or one interview tells of several days."""
        when = self.mapping.get("reported_at")
        told = next((c for c in self.sample.columns if when and c.name == when["column"]), None)
        several = told is not None and len(told.cells) > 1 and 2 * len(told.different) <= len(told.cells)
        called = " ".join([self.sample.name.casefold(), *(c.words for c in self.sample.columns)])
        if names.TLFB.search(called) or (several and told is not None and names.INTERVIEW.search(told.words)):
            self.mapping["recall_method"] = "tlfb"
            self.remarks["recall_method"] = "days that were recalled together; take it out if they were not"

    def _wide(self) -> None:
        self._date("date", clock=False)
        self._means()
        items = []
        for amount, clock in self._doses().values():
            code = code_of(amount) or code_in(self.sample.name.rpartition(".")[0])
            items.append({"substance": code or UNSAID, "amount": amount.name, "unit": unit_in(amount) or UNSAID})
            self.left.remove(amount)
            if clock is not None:
                items[-1]["at"] = clock.name
                self.left.remove(clock)
        self._items_of(items, "numbered columns of amounts, like dose 1 and dose 2")

    def _items_of(self, items: list[dict[str, Any]], expected: str) -> None:
        if not items:
            raise WrongUse(
                f"expected {expected} for layout {self.mapping['layout']}, got none; choose another --layout"
            )
        self.mapping["items"] = items
        for place, item in enumerate(items):
            if item["substance"] == UNSAID:
                self.remarks[f"items.{place}.substance"] = SAY_SUBSTANCE
            if item.get("unit") == UNSAID:
                self.remarks[f"items.{place}.unit"] = SAY_UNIT

    def _doses(self) -> dict[str, tuple[Column, Column | None]]:
        """Amounts whose names differ in a number only, each with the clock of the same number."""
        amounts: dict[str, Column] = {}
        clocks: dict[str, Column] = {}
        for column in self.left:
            match = NUMBERED.fullmatch(column.words)
            if match and not column.is_tick and column.is_clock:
                clocks.setdefault(match[2], column)
            elif (
                match
                and not column.is_tick
                and not column.dates
                and column.is_number()
                and (names.AMOUNT.search(column.words) or code_in(match[1]))
            ):
                amounts.setdefault(match[2], column)
        return {number: (column, clocks.get(number)) for number, column in amounts.items()}

    def _answers(self, columns: list[str | None]) -> None:
        """The words for yes and no, where they are others than those of every mapping."""
        said = {cell for column in self.sample.columns if column.name in columns for cell in column.different
                if cell.casefold() in YES | NO}  # fmt: skip
        if not {word.casefold() for word in said} <= {"yes", "true", "1", "no", "false", "0"}:
            self.mapping["answers"] = {"yes": sorted(word for word in said if word.casefold() in YES),
                                       "no": sorted(word for word in said if word.casefold() in NO)}  # fmt: skip

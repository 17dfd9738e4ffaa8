"""Proposals for sleep diaries and questionnaires: rows that are answers about a night or a state, not uses."""

from __future__ import annotations

import re

from ingest._core.errors import WrongUse
from ingest.report import _map_names as names
from ingest.report._map_base import NUMBERED, Base
from ingest.report._map_columns import holds, is_rating
from ingest.report._map_sample import Column


class Answers(Base):
    """The layouts `diary` and `scale`."""

    def _diary_columns(self) -> dict[str, Column]:
        found: dict[str, Column] = {}
        for column in self.left:
            key = next((k for k, kind, pattern in names.DIARY if k not in found and pattern.search(column.words)
                        and holds(column, kind)), None)  # fmt: skip
            if key is not None:
                found[key] = column
        return found

    def _diary(self) -> None:
        found = self._diary_columns()
        if not found:
            raise WrongUse("expected columns of a sleep diary (into bed, lights out, woke up, ...) for layout diary, "
                           "got none; choose another --layout")  # fmt: skip
        self.left = [column for column in self.left if column not in found.values()]
        self._date("date", clock=False)
        self._means("wake_day")
        order = ("into_bed", "try_to_sleep", "sol_min", "awakenings", "waso_min", "final_wake", "out_of_bed",
                 "intended_wake", "quality")  # fmt: skip
        self.mapping["diary"] = {key: found[key].name for key in order if key in found}

    def _items(self) -> dict[str, Column]:
        """Columns that are numbered 1 to n below one name, n of a known scale, and hold small whole numbers."""
        groups: dict[tuple[str, str], dict[int, Column]] = {}
        for column in self.left:
            match = NUMBERED.fullmatch(column.words)
            if (
                match
                and not column.is_tick
                and not column.dates
                and all(re.fullmatch(r"\d{1,2}(\.0)?", cell) for cell in column.different)
            ):
                groups.setdefault((match[1], match[3]), {})[int(match[2])] = column
        sizes = {size for _, size, _ in names.SCALES if size}
        for group in groups.values():
            if len(group) in sizes and sorted(group) == list(range(1, len(group) + 1)):
                return {str(number): group[number] for number in sorted(group)}
        return {}

    def _total(self) -> Column | None:
        """A column that holds a scale's sum, called by its name."""
        return next((c for c in self.left if c.is_number() and not c.dates
                     and any(p.search(c.words) for _, _, p in names.SCALES)), None)  # fmt: skip

    def _scale(self) -> None:
        items, total = self._items(), self._total()
        called = " ".join([*re.findall(r"[a-z]+|\d+", self.sample.name.lower()), *(c.words for c in self.left)])
        named = [name for name, size, p in names.SCALES if p.search(called) and (not items or size == len(items))]
        self.mapping["scale"] = scale = {"instrument": named[0] if named else ""}
        if items:
            scale["instrument"] = named[0] if named else next(n for n, size, _ in names.SCALES if size == len(items))
            if not named:
                self.remarks["scale.instrument"] = f"guessed from {len(items)} items alone; say which scale it is"
            scale["items"] = {number: column.name for number, column in items.items()}  # type: ignore[assignment]
            used = list(items.values())
        elif total is not None and named:
            scale["total"] = total.name
            used = [total]
        else:
            used = [column for column in self.left if is_rating(column)]
            if not used:
                raise WrongUse("expected answers of 0 to 10 for layout scale, got none; choose another --layout")
            scale["instrument"] = "DAILY"
            self.remarks["scale.items"] = "take out what was no rating from 0 to 10, or say its `low` and `high`"
            scale["items"] = {re.sub(r"\W+", "_", c.words): c.name for c in used}  # type: ignore[assignment]
        self.left = [column for column in self.left if column not in used]
        self._date("date", clock=False)
        self._means()

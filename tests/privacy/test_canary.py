"""A name that is planted in every field of every format, one after the other, passes no decoder."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

import pyarrow as pa
import pytest

from exports import PEOPLE, Came, Export, exports, taken
from ingest._core.pseudonyms import keyed
from ingest.decode.registry import decoders
from plants import PERSONAL, Plant, places
from tries import SOAK

WORD = "Zebrowskaxyq"
FEW = 25
"""Places of a source that are tried besides those where a vendor may add fields; all of them under `make soak`."""


@dataclass(frozen=True)
class Planted:
    """A place of a fixture's file, and what puts a word there."""

    export: Export
    name: str
    place: str
    plant: Plant

    def with_word(self) -> Export:
        """The export with the word."""
        return self.export.with_file(self.name, self.plant(WORD))


def every_place() -> Iterator[Planted]:
    """Each field of each source once, wherever it first stands."""
    seen = set()
    for export in exports():
        for name, data in export.files.items():
            for place, plant in places(name, data):
                key = (export.source, PurePath(name).suffix, place)
                if key not in seen:
                    seen.add(key)
                    yield Planted(export, name, place, plant)


PLACES = list(every_place())


def chosen(source: str) -> list[Planted]:
    """Those where a vendor may add fields, and some of the others, the same in each run."""
    added = [
        each for each in PLACES if each.export.source == source and each.place.endswith(("holds more", "one more"))
    ]
    rest = [each for each in PLACES if each.export.source == source and each not in added]
    return added + (rest if SOAK else random.Random(source).sample(rest, min(FEW, len(rest))))


def said(came: Came) -> str:
    """All that goes on from an export: cells of text, what is told of it, counts by name."""
    found = []
    for name, tables in came.tables.items():
        for table in tables:
            found += [f"{name}.{column} {pa.array(table[column].unique()).to_pylist()}" for column in table.column_names
                      if pa.types.is_string(table[column].type)]  # fmt: skip
    for tally in came.tallies:
        found.append(repr((tally.refusals, tally.classes, tally.ignored)))
    return "\n".join([*found, *map(str, came.refused)])


@pytest.mark.parametrize("source", [each.source for each in decoders()])
@pytest.mark.fault(67)
def test_what_a_field_holds_besides_goes_nowhere(source: str) -> None:
    fates: Counter[str] = Counter()
    for each in chosen(source):
        came = taken(each.with_word())
        assert WORD.lower() not in said(came).lower(), (each.export.situation, each.name, each.place)
        fates["kept" if came.tables else "refused"] += 1
    assert fates["kept"]


def test_every_decoder_has_files_with_fields_to_plant_in() -> None:
    """A new decoder is among them as soon as it has a fixture; one without fixture, or of a kind of file in which
    nothing can be planted, fails here.
    """
    found = Counter(each.export.source for each in PLACES)
    assert set(found) == {each.source for each in decoders()}
    assert min(found.values()) >= len(PERSONAL)


@pytest.mark.parametrize("source", [each.source for each in decoders()])
def test_every_kind_of_file_of_a_source_is_planted(source: str) -> None:
    kinds = {PurePath(name).suffix.lower() for export in exports() if export.source == source
             for name, data in export.files.items() if data.strip()}  # fmt: skip
    planted = {PurePath(each.name).suffix.lower() for each in PLACES if each.export.source == source}
    assert kinds - planted <= {".gpx", ".txt"}, "files that are counted by their ending and never opened"
    assert planted


def test_an_id_of_the_source_is_shown_where_nobody_could_have_chosen_it() -> None:
    (export,) = (each for each in exports() if (each.source, each.situation) == ("jawbone", "answer-with-titles"))
    ((name, data),) = export.files.items()
    given = re.search(rb'"xid": "([^"]+)"', data)
    assert given is not None
    shown = {}
    for xid in (b"0b1c2d3e-4661-442f-a9a4-f160dd7afae8", b"51a4189acf12e53f81000001", b"4711", b"alma@example.org"):
        came = taken(export.with_file(name, data.replace(given[0], b'"xid": "' + xid + b'"')))
        shown[xid.decode()] = came.tables["sleep_session"][0]["source_record_id"].to_pylist()
    hashed = keyed(PEOPLE["P01"].secret.encode(), "record", "jawbone", "alma@example.org")[:20]
    assert [ids[0] for ids in shown.values()] == [*list(shown)[:3], hashed]


def test_the_word_stands_where_it_was_put() -> None:
    """Not everything that is planted can be seen as bytes: a workbook is packed."""
    for each in random.Random(1).sample(PLACES, 200):
        data = each.with_word().files[each.name]
        spelled = {WORD.encode(code) for code in ("utf-8", "utf-16-le", "utf-16-be")}
        assert data[:2] == b"PK" or any(word in data for word in spelled), (each.export.situation, each.place)

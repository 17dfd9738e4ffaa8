"""Whose the rows of a log are, and each participant's share of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from ingest._core.contract import to_contract
from ingest.decode.model import ExportFacts
from ingest.harmonise._codes import Codes, spread, whole, words_of
from ingest.harmonise.person import Person


def owners(refs: pa.ChunkedArray, participants: Mapping[str, Person], only: str | None) -> tuple[list[Person], Codes]:
    """The people there are, and the number of each row's; -1 for a row of nobody known.

    `refs` is the column participant_ref; `participants` are known by ref. `only` is the ref of the folder the log
    lay in, to whom rows without a ref belong; where it is None every row must name its participant.
    """
    refs_there = words_of(refs)
    names = [name or "" for name in refs_there.values]
    if only is not None:
        people = [participants[only]]
        number = [0 if name in ("", only) else -1 for name in names]
    else:
        people = [participants[name] for name in names if name in participants]
        places = {person.ref: i for i, person in enumerate(people)}
        number = [places.get(name, -1) for name in names]
    return people, np.array(number, dtype=np.int64)[refs_there.codes]


def strangers(refs: pa.ChunkedArray, who: Codes, only: str | None) -> list[tuple[Codes, str, str]]:
    """Rows of nobody known, by place: the rows, the rule and the detail of their lines in the quarantine."""
    rows = np.flatnonzero(who < 0)
    if only is not None:
        detail = (
            "expected rows of the participant whose folder this is, got another participant_ref; move the "
            "log to landing/_logs, or correct the row"
        )
        return [(rows, "belongs_to_another_participant", detail)]
    unnamed = refs.is_null().to_numpy()[rows]
    wanted, action = "expected a participant_ref of roster.csv", "correct the row, or add the ref to roster.csv"
    return [
        (rows[unnamed], "unknown_participant", f"{wanted}, got none; {action}"),
        (rows[~unnamed], "unknown_participant", f"{wanted}, got one it does not have; {action}"),
    ]


def shares(name: str, table: pa.Table, who: Codes, people: Sequence[Person], facts: ExportFacts) -> dict[str, pa.Table]:
    """Rows of the lake's table `name`, by participant_id: those of `table`, which is ordered by `who`, with what is
    the same in all rows of a participant.
    """
    edges = np.searchsorted(who, np.arange(len(people) + 1))
    columns = {column: _in_order(whole(table[column])) for column in table.column_names}
    found = {}
    for i, person in sorted(enumerate(people), key=lambda each: each[1].participant_id):
        begin, size = int(edges[i]), int(edges[i + 1] - edges[i])
        if size:
            same = {
                "participant_id": _constant(person.participant_id, size),
                "source_file_id": _constant(facts.source_file_id, size),
                "exported_at": pa.repeat(pa.scalar(facts.exported_at, pa.timestamp("us", tz="UTC")), size),
            }
            own = {column: _own_words(values.slice(begin, size)) for column, values in columns.items()}
            found[person.participant_id] = to_contract(name, pa.table(own | same))
    return found


def _constant(text: str, size: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(np.zeros(size, dtype=np.int32), pa.array([text]))


def _in_order(column: pa.Array) -> pa.Array:
    """A dictionary's words in the order of the alphabet, so that it does not tell of other rows; others as it is."""
    if not pa.types.is_dictionary(column.type):
        return column
    words = column.dictionary.to_pylist()
    return column if words == sorted(set(words)) else spread(words, column.indices)


def _own_words(column: pa.Array) -> pa.Array:
    """The column with those words of its dictionary alone that its rows have: the others may be somebody else's."""
    if not pa.types.is_dictionary(column.type):
        return column
    there = np.bincount(column.indices.drop_null().to_numpy(), minlength=len(column.dictionary)) > 0
    if there.all():
        return column
    places = pa.array((np.cumsum(there) - 1).astype(np.int32))
    return pa.DictionaryArray.from_arrays(places.take(column.indices), column.dictionary.filter(pa.array(there)))

"""Arrow tables of the contract from chunks of numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest._core.contract import arrow_schema
from ingest.mart._log import Codes, Mask


class Columns:
    """Collects chunks of every column of `table`; words stand as codes into one list, -1 is NULL."""

    def __init__(self, table: str) -> None:
        self._schema = arrow_schema(table)
        self._chunks: dict[str, list[NDArray[Any]]] = {name: [] for name in self._schema.names}
        self._masks: dict[str, list[Mask]] = {name: [] for name in self._schema.names}
        self._words: dict[str, int] = {}

    def code(self, word: str) -> int:
        """Code of one word."""
        return self._words.setdefault(word, len(self._words))

    def codes(self, words: tuple[str, ...]) -> Codes:
        """Codes of several words; an index of -1 into the result gives -1."""
        return np.array([*(self.code(word) for word in words), -1], dtype=np.int64)

    def add(self, name: str, values: NDArray[Any], valid: Mask | None = None) -> None:
        """A chunk of column `name`; NULL where `valid` is False. Every column needs the same chunks."""
        self._chunks[name].append(values)
        self._masks[name].append(np.ones(len(values), dtype=bool) if valid is None else valid)

    def table(self) -> pa.Table:
        """All chunks, in the order they were added, with the contract's types."""
        if not self._chunks[self._schema.names[0]]:
            return self._schema.empty_table()
        words = pa.array(list(self._words), pa.string())
        columns = [self._column(column, words) for column in self._schema]
        return pa.table(columns, schema=self._schema)

    def _column(self, column: pa.Field, words: pa.Array) -> pa.Array:
        values = np.concatenate(self._chunks[column.name])
        valid = np.concatenate(self._masks[column.name])
        if pa.types.is_string(column.type):
            return words.take(pa.array(values.astype(np.int32), mask=~valid | (values < 0)))
        if pa.types.is_date(column.type):
            return pa.array(values.astype(np.int32), mask=~valid).cast(column.type)
        return pa.array(values, mask=~valid).cast(column.type)

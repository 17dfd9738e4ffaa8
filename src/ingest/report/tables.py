"""A study's warehouse for notebooks: a method for each table and view, and SQL."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import pyarrow as pa

from ingest._core import contract
from ingest._core.errors import WrongUse
from ingest._core.study import Study, open_study
from ingest.lake.parquet import key_of
from ingest.publish import contents
from ingest.publish.query import answer
from ingest.publish.reading import opened

if TYPE_CHECKING:
    import pandas as pd


class TableMethod(Protocol):
    """How a table's method is called."""

    @overload
    def __call__(self, columns: Iterable[str] | None = None, *, participants: Iterable[str] | None = None,
                 where: str | None = None, as_arrow: Literal[False] = False) -> pd.DataFrame: ...  # fmt: skip

    @overload
    def __call__(self, columns: Iterable[str] | None = None, *, participants: Iterable[str] | None = None,
                 where: str | None = None, as_arrow: Literal[True]) -> pa.Table: ...  # fmt: skip

    def __call__(self, columns: Iterable[str] | None = None, *, participants: Iterable[str] | None = None,
                 where: str | None = None, as_arrow: bool = False) -> Any: ...  # fmt: skip


class StudyTables:
    """A study whose warehouse is read, on either engine; nothing can be written through it.

    Every table and view of the warehouse is a method of its name: `study.night()`. It gives a pandas DataFrame, or
    with `as_arrow=True` an Arrow table, in the order of the table's key:

    `columns`        only these, in this order
    `participants`   only rows of these participant_ids
    `where`          only rows for which this condition (SQL) holds

    Instants are timestamps in UTC, local clocks and dates timestamps without a zone, whole numbers `Int64`, truth
    values `boolean`; what is not known is NA, or NaN in floating-point columns. In Arrow dates are dates.
    Every call reads the warehouse as it is then. Raises WrongUse for a column or a condition that cannot be and where
    there is no warehouse yet, Transient where it cannot be reached.
    """

    def __init__(self, study: Study) -> None:
        self._study = study

    def __repr__(self) -> str:
        return f"StudyTables({self._study.settings.study!r})"

    if TYPE_CHECKING:

        def __getattr__(self, table: str) -> TableMethod: ...

    def lake_key(self, table: str) -> bytes:
        """The key of a table's files in an encrypted lake, 32 bytes, for readers of Parquet (docs/encryption.md).

        Raises WrongUse where the lake has no such table, Terminal where the study's key is not at hand.
        """
        known = [*contract.tables(contract.LAKE), *contract.tables(contract.MART), *contract.tables(contract.COHORT)]
        if table not in known:
            raise WrongUse(f"the lake has no table {table!r}{contents.nearest(table, known)}")
        return key_of(self._study.lake, table)

    def tables(self) -> dict[str, str]:
        """What a row of each table and view is, by name."""
        return {name: str(contract.schemas()[name]["description"]) for name in contents.relations()}

    @overload
    def query(self, sql: str, *, as_arrow: Literal[False] = False) -> pd.DataFrame: ...

    @overload
    def query(self, sql: str, *, as_arrow: Literal[True]) -> pa.Table: ...

    def query(self, sql: str, *, as_arrow: bool = False) -> pd.DataFrame | pa.Table:
        """What one SELECT gives; raises WrongUse for a statement that is wrong, writes, or reads elsewhere."""
        found = answer(self._study, sql)
        return found if as_arrow else to_pandas(found)


def study_tables(path: Path) -> StudyTables:
    """The study in the folder `path`; raises WrongUse where there is none or its files cannot be used."""
    return StudyTables(open_study(path))


def to_pandas(found: pa.Table) -> pd.DataFrame:
    """An Arrow table as pandas, with the types that StudyTables says."""
    import pandas as pd

    types = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype(), pa.bool_(): pd.BooleanDtype()}
    return found.to_pandas(types_mapper=types.get, date_as_object=False)


def _read(
    study: Study, table: str, columns: Iterable[str] | None, participants: Iterable[str] | None, where: str | None
) -> pa.Table:
    if isinstance(columns, str) or isinstance(participants, str):
        raise WrongUse("`columns` and `participants` are lists of names")
    with opened(study) as reader:
        chosen = contents.fields(reader, study.settings, table)
        if columns is not None:
            chosen = contents.pick(chosen, list(columns), table)
        people = None if participants is None else sorted(set(participants))
        schema, batches = contents.rows(reader, chosen, table, people, where)
        return pa.Table.from_batches(batches, schema)


def _method(table: str) -> Any:
    def read(
        self: StudyTables,
        columns: Iterable[str] | None = None,
        *,
        participants: Iterable[str] | None = None,
        where: str | None = None,
        as_arrow: bool = False,
    ) -> Any:
        found = _read(self._study, table, columns, participants, where)
        return found if as_arrow else to_pandas(found)

    read.__name__ = table
    read.__qualname__ = f"StudyTables.{table}"
    names = ", ".join(field["name"] for field in contract.fields(table, contract.PUBLISH))
    read.__doc__ = f"{contract.schemas()[table]['description']}\n\nColumns: {names}."
    return read


for _name in contents.relations():
    setattr(StudyTables, _name, _method(_name))

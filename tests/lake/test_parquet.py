"""Files of the lake, plain and encrypted: known by their rows; no damage and no strange key gets through."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.ciphers import Cipher
from ingest._core.contract import LAKE, MART, arrow_schema, tables
from ingest._core.errors import Terminal
from ingest._core.hashing import rows_hash
from ingest._core.places import Place, cipher_of, with_cipher
from ingest.lake.parquet import Unreadable, coded, decoded, decoded_if_named, is_encrypted, is_named, key_of, named
from tries import SOAK, tries

KEY = "5a" * 32


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lake that is encrypted."""
    return lake_of(tmp_path_factory.mktemp("study"), KEY)


def lake_of(root: Path, key: str, encrypts: bool = True) -> Place:
    (root / "identity").mkdir(exist_ok=True)
    (root / "identity" / "key").write_text(key)
    return with_cipher(root / "lake", Cipher(root / "identity", encrypts))


def _values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_string(kind):
        return st.text(max_size=6)
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_floating(kind):
        return st.floats(allow_nan=False)
    if pa.types.is_integer(kind):
        return st.integers(-(2**63), 2**63 - 1)
    if pa.types.is_date(kind):
        return st.dates(date(1970, 1, 2), date(2100, 1, 1))
    instants = st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1))
    return instants if kind.tz is None else instants.map(lambda at: at.replace(tzinfo=UTC))


@st.composite
def some_rows(draw: st.DrawFn) -> tuple[str, pa.Table]:
    """A table's name, and rows that its schema allows."""
    table = draw(st.sampled_from(sorted({*tables(LAKE), *tables(MART)})))
    schema, count = arrow_schema(table), draw(st.integers(0, 5))
    cells = [st.lists(_values(f.type) if not f.nullable else st.none() | _values(f.type), min_size=count,
                      max_size=count) for f in schema]  # fmt: skip
    return table, pa.table([pa.array(draw(each), f.type) for each, f in zip(cells, schema, strict=True)], schema=schema)


@settings(max_examples=tries(15), deadline=None)
@given(some_rows(), st.data())
def test_the_hash_of_rows_is_that_of_what_is_read_again(
    lake: Place, of: tuple[str, pa.Table], data: st.DataObject
) -> None:
    table, rows = of
    for encrypts in (True, False):
        place = with_cipher(Path(str(lake)), Cipher(lake_identity(lake), encrypts))
        file = coded(place, table, rows)
        assert is_encrypted(file) is encrypts
        assert decoded(place, table, file).to_pylist() == rows.to_pylist()
        assert is_named(place, table, file, f"rows:{rows_hash(rows)}")
        assert is_named(place, table, file, named(rows, file))
        assert coded(place, table, rows, file) == file
    # However they lie in memory: in chunks, as a part of more, as a dictionary.
    cut = data.draw(st.integers(0, len(rows)))
    twice = pa.concat_tables([rows, rows])
    assert rows_hash(pa.concat_tables([twice.slice(0, cut), twice.slice(cut, len(rows) - cut)])) == rows_hash(rows)
    assert rows_hash(twice.slice(len(rows))) == rows_hash(rows)
    words = [name for name in rows.column_names if pa.types.is_string(rows.schema.field(name).type)]
    coded_words = [rows[name].dictionary_encode() if name in words else rows[name] for name in rows.column_names]
    assert rows_hash(pa.table(coded_words, names=rows.column_names)) == rows_hash(rows)


def lake_identity(lake: Place) -> Path:
    return Path(str(lake)).parent / "identity"


@settings(max_examples=tries(30), deadline=None)
@given(some_rows(), st.data())
def test_other_rows_have_another_hash(of: tuple[str, pa.Table], data: st.DataObject) -> None:
    rows = of[1]
    assert rows_hash(rows) != rows_hash(pa.concat_tables([rows, rows])) or not len(rows)
    if len(rows):
        at, name = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.sampled_from(rows.column_names))
        cells = rows[name].to_pylist()
        changed = data.draw(_values(rows.schema.field(name).type).filter(lambda cell: repr(cell) != repr(cells[at])))
        cells[at] = changed
        place = rows.column_names.index(name)
        assert rows_hash(rows.set_column(place, name, pa.array(cells, rows.schema.field(name).type))) != rows_hash(rows)


def test_null_empty_and_zero_differ() -> None:
    for kind, empty in ((pa.string(), ""), (pa.int64(), 0), (pa.float64(), 0.0), (pa.bool_(), False)):
        assert rows_hash(pa.table({"a": pa.array([None], kind)})) != rows_hash(pa.table({"a": pa.array([empty], kind)}))
    assert rows_hash(pa.table({"a": ["ab", "c"]})) != rows_hash(pa.table({"a": ["a", "bc"]}))


def _uses(participant_id: str) -> pa.Table:
    cells = dict.fromkeys(("substance", "use_id", "source_file_id"), "kratom") | {"participant_id": participant_id}
    return pa.Table.from_pylist(
        [cells] * 3, schema=pa.schema([f.with_nullable(True) for f in arrow_schema("substance_use")])
    )


def test_no_changed_byte_passes(lake: Place) -> None:
    rows = _uses("p1")
    file = coded(lake, "substance_use", rows)
    hashed = named(rows, file)
    assert decoded_if_named(lake, "substance_use", file, hashed) is not None
    for at in {*range(0, len(file), 1 if SOAK else 101), *range(12), *range(len(file) - 12, len(file))}:
        bent = bytearray(file)
        bent[at] ^= 1 << at % 8
        assert decoded_if_named(lake, "substance_use", bytes(bent), hashed) is None, at
    for cut in (0, 3, 4, 12, len(file) - 1):
        assert decoded_if_named(lake, "substance_use", file[:cut], hashed) is None


def test_a_file_opens_with_the_key_of_its_table_alone(lake: Place, tmp_path: Path) -> None:
    file = coded(lake, "substance_use", _uses("p1"))
    path = tmp_path / "uses.parquet"
    path.write_bytes(file)
    with pytest.raises(Unreadable, match="another key"):
        decoded(lake, "sleep_diary", file)
    with pytest.raises(Unreadable):
        decoded(lake_of(tmp_path, "c3" * 32), "substance_use", file)
    with pytest.raises(Terminal, match="no key is at hand"):
        decoded(tmp_path / "lake", "substance_use", file)
    with pytest.raises(OSError, match="encrypted"):
        pq.read_table(path)
    sql = "SELECT count(*) FROM read_parquet(?, encryption_config = {footer_key_value: ?::BLOB})"
    with duckdb.connect() as connection:
        with pytest.raises(duckdb.Error, match="encrypted"):
            connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        with pytest.raises(duckdb.Error, match="tag"):
            connection.execute(sql, [str(path), key_of(lake, "sleep_diary")])
        assert connection.execute(sql, [str(path), key_of(lake, "substance_use")]).fetchall() == [(3,)]


def test_each_writing_differs_and_another_persons_file_is_none(lake: Place) -> None:
    one, again, other = (coded(lake, "substance_use", _uses(each)) for each in ("p1", "p1", "p2"))
    assert one != again
    assert is_named(lake, "substance_use", again, named(_uses("p1"), one))
    assert not is_named(lake, "substance_use", other, named(_uses("p1"), one))


def test_a_lake_keeps_what_opens_it_where_it_is_copied_or_sent(lake: Place) -> None:
    for again in (pickle.loads(pickle.dumps(lake)), copy.deepcopy(lake)):
        assert again == lake
        assert cipher_of(again) == cipher_of(lake) is not None
    below = lake / "night"
    assert pickle.loads(pickle.dumps(below)) == below


def test_keys_are_those_of_hkdf(lake: Place) -> None:
    import hmac

    # RFC 5869, 2.3: T(1) = HMAC-Hash(PRK, "" | info | 0x01)
    wanted = hmac.digest(bytes.fromhex(KEY), b"sleep-ingest lake parquet table night\x01", "sha256")
    assert key_of(lake, "night") == wanted
    assert len({key_of(lake, table) for table in (*tables(LAKE), *tables(MART))}) == len({*tables(LAKE), *tables(MART)})

"""The door to JSON: whatever a file holds, records or a reason, in bounded time."""

from __future__ import annotations

import io
import json
from time import process_time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest._core.errors import Refused
from ingest.decode.json_records import Found, JsonRecords
from ingest.decode.model import Member, Tally


class Part(msgspec.Struct, gc=False):
    a: int


class Night(msgspec.Struct, gc=False):
    a: int
    b: str = ""
    c: float | None = None
    parts: list[Part] = []


class Loose(msgspec.Struct, gc=False):
    a: object
    b: object = None
    c: object = None
    parts: object = None


LOOSE = JsonRecords(Loose, "a night")
RECORDS = JsonRecords(Night, "a night", under=("sleep", "data"), single=True)
LISTS = JsonRecords(Night, "a night")


def read(data: bytes, records: JsonRecords[Night] = RECORDS) -> tuple[list[Found[Night]], Tally]:
    tally = Tally()
    found = records.read(Member(1, "x.json", "sleep", lambda: io.BytesIO(data)), tally)
    assert tally.read == len(found) + tally.quarantined
    return found, tally


@pytest.mark.parametrize(
    "data",
    [b'[{"a":1},{"a":2}]', b'\xef\xbb\xbf [{"a":1},{"a":2}]', b'{"sleep":[{"a":1},{"a":2}]}',
     b'{"x":[1,{"sleep":3}],"data":[{"a":1},{"a":2}]}',
     b'[{"a":1,"z":{"a":[7],"a":8}},{"z":null,"a":2}]',
     b'[{"a":1,"b":"\\"a\\":\\"a\\":"},{"a":2,"b":"\\\\ud800 \\ud83d\\ude00"}]',
     b'[{"a":1,"parts":[{"a":1},{"a":2}]},{"a":2}]'],
)  # fmt: skip
def test_records_are_found_where_they_may_stand(data: bytes) -> None:
    found, tally = read(data)
    assert [(each.record, each.value.a) for each in found] == [(1, 1), (2, 2)]
    assert found[1].locator == "file 1 record 2"
    assert tally.refusals == []


def test_one_object_may_be_the_record() -> None:
    assert [each.value.a for each in read(b'{"a":5}')[0]] == [5]


@pytest.mark.parametrize("data", [b"[]", b'{"sleep":[]}'])
def test_no_records_are_none_and_no_fault(data: bytes) -> None:
    assert read(data) == ([], Tally())


BAD_FILES = {
    "cut short": (b'[{"a":1},{"a":', "not_json"),
    "empty": (b"", "not_json"),
    "blank": (b" \n", "not_json"),
    "no JSON": (b"start,end\n1,2\n", "not_json"),
    "a NUL byte in a text": (b'[{"a":1,"b":"\0"}]', "not_json"),
    "text behind it": (b'[{"a":1}] x', "trailing_bytes"),
    "two lists": (b'[{"a":1}][{"a":2}]', "trailing_bytes"),
    "a record a line": (b'{"a":1}\n{"a":2}', "trailing_bytes"),
    "zeros of a broken copy": (bytes(5000), "nul_byte"),
    "UTF-16 with its mark": ('[{"a":1}]'.encode("utf-16"), "encoding"),
    "UTF-16 without": ('[{"a":1}]'.encode("utf-16-le"), "encoding"),
    "UTF-16, other order": ('[{"a":1}]'.encode("utf-16-be"), "encoding"),
    "cp1252": (b'[{"a":1,"b":"caf\xe9"}]', "encoding"),
    "half a character in bytes": (b'[{"a":1,"b":"\xed\xa0\x80"}]', "encoding"),
    "first half of a character": (b'[{"a":1,"b":"\\ud800"}]', "lone_surrogate"),
    "second half of a character": (b'[{"a":1,"b":"\\udc00 "}]', "lone_surrogate"),
    "NaN": (b'[{"a":1,"c":NaN}]', "no_number"),
    "infinity": (b'[{"a":1,"c":-Infinity}]', "no_number"),
    "nested lists": (b'[{"a":1,"z":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}]", "too_deep"),
    "nested objects": (b'[{"a":1,"z":' + b'{"z":' * 1_000_000, "too_deep"),
    "nested frame": (b'{"z":' + b"[" * 1_000_000, "too_deep"),
    "two lists in a frame": (b'{"sleep":[{"a":1}],"sleep":[{"a":2}]}', "repeated_key"),
    "another shape": (b'"x"', "not_this_shape"),
    "a frame around nothing": (b'{"sleep":null}', "not_this_shape"),
}


@pytest.mark.parametrize("case", sorted(BAD_FILES))
@pytest.mark.fault(45)
def test_a_bad_file_is_one_line(case: str) -> None:
    data, reason = BAD_FILES[case]
    begun = process_time()
    found, tally = read(data)
    assert process_time() - begun < 1
    assert found == []
    assert [(line.kind, line.locator, line.reason) for line in tally.refusals] == [("member", "file 1", reason)]


def test_a_wrong_byte_is_named_by_its_place() -> None:
    assert read(BAD_FILES["cp1252"][0])[1].refusals[0].detail.startswith("byte 16:")


BAD_RECORDS = {
    "a field twice": (b'{"a":1,"a":2}', "repeated_key"),
    "a field twice, once before an object": (b'{"b":"x","z":{"a":2},"a":1,"b":"y"}', "repeated_key"),
    "a field twice, blanks": (b'{"a" : 1, "b": "", "a"\n: 1}', "repeated_key"),
    "a number of 100,000 digits": (b'{"a":' + b"9" * 100_000 + b"}", "not_a_record"),
    "a fraction of 100,000 digits": (b'{"a":1,"c":' + b"9" * 100_000 + b".5}", "not_a_record"),
    "beyond all floats": (b'{"a":1,"c":1e999}', "not_a_record"),
    "a text for a number": (b'{"a":"Zebrowski"}', "not_a_record"),
    "a missing field": (b'{"b":"Zebrowski"}', "not_a_record"),
    "a list": (b"[1]", "not_a_record"),
}


@pytest.mark.parametrize("case", sorted(BAD_RECORDS))
def test_a_bad_record_costs_one_record(case: str) -> None:
    text, reason = BAD_RECORDS[case]
    found, tally = read(b'[{"a":1},' + text + b',{"a":3}]')
    assert [(each.record, each.value.a) for each in found] == [(1, 1), (3, 3)]
    assert [(line.kind, line.locator, line.reason) for line in tally.refusals] == [("sleep", "file 1 record 2", reason)]
    assert "Zebrowski" not in tally.refusals[0].detail


def test_a_member_that_cannot_be_opened_is_one_line() -> None:
    def refuse() -> io.BytesIO:
        raise Refused("encrypted_member", "ask for one without")

    tally = Tally()
    assert RECORDS.read(Member(3, "x", "sleep", refuse), tally) == []
    assert [(line.locator, line.reason) for line in tally.refusals] == [("file 3", "encrypted_member")]


KEYS = st.sampled_from(["a", "b", "c", "z", "parts"])
VALUES = st.recursive(st.none() | st.integers(0, 9), lambda inner: st.lists(inner, max_size=2), max_leaves=4)


@given(st.lists(st.lists(st.tuples(KEYS, VALUES, st.booleans()), max_size=6), max_size=4))
@settings(max_examples=100, deadline=None)
@pytest.mark.fault(45)
def test_repeated_fields_are_told_exactly(records: list[list[tuple[str, object, bool]]]) -> None:
    """Against pairs counted by the plain reader; inner objects repeat names without harm."""
    written = [[("a", 1, False), *record] for record in records]
    texts = ["{" + ",".join(f'"{key}":' + (f'{{"{key}":1,"a":2}}' if inner else json.dumps(value))
                            for key, value, inner in record) + "}" for record in written]  # fmt: skip
    tally = Tally()
    data = f"[{','.join(texts)}]".encode()
    found = LOOSE.read(Member(1, "x", "sleep", lambda: io.BytesIO(data)), tally)
    keys = [[key for key, _, _ in record] for record in written]
    kept = {each.record for each in found}
    assert kept >= {n for n, own in enumerate(keys, 1) if len(set(own)) == len(own)}
    # What the record does not know (`z`) may stand twice; then its lost value may tell or not.
    assert kept <= {n for n, own in enumerate(keys, 1) if all(own.count(key) == 1 for key in own if key != "z")}
    assert tally.read == len(texts)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise(data: bytes) -> None:
    read(data)
    read(data, LISTS)
    read(b'[{"a":1},' + data + b"]")

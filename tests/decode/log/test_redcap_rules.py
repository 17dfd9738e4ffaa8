"""Rows of a mapping's own, forms that were filled in, and the data dictionary beside the file."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from decode.log.log_cases import decode, harmonise, lines_of, role_of, settings_with
from ingest._core.errors import Refused
from ingest._core.log_mapping import LogMapping
from ingest._core.settings import Settings
from ingest.decode.claim import Claimed, File, sort_out
from ingest.decode.log.csv_log import DECODER
from ingest.decode.model import Decoded

DOSES: dict[str, Any] = {
    "name": "doses",
    "layout": "long",
    "only": {"form": "dose"},
    "taken_at": {"column": "time"},
    "substance": "drug",
}
DAYS: dict[str, Any] = {
    "name": "days",
    "layout": "daily",
    "only": {"form": ["day", "Day form"]},
    "date": {"column": "date"},
    "date_means": "use_day",
    "items": [{"substance": "alcohol", "answer": "drank"}],
}
CODED = DOSES | {"codebook": True}
HEADER = b"form,time,drug,date,drank\n"
RECORDS = HEADER + b"dose,2026-03-01T08:00,1,,\n"
DICTIONARY = (
    b'"Variable / Field Name","Form Name","Field Type","Field Label","Choices, Calculations, OR Slider Labels"\n'
    b'drug,dose,radio,What?,"1, Kratom | 2, Tea, black | 3 , Coffee"\n'
)
BY_API = (
    b"field_name,form_name,field_type,field_label,select_choices_or_calculations\n"
    b'drug,dose,dropdown,"What,\nwhen?","1, Kratom"\n'
)


def claimed(files: dict[str, bytes], settings: Settings, archived: bool = False) -> list[Claimed]:
    opened = [File(name, len(data), lambda data=data: io.BytesIO(data)) for name, data in files.items()]  # type: ignore[misc]
    return sort_out(opened, settings, archived)


def decoded(files: dict[str, bytes], *mappings: dict[str, Any], archived: bool = False) -> Decoded:
    settings = settings_with(*mappings)
    (found,) = claimed(files, settings, archived)
    return DECODER.decode(found.members, settings)


def test_each_mapping_reads_rows_of_its_own() -> None:
    text = HEADER + (
        b"dose,2026-03-01T08:00,kratom,,\nday,,,2026-03-01,yes\nother,,,,\n DAY FORM ,,,2026-03-02,no\n"
        b"dose,never,kratom,,\nday,,,2026-03-03,perhaps\nday,,\n,,,,\n"
    )
    read = decode(text, settings_with(DOSES, DAYS))
    uses = harmonise(read).to_pylist()
    assert sorted((use["source_row"], use["instrument"]) for use in uses) == [(1, "doses"), (2, "days"), (4, "days")]
    assert (read.tally.read, read.tally.kept, read.tally.ignored) == (8, 3, Counter(other_rows=2))
    assert sorted(lines_of(read, "substance_use")) == [
        ["row 5, time", "not_a_date"],
        ["row 6, drank", "unknown_answer"],
        ["row 7", "field_count"],
    ]
    assert read.format == "CSV log: days, daily; doses, long"


def test_a_row_that_two_mappings_want_refuses_the_file() -> None:
    second = DAYS | {"name": "again", "only": {"form": "day"}}
    settings = settings_with(DAYS, second)
    assert role_of(HEADER, settings) == "mapping:days,again"
    assert decode(HEADER + b"Day form,,,2026-03-01,yes\n", settings).tally.kept == 1
    with pytest.raises(Refused) as refused:
        decode(HEADER + b"dose,,,,\nday,,,2026-03-01,yes\n", settings)
    assert refused.value.reason == "ambiguous_mapping"
    assert refused.value.detail.startswith("row 2:")


def test_two_mappings_share_a_file_by_rows_or_by_columns() -> None:
    everywhere = {name: value for name, value in DAYS.items() if name != "only"}
    assert role_of(HEADER, settings_with(DOSES, everywhere)) == "mapping:doses,days"
    again = everywhere | {"name": "again"}
    assert role_of(HEADER, settings_with(everywhere, again)) == "ambiguous:days,again"
    assert role_of(HEADER, settings_with(DAYS, again)) == "ambiguous:days,again"
    assert role_of(HEADER, settings_with(DOSES, DAYS | {"encoding": "cp1252"})) == "ambiguous:doses,days"


def test_forms_that_were_not_filled_in_say_nothing() -> None:
    mapping = DAYS | {"only": {}, "filled_in": {"column": "form", "values": [2, "done", True]}}
    text = (
        HEADER + b"2,,,2026-03-01,no\nDone ,,,2026-03-02,no\nyes,,,2026-03-03,no\n0,,,2026-03-04,no\n,,,2026-03-05,no\n"
    )
    read = decode(text, settings_with(mapping))
    assert (read.tally.read, read.tally.kept, read.tally.ignored) == (5, 3, Counter(form_not_filled_in=2))


def test_a_box_alone_is_no_answer() -> None:
    boxes = {"items": [{"substance": "kratom", "answer": "took___1"}]}
    with pytest.raises(ValidationError, match="checkbox"):
        LogMapping.model_validate(DAYS | boxes | {"only": {}})
    LogMapping.model_validate(DAYS | boxes)
    LogMapping.model_validate(DAYS | boxes | {"only": {}, "filled_in": {"column": "days_complete"}})


@pytest.mark.parametrize("dictionary", [DICTIONARY, b"\xef\xbb\xbf" + DICTIONARY, BY_API])
def test_codes_are_read_from_the_dictionary_beside_the_file(dictionary: bytes) -> None:
    read = decoded({"records.csv": RECORDS, "dictionary.csv": dictionary}, CODED)
    assert read.uses is not None
    assert read.uses["substance_reported"].to_pylist() == ["Kratom"]
    packed = decoded({"a/records.csv": RECORDS, "z/dictionary.csv": dictionary}, CODED, archived=True)
    assert packed.uses == read.uses


def test_yes_and_no_are_their_words_and_other_cells_stay() -> None:
    dictionary = DICTIONARY + b'drank,day,yesno,,\ntime,dose,calc,,"1, 2"\nform,dose,checkbox,,"dose, x"\n'
    text = HEADER + b"day,,,2026-03-01,1\nday,,,2026-03-02,0\nday,,,2026-03-03,Yes\nday,,,2026-03-04,7\n"
    mapping = DAYS | {"codebook": True, "answers": {"yes": ["Yes"], "no": ["No"]}}
    read = decoded({"records.csv": text, "dictionary.csv": dictionary}, mapping)
    assert [use["no_use"] for use in harmonise(read).to_pylist()] == [False, True, False]
    assert lines_of(read, "substance_use") == [["row 4, drank", "unknown_answer"]]


def test_a_choice_may_hold_commas_and_blanks() -> None:
    text = HEADER + b"dose,2026-03-01T08:00,2,,\ndose,2026-03-01T09:00,3,,\ndose,2026-03-01T10:00,9,,\n"
    read = decoded({"records.csv": text, "dictionary.csv": DICTIONARY}, CODED)
    assert read.uses is not None
    assert read.uses["substance_reported"].to_pylist() == ["Tea, black", "Coffee", "9"]


def test_a_mapping_that_needs_the_dictionary_says_when_it_is_not_there() -> None:
    with pytest.raises(Refused, match="no_codebook"):
        decoded({"records.csv": RECORDS}, CODED)


def test_two_dictionaries_must_agree() -> None:
    files = {"records.csv": RECORDS, "a.csv": DICTIONARY, "b.csv": DICTIONARY}
    assert decoded(files, CODED).tally.kept == 1
    with pytest.raises(Refused, match="two_codebooks"):
        decoded(files | {"b.csv": DICTIONARY.replace(b"1, Kratom", b"1, Tea")}, CODED)
    with pytest.raises(Refused, match="bad_codebook"):
        decoded(files | {"b.csv": DICTIONARY + b"x,y\n"}, CODED)


def test_the_dictionary_goes_with_the_files_that_need_it_and_no_others() -> None:
    own = {"name": "own", "layout": "long", "taken_at": {"column": "When"}, "substance_is": "kratom"}
    files = {"dictionary.csv": DICTIONARY, "own.csv": b"When\n2026-03-01T08:00\n", "r1.csv": RECORDS, "r2.csv": RECORDS}
    found = claimed(files, settings_with(CODED, own))
    assert [[member.name for member in each.members] for each in found] == [
        ["own.csv"],
        ["r1.csv", "dictionary.csv"],
        ["r2.csv", "dictionary.csv"],
    ]
    assert [member.ordinal for member in found[1].members] == [3, 1]


def test_a_dictionary_that_no_file_needs_is_counted() -> None:
    (alone,) = claimed({"dictionary.csv": DICTIONARY}, settings_with(DOSES))
    assert (alone.members, alone.classes) == ([], Counter({"data dictionary": 1}))
    waiting = decoded({"dictionary.csv": DICTIONARY}, CODED)
    assert (waiting.tally.read, waiting.tally.classes) == (0, Counter({"data dictionary": 1}))
    own = {"name": "own", "layout": "long", "taken_at": {"column": "When"}, "substance_is": "kratom"}
    (other,) = claimed({"d.csv": DICTIONARY, "own.csv": b"When\n2026-03-01T08:00\n"}, settings_with(CODED, own))
    assert ([member.name for member in other.members], other.classes) == (["own.csv"], Counter({"data dictionary": 1}))


def test_the_rows_do_not_depend_on_the_order_of_the_mappings() -> None:
    text = HEADER + b"day,,,2026-03-01,yes\ndose,2026-03-01T08:00,kratom,,\nday,,,2026-03-02,no\n"
    one, two = decode(text, settings_with(DOSES, DAYS)), decode(text, settings_with(DAYS, DOSES))
    assert one.uses is not None
    assert two.uses is not None
    assert one.uses.to_pylist() == two.uses.to_pylist()
    assert one.uses["source_row"].to_pylist() == [1, 2, 3]


def test_an_instance_is_an_id_within_its_event() -> None:
    header = "event,instance,day,alcohol\n"
    mapping = {
        "name": "days", "layout": "daily", "date": {"column": "day"}, "date_means": "use_day",
        "record_id": "instance", "items": [{"substance": "alcohol", "answer": "alcohol"}],
    }  # fmt: skip
    text = header + "a,1,2026-03-01,yes\nb,1,2026-03-02,yes\na,1,2026-03-01,no\nb,,2026-03-03,no\na,,2026-03-03,no\n"
    assert decode(text, settings_with(mapping)).tally.duplicate == 2
    read = decode(text, settings_with(mapping | {"record_id_with": ["event"]}))
    assert (read.tally.duplicate, read.tally.kept) == (1, 4)
    uses = harmonise(read).to_pylist()
    assert [(use["source_row"], use["no_use"]) for use in uses] == [(3, True), (2, False), (4, True), (5, True)]
    assert len({use["use_id"] for use in uses}) == 4
    with pytest.raises(ValidationError, match="record_id_with"):
        LogMapping.model_validate(mapping | {"record_id": None, "record_id_with": ["event"]})

"""Which files are logs, by their header, and by which description."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from decode.log.log_cases import decode, role_of, settings_with
from ingest._core.errors import Refused
from ingest._core.settings import Settings
from ingest.decode.log.csv_log import DECODER
from ingest.decode.model import Head, Member

CANONICAL = b"substance,taken_at\nkratom,2026-03-01T21:30\n"
DAILY: dict[str, Any] = {
    "name": "form",
    "layout": "daily",
    "date": {"column": "Day"},
    "date_means": "use_day",
    "items": [{"substance": "alcohol", "answer": "Drank"}],
}
FORM = b"Day,Drank,Other\n2026-03-01,yes,x\n"


def test_the_canonical_log_is_known_by_two_columns_in_any_order() -> None:
    assert role_of(CANONICAL) == "canonical"
    assert role_of(b"note, taken_at ,substance\n") == "canonical"
    assert role_of(b"\xef\xbb\xbf" + CANONICAL) == "canonical"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"substance\nkratom\n",
        b"substance;taken_at\n",
        b"Substance,Taken_at\n",
        b"PK\x03\x04substance,taken_at",
        b'[{"substance": 1, "taken_at": 2}]',
        b"sleep_log_entry_id,timestamp,overall_score\n",
        b"note\nsubstance,taken_at\n",
    ],
)
def test_other_files_are_nobodys(data: bytes) -> None:
    assert role_of(data) is None


def test_files_of_other_kinds_are_not_even_opened() -> None:
    def never() -> bytes:
        raise AssertionError("the file was read")

    for name in ("sleep-2026-03-01.json", "export.XML"):
        assert DECODER.claim(Head(name, 5, never), settings_with()) is None


def test_a_mapping_takes_files_that_hold_all_its_columns() -> None:
    settings = settings_with(DAILY)
    assert role_of(FORM, settings) == "mapping:form"
    assert role_of(b"Day,Other\n", settings) is None
    assert role_of(b"Day;Drank\n", settings) is None
    assert role_of(b"Day;Drank\n", settings_with({**DAILY, "delimiter": ";"})) == "mapping:form"


@pytest.mark.parametrize(
    ("glob", "name", "fits"),
    [
        ("evening-*.csv", "evening-1.csv", True),
        ("evening-*.csv", "sub/folder/evening-1.csv", True),
        ("evening-*.csv", "morning-1.csv", False),
        ("forms/*.csv", "forms/a.csv", True),
        ("forms/*.csv", "a.csv", False),
    ],
)
def test_a_glob_on_the_name_narrows_it(glob: str, name: str, fits: bool) -> None:
    settings = settings_with({**DAILY, "files": glob})
    assert role_of(FORM, settings, name) == ("mapping:form" if fits else None)


def test_two_descriptions_of_one_file_are_refused_by_both_names() -> None:
    settings = settings_with(DAILY, {**DAILY, "name": "second_form"})
    assert role_of(FORM, settings) == "ambiguous:form,second_form"
    with pytest.raises(Refused, match="ambiguous_mapping") as refused:
        decode(FORM, settings)
    assert "form and second_form" in refused.value.detail
    assert "files" in refused.value.detail


def test_the_canonical_log_and_a_mapping_of_it_are_two_descriptions() -> None:
    own = {"name": "own", "layout": "long", "taken_at": {"column": "taken_at"}, "substance": "substance"}
    assert role_of(CANONICAL, settings_with(own)) == "ambiguous:canonical,own"
    assert role_of(CANONICAL, settings_with({**own, "files": "x*.csv"})) == "canonical"


def test_a_mapped_column_that_stands_twice_is_refused() -> None:
    with pytest.raises(Refused, match="repeated_column") as refused:
        decode(b"substance,taken_at,amount,amount\n")
    assert "columns 3 and 4" in refused.value.detail
    assert "amount" not in refused.value.detail
    assert decode(b"substance,taken_at,note,note\n").tally.read == 0


def test_a_log_in_utf_16_is_read_by_its_mark_and_by_its_mapping() -> None:
    text = "substance,taken_at\nkratom,2026-03-01\n"
    assert decode(text.encode("utf-16")).tally.kept == 1
    assert decode(text.encode("utf-8-sig")).tally.kept == 1
    own = {
        "name": "own",
        "layout": "long",
        "taken_at": {"column": "When"},
        "substance": "What",
        "encoding": "utf-16",
    }
    read = decode("When,What\n2026-03-01T20:00,kratom\n".encode("utf-16"), settings_with(own))
    assert read.tally.kept == 1


def test_what_decoding_depends_on_is_part_of_its_settings() -> None:
    settings = settings_with(DAILY)
    part = DECODER.settings_part(settings)
    assert part == DECODER.settings_part(settings_with(dict(DAILY)))
    assert json.loads(part)["logs"][0]["name"] == "form"
    assert part != DECODER.settings_part(settings_with({**DAILY, "date_means": "report_day"}))
    later = Settings.model_validate({"study": "tests", "logs": [DAILY], "exposure": {"day_start_hour": 4}})
    assert part != DECODER.settings_part(later)


def test_several_files_of_one_export_are_numbered_through() -> None:
    files = [CANONICAL + b"kratom,x\n", b"\xff", CANONICAL + b"kratom,2026-02-30\n"]
    members = [
        Member(k, f"{k}.csv", "canonical", lambda data=data: io.BytesIO(data))  # type: ignore[misc]
        for k, data in enumerate(files, start=1)
    ]
    read = DECODER.decode(members[::-1], settings_with())
    assert read.uses is not None
    assert read.uses["source_row"].to_pylist() == [1, 3]
    assert [(each.kind, each.locator, each.reason) for each in read.tally.refusals] == [
        ("substance_use", "row 2 (file 1, line 3), taken_at", "not_a_date"),
        ("member", "file 2", "encoding"),
        ("substance_use", "row 4 (file 3, line 3), taken_at", "impossible_date"),
    ]
    assert (read.tally.read, read.tally.kept) == (4, 2)


def test_an_export_without_any_usable_file_is_refused() -> None:
    members = [Member(1, "a.csv", "canonical", lambda: io.BytesIO(b"\xff"))]
    with pytest.raises(Refused, match="encoding"):
        DECODER.decode(members, settings_with())


def test_the_decoder_says_what_it_is() -> None:
    assert (DECODER.source, DECODER.kind, DECODER.together) == ("csv_log", "log", False)
    assert decode(CANONICAL).format == "CSV log: canonical, long"
    assert decode(FORM, settings_with(DAILY)).format == "CSV log: form, daily"

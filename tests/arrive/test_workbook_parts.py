"""Which zips are workbooks, and what of them goes on."""

from __future__ import annotations

import io
import zipfile

import pytest

from ingest._core.errors import Refused
from ingest._core.settings import Bounds
from ingest.arrive.workbook_parts import is_workbook, workbook_parts

PARTS = {"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>", "xl/media/a.png": b"\x89PNG"}


def packed(parts: dict[str, bytes], stored: bool = False) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return data.getvalue()


WORKBOOK = packed(PARTS)


def test_a_workbook_is_known_by_its_parts_in_any_order() -> None:
    assert is_workbook(io.BytesIO(WORKBOOK))
    assert is_workbook(io.BytesIO(packed(dict(reversed(PARTS.items())))))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"substance,taken_at\n",
        WORKBOOK[:-30],
        WORKBOOK[:100],
        packed({"[Content_Types].xml": b"", "word/document.xml": b""}),
        packed({"export.json": b"[]"}),
        packed({"log.xlsx": WORKBOOK}, stored=True),
        packed({"a": b"xl/workbook.xml [Content_Types].xml"}, stored=True),
    ],
    # Of bytes ids would be made, and these hold the time of writing, which differs between the tests' processes.
    ids=[
        "empty",
        "signature",
        "csv",
        "cut-at-the-end",
        "cut-early",
        "document",
        "zip",
        "workbook-in-zip",
        "names-as-text",
    ],
)
def test_other_files_are_none(data: bytes) -> None:
    assert not is_workbook(io.BytesIO(data))


def test_pictures_are_left_out() -> None:
    assert workbook_parts(WORKBOOK, Bounds()) == {name: part for name, part in PARTS.items() if name.endswith(".xml")}


@pytest.mark.parametrize(
    ("data", "reason", "bounds"),
    [
        (WORKBOOK[:-30], "cut_short", Bounds()),
        (WORKBOOK + b"x", "trailing_bytes", Bounds()),
        (packed({"[Content_Types].xml": b""}), "not_a_workbook", Bounds()),
        (packed(PARTS | {"xl/a.xml": bytes(3_000_000)}), "bomb", Bounds()),
        (packed(PARTS | {"xl/a.xml": b"<a>" * 100}), "too_big", Bounds(member_bytes=100)),
        (packed(PARTS | {f"xl/{i}.xml": b"<a>" * 30 for i in range(5)}), "too_big", Bounds(total_bytes=300)),
        (packed(PARTS | {"xl/a.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><a/>'}), "crafted_xml", Bounds()),
        (packed(PARTS | {"xl/a.xml": "<a/>".encode("utf-16")}), "crafted_xml", Bounds()),
        (packed(PARTS | {"xl/a.xml": b"<?xml version='1.0' encoding='cp037'?><a/>"}), "crafted_xml", Bounds()),
        (packed(PARTS | {"../xl/a.xml": b"<a/>"}), "unsafe_name", Bounds()),
        (packed(PARTS | {"XL/WORKBOOK.XML": b"<a/>"}), "repeated_name", Bounds()),
    ],
)
def test_what_is_no_plain_workbook_is_refused(data: bytes, reason: str, bounds: Bounds) -> None:
    with pytest.raises(Refused) as refused:
        workbook_parts(data, bounds)
    assert refused.value.reason == reason

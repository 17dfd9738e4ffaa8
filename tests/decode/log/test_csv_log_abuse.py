"""Whatever bytes a log holds: rows are accounted for, nothing else is raised, no content leaks."""

from __future__ import annotations

import csv
import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from decode.log.log_cases import decode, harmonise, settings_with
from ingest._core.errors import Refused
from ingest.decode.model import Decoded
from tries import tries

HEADER = (
    "participant_ref,event_id,substance,taken_at,no_use,amount,unit,product_form,route,reason,"
    "mitragynine_mg,mitragynine_pct,time_precision,recall_method,reported_at,note\n"
)
GOOD = (
    "P01,1,kratom,2026-03-01T21:30,no,3,g,powder,oral,pain,,1.3,exact,event,2026-03-01T22:00,x\n"
    'P01,2,kratom,2026-03-02,yes,,,,,,,,,,,"y ""z"""\n'
    "P01,3,oxycodone,2026-03-02 09:30+01:00,,5,mg,,,,,,hour,,,\n"
)
WIDE: dict[str, Any] = {
    "name": "wide",
    "layout": "wide",
    "date": {"column": "day"},
    "date_means": "wake_day",
    "reported_at": {"column": "told"},
    "items": [
        {"substance": "kratom", "amount": "g1", "unit": "g", "at": "t1"},
        {"substance": "kratom", "amount": "g2", "unit": "g", "part_of_day": "evening"},
        {"substance": "alcohol", "answer": "drank"},
    ],
}
CANARY = "Zq7Canary"
USUAL = "|kratom|3|-3|1e99|NaN|2026-03-01|2026-03-01T21:30|2026-02-30|yes|no|maybe|g|ml|08:15|25:00|1|day|exact"
UNUSUAL = [" ", '"', "a,b", "a\nb", "\0", "é", "x" * 50]
CELLS = st.sampled_from([*USUAL.split("|"), *UNUSUAL]) | st.text(max_size=5)


def accounted_for(decoded: Decoded) -> None:
    tally = decoded.tally
    assert tally.kept >= 0
    assert tally.read == tally.kept + tally.duplicate + tally.ignored.total() + tally.quarantined
    uses = harmonise(decoded)
    assert tally.read == tally.kept + tally.duplicate + tally.ignored.total() + tally.quarantined
    if len(uses):
        assert len(set(uses["source_row"].to_pylist())) == tally.kept
        assert len(set(uses["use_id"].to_pylist())) == len(uses)
    else:
        assert tally.kept == 0
    lines = [(each.kind, each.locator, each.reason) for each in tally.refusals]
    assert len(set(lines)) == len(lines)


@given(st.data())
@settings(max_examples=tries(70), deadline=None)
def test_a_canonical_log_with_damaged_bytes(data: st.DataObject) -> None:
    body = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        piece = data.draw(st.binary(max_size=2) | st.sampled_from([b'"', b"\n", b",", b"\r", b"\0", b""]))
        body[at : at + data.draw(st.integers(0, 3))] = piece
    try:
        bytes(body).decode()
    except UnicodeDecodeError:
        decoded = decoded_or_none(HEADER.encode() + bytes(body))
    else:
        decoded = decode(HEADER.encode() + bytes(body))
        assert all(each.reason != "encoding" for each in decoded.tally.refusals)
    if decoded is not None:
        accounted_for(decoded)


def decoded_or_none(data: bytes) -> Decoded | None:
    """What is decoded; None where not a single row is text."""
    try:
        return decode(data)
    except Refused as refused:
        if refused.reason != "encoding":
            raise
        return None


@given(st.lists(st.lists(CELLS, min_size=7, max_size=7), max_size=8))
@settings(max_examples=tries(70), deadline=None)
def test_a_wide_log_of_any_cells(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["day", "told", "g1", "t1", "g2", "drank", "note"])
    writer.writerows(rows)
    decoded = decode(text.getvalue().encode("utf-8", "replace"), settings_with(WIDE))
    assert decoded.tally.read == len(rows)
    accounted_for(decoded)


@given(st.lists(st.lists(CELLS, min_size=16, max_size=16), max_size=8))
@settings(max_examples=tries(70), deadline=None)
def test_a_canonical_log_of_any_cells(rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER.strip().split(","))
    writer.writerows(rows)
    decoded = decode(text.getvalue().encode("utf-8", "replace"))
    assert decoded.tally.read == len(rows)
    accounted_for(decoded)


def test_no_cell_shows_in_any_line_or_row() -> None:
    """A name is planted in every column in turn: as free text, and where the row cannot be read."""
    columns = HEADER.strip().split(",")
    good = GOOD.splitlines()[0].split(",")
    planted = f"told me {CANARY} on the phone yesterday"
    rows = []
    for k in range(len(columns)):
        for text in (planted, planted + '"', planted + ",,,", planted + "\0"):
            rows.append(",".join([*good[:k], text, *good[k + 1 :]]))
    decoded = decode(HEADER + "\n".join(rows) + "\n")
    assert decoded.uses is not None
    lake = harmonise(decoded)
    assert decoded.tally.quarantined > 0
    assert len(lake) > 0
    assert CANARY.lower() not in str(decoded.tally).lower()
    assert CANARY.lower() not in str(lake.to_pylist()).lower()


def test_ids_and_refs_do_not_show() -> None:
    rows = [
        f"P01,{CANARY},kratom,2026-03-01",
        f"P01,{CANARY},kratom,2026-02-30",
        f"{CANARY},1,kratom,2026-03-01",
    ]
    decoded = decode("participant_ref,event_id,substance,taken_at\n" + "\n".join(rows))
    lake = harmonise(decoded)
    assert (len(lake), decoded.tally.quarantined) == (1, 2)
    assert CANARY not in str(decoded.tally) + str(lake.to_pylist())


def test_names_of_unmapped_columns_do_not_show() -> None:
    decoded = decode(f"substance,taken_at,{CANARY},{CANARY} 2\nkratom,2026-03-01,a,b\n")
    assert dict(decoded.tally.classes) == {"columns unmapped": 2}
    assert CANARY not in str(decoded.tally) + decoded.format

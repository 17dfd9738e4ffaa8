"""Apple Health: the scan against a true parser, claims, devices, bounds, sessions whatever the order of files."""

from __future__ import annotations

import html
import io
import random
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.parsers import expat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.apple_health_situations import (
    ME,
    TYPE,
    WATCH,
    WATCH_DEVICE,
    Sample,
    document,
    painted,
    record,
    stream,
    watch_samples,
)
from ingest._core.errors import Refused
from ingest._core.settings import Bounds, Settings
from ingest.decode.model import Decoded, Head, Member
from ingest.decode.sleep._apple_samples import VALUES
from ingest.decode.sleep._apple_scan import Scan
from ingest.decode.sleep._apple_sessions import WEAKEST_FIRST
from ingest.decode.sleep._apple_sources import Source, device_class, device_labels, normalised
from ingest.decode.sleep.apple_health import DECODER
from studies import SAMPLES, files, land, make_study, run

SETTINGS = Settings(study="test")
XML = sorted((SAMPLES / "apple_health").glob("*.xml"))
Found = tuple[str, str, str, str, str, str, bool]
"""Of a sleep record: source, device, start, end, value, zone, by hand."""


def member(data: str | bytes, ordinal: int = 1, role: str = "document") -> Member:
    content = data.encode() if isinstance(data, str) else data
    return Member(ordinal, f"export{ordinal}.xml", role, lambda: io.BytesIO(content))


def decode(*parts: str | bytes | Sample, of: Settings = SETTINGS) -> Decoded:
    """What one document says: its whole text, or the samples in it."""
    whole = parts[0] if isinstance(parts[0], bytes) else document(*parts)  # type: ignore[arg-type]
    return DECODER.decode([member(whole)], of)


def role(name: str, data: str | bytes) -> str | None:
    content = data.encode() if isinstance(data, str) else data
    return DECODER.claim(Head(name, len(content), content), SETTINGS)


# --- the scan against a parser -----------------------------------------------------------------------------


def scanned(data: bytes, chunk: int, bounds: Bounds = SETTINGS.bounds) -> tuple[list[Found | None], bool]:
    """What the scan finds with chunks of this size, and whether it says the document is whole."""
    scan = Scan(_Dribble(data, chunk), bounds)  # type: ignore[arg-type]
    found = [each and (*(_plain(text) for text in each[:6]), each.by_hand) for each in scan.records()]
    return found, scan.whole  # type: ignore[return-value]


class _Dribble:
    """A stream that gives at most so many bytes at once."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream, self._most = io.BytesIO(data), most

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, self._most))


def _plain(text: bytes) -> str:
    return html.unescape(text.decode()).replace("\n", " ").replace("\t", " ")


def parsed(data: bytes, final: bool = True) -> list[Found]:
    """Sleep records as expat finds them; of a document that goes on those that have ended."""
    ended = 0
    found: list[tuple[dict[str, str], dict[str, str]]] = []
    open_elements: list[str] = []
    inside: list[bool] = []

    def start(name: str, given: dict[str, str]) -> None:
        if name == "Record":
            inside.append(given.get("type") == TYPE)
            if inside[-1]:
                found.append((given, {}))
        elif name == "MetadataEntry" and any(inside):
            found[-1][1].setdefault(given["key"], given["value"])
        open_elements.append(name)

    def end(name: str) -> None:
        nonlocal ended
        open_elements.pop()
        if name == "Record":
            ended += inside.pop()

    parser = expat.ParserCreate()
    if hasattr(parser, "SetReparseDeferralEnabled"):
        parser.SetReparseDeferralEnabled(False)
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(data, final)
    return [
        (*(given.get(name, "") for name in ("sourceName", "device", "startDate", "endDate", "value")),
         children.get("HKTimeZone", ""), children.get("HKWasUserEntered") == "1")
        for given, children in found[:ended]
    ]  # type: ignore[misc]  # fmt: skip


BLANK = st.sampled_from([" ", "\n", "\t", " \n  "])
TEXT = st.lists(
    st.sampled_from([TYPE, TYPE[:9], TYPE[9:], ">", "/>", "&lt;/Record>", "&lt;!--", "'", '"', "a", "!", "?", "]]>",
                     "-->", "é", " ", "&amp;", "&#160;", "type=", "1", "Europe/Oslo"]),
    max_size=4,
).map("".join)  # fmt: skip


def attribute(name: str, value: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An attribute in any of XML's ways to write one."""

    def write(blank: str, text: str, quote: str, equals: str) -> str:
        safe = text.replace(quote, "&quot;" if quote == '"' else "&apos;")
        return f"{blank}{name}{equals}{quote}{safe}{quote}"

    return st.builds(write, BLANK, value, st.sampled_from("\"'"), st.sampled_from(["=", " =", "= ", " =\n"]))


@st.composite
def odd_record(draw: st.DrawFn) -> str:
    """A Record, or an element that looks like one, in any form."""
    name = draw(st.sampled_from(["Record", "Record", "Record", "Recorded", "Workout"]))
    of_type = attribute("type", st.sampled_from([TYPE, TYPE, f"{TYPE}s", "HKQuantityTypeIdentifierHeight"]))
    others = [attribute(each, TEXT) for each in ("sourceName", "device", "startDate", "value")]
    chosen = draw(st.permutations([of_type, *draw(st.lists(st.sampled_from(others), unique=True))]))
    start = f"<{name}" + "".join(draw(each) for each in chosen) + draw(st.sampled_from(["", " ", "\n"]))
    if draw(st.booleans()):
        return start + "/>"
    children = draw(st.lists(st.one_of(NO_RECORD, entry()), max_size=3))
    return f"{start}>{''.join(children)}</{name}{draw(st.sampled_from(['', ' ']))}>"


@st.composite
def entry(draw: st.DrawFn) -> str:
    key = st.sampled_from(["HKTimeZone", "HKWasUserEntered", "other"])
    end = draw(st.sampled_from(["/>", "></MetadataEntry>", "\n/>"]))
    return "<MetadataEntry" + draw(attribute("key", key)) + draw(attribute("value", TEXT)) + end


@st.composite
def plain_record(draw: st.DrawFn) -> str:
    """A sleep record as Apple writes it."""
    day, zone = draw(st.integers(10, 28)), draw(st.sampled_from([None, "Europe/Oslo"]))
    given_device = draw(st.sampled_from([None, WATCH_DEVICE]))
    return record(Sample(WATCH, "AsleepCore", f"2024-01-{day} 22:00:00", 5, zone, given_device, draw(st.booleans())))


WORDS = st.lists(
    st.sampled_from([TYPE, f'<Record type="{TYPE}"/>', "x", "<", ">", "!", "?", "]", "</Record>", "\n"]), max_size=4
).map("".join)
NO_RECORD = st.one_of(
    WORDS.map(lambda text: f"<!--{text}-->"),
    WORDS.map(lambda text: f"<![CDATA[{text}]]>"),
    WORDS.map(lambda text: f"<?pi {text.replace('?', '')}?>"),
    WORDS.map(lambda text: text.replace("<", "").replace("]", "")),
)
PART = st.one_of(plain_record(), odd_record(), NO_RECORD)
BODY = st.lists(st.one_of(PART, st.lists(PART, max_size=3).map(lambda each: f"<C>{''.join(each)}</C>")), max_size=6)
DTDS = st.sampled_from(
    ["", "<!DOCTYPE HealthData>",
     f"<!DOCTYPE HealthData [<!-- it's {TYPE} ]> <!ENTITY --><!ELEMENT a EMPTY><!ATTLIST a b CDATA ']>'>\n] >\n"]
)  # fmt: skip
TAIL = st.lists(st.sampled_from(["\n", " ", f"<!-- </HealthData> {TYPE} -->", "<?x y?>"]), max_size=2).map("".join)
DOCUMENTS = st.builds(
    lambda dtd, body, tail: f"<?xml version='1.0'?>{dtd}<HealthData>{''.join(body)}</HealthData>{tail}".encode(),
    DTDS, BODY, TAIL,
)  # fmt: skip


@given(data=DOCUMENTS, chunk=st.integers(1, 70))
@settings(max_examples=500, deadline=None)
def test_the_scan_finds_what_a_parser_finds(data: bytes, chunk: int) -> None:
    found, whole = scanned(data, chunk)
    assert found == parsed(data)
    assert whole


@given(data=DOCUMENTS, chunk=st.integers(1, 70), share=st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_of_a_cut_document_what_is_whole_is_found(data: bytes, chunk: int, share: float) -> None:
    end = int(len(data) * share)
    cut = data[:end]
    found, whole = scanned(cut, chunk)
    assert found == parsed(cut, final=False)
    assert whole == _well_formed(cut)


def _well_formed(data: bytes) -> bool:
    """Whether a parser finds the document at its end."""
    try:
        expat.ParserCreate().Parse(data, True)
    except expat.ExpatError:
        return False
    return True


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000, 1 << 20])
def test_chunks_of_any_size_give_the_same(chunk: int) -> None:
    night = watch_samples()
    found, whole = scanned(document(*night).encode(), chunk)
    assert len(found) == len(night)
    assert whole


# --- bounds ------------------------------------------------------------------------------------------------


class _Endless:
    """A stream of a beginning and then the same bytes again and again."""

    def __init__(self, start: bytes, again: bytes, times: int) -> None:
        self._start, self._again, self._left = start, again, times
        self.given = 0

    def read(self, size: int) -> bytes:
        if self._start:
            start, self._start = self._start, b""
            return start
        if not self._left:
            return b""
        self._left -= 1
        self.given += len(self._again)
        return self._again


BIG = 1 << 16
OPENINGS = {
    "attribute": b'<HealthData><Record sourceName="',
    "sleep record": b'<HealthData><Record type="' + TYPE.encode() + b'" value="x">',
    "comment": b"<HealthData><!--",
    "cdata": b"<HealthData><![CDATA[",
    "dtd": b"<!DOCTYPE HealthData [",
}


@pytest.mark.parametrize("opening", sorted(OPENINGS))
@pytest.mark.fault(44)
def test_a_token_without_end_is_refused_early(opening: str) -> None:
    stream_of = _Endless(OPENINGS[opening], b"a" * BIG, 10_000)
    with pytest.raises(Refused, match=r"bounds\.token_bytes") as refused:
        list(Scan(stream_of, SETTINGS.bounds).records())  # type: ignore[arg-type]
    assert refused.value.reason == "xml_token"
    assert stream_of.given <= SETTINGS.bounds.token_bytes + 2 * BIG


@pytest.mark.fault(44)
def test_nesting_costs_nothing_outside_and_is_bounded_inside_of_a_sleep_record() -> None:
    deep = b"<a>" * 300_000
    assert scanned(b"<HealthData>" + deep + record(watch_samples()[0]).encode(), BIG)[0][0] is not None
    inside = f'<HealthData><Record type="{TYPE}">'.encode() + b"<a>" * (SETTINGS.bounds.depth + 1)
    with pytest.raises(Refused, match=r"bounds\.depth"):
        scanned(inside, BIG)


@pytest.mark.parametrize(
    ("dtd", "reason"),
    [
        ('<!DOCTYPE HealthData [<!ENTITY a "aaaa">]>', "xml_entity"),
        ('<!DOCTYPE HealthData [<!ENTITY % a SYSTEM "file:///etc/passwd"> %a;]>', "xml_entity"),
        ('<!DOCTYPE HealthData SYSTEM "file:///etc/passwd">', "xml_external"),
        ('<!DOCTYPE HealthData PUBLIC "-//X" "http://localhost/x.dtd" [<!ELEMENT a EMPTY>]>', "xml_external"),
        ('<!DOCTYPE HealthData [<!ATTLIST a b CDATA "]>"> <!-- ]> --> <!ENTITY a "b">]>', "xml_entity"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.fault(42, 43)
def test_entities_and_what_stands_elsewhere_are_refused(dtd: str, reason: str, chunk: int) -> None:
    with pytest.raises(Refused) as refused:
        scanned(document(*watch_samples(), dtd=dtd).encode(), chunk)
    assert refused.value.reason == reason


def test_a_member_that_breaks_off_in_the_archive_leaves_nothing_behind() -> None:
    night = watch_samples()

    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(700)
            if not data:
                raise Refused("damaged", "the zip cannot be unpacked here")
            return data

    broken = Member(1, "export.xml", "document", lambda: Breaks(document(*night).encode()))
    found = DECODER.decode([broken, member(document(*night[:4]), 2)], SETTINGS)
    assert found.tally.read == found.tally.kept == 4
    assert [(each.kind, each.reason) for each in found.tally.refusals] == [("member", "damaged")]


# --- claims ------------------------------------------------------------------------------------------------

HEADER = "sourceName,startDate,endDate,value\n"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("export.xml", document(), "document"),
        ("eksport.xml", f"<HealthData locale='nb_NO'>{ME}</HealthData>", "document"),
        ("导出.xml", document(), "document"),
        ("export", document(), "document"),
        ("export.xml", "<gpx/>", None),
        ("export.xml", "<HealthDataX/>", None),
        ("export_cda.xml", "", "ignored:clinical document"),
        ("a.xml", '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3">', "ignored:clinical document"),
        ("apple_health_export/electrocardiograms/ecg_2024-01-01.csv", "Name,x\n", "ignored:electrocardiograms"),
        ("apple_health_export/clinical-records/Condition-1.json", "{}", "ignored:clinical records"),
        ("a.csv", f"{HEADER}x,,,HKCategoryValueSleepAnalysisInBed\n", "table ,"),
        ("SleepAnalysis.csv", HEADER, "table ,"),
        ("a.csv", f"{HEADER.replace(',', ';').lower()};;;{TYPE}\n", "table ;"),
        ("a.csv", f"sep=;\n{HEADER.replace(',', ';')};;;{TYPE}\n", "table ;"),
        ("a.tsv", f"{HEADER.replace(',', chr(9))}\t\t\t{TYPE}\n", "table \t"),
        ("StepCount.csv", f"{HEADER}x,,,12\n", "ignored:tables of other records"),
        ("a.csv", "startDate,endDate,value\n1,2,HKCategoryValueSleepAnalysisInBed\n", None),
        ("a.json", '{"startDate": 1}', None),
    ],
)
def test_claims(name: str, data: str, expected: str | None) -> None:
    assert role(name, data) == expected


def test_a_clinical_document_is_known_by_name_alone() -> None:
    def never() -> bytes:
        raise AssertionError

    assert DECODER.claim(Head("exportación_cda.xml", 9, never), SETTINGS) == "ignored:clinical document"


# --- devices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hints", "expected"),
    [
        ("Jana’s Apple\u00a0Watch", (0, 0), "watch"),
        ("Apple Watch de Jana", (0, 9), "watch"),
        ("iPhone van Jana", (3, 0), "phone"),
        ("时钟", (0, 0), "phone"),
        ("Reloj", (0, 0), "phone"),
        ("Health", (0, 0), "phone"),
        ("AutoSleep", (8, 0), "app"),
        ("Oura", (0, 0), "ring"),
        ("WHOOP", (0, 0), "strap"),
        ("Connect", (0, 0), "watch"),
        ("Jana", (5, 2), "watch"),
        ("Jana", (1, 2), "phone"),
        ("Jana", (2, 2), "watch"),
        ("Jana", (0, 0), "app"),
        ("", (0, 0), "unknown"),
    ],
)
def test_device_of_a_source(name: str, hints: tuple[int, int], expected: str) -> None:
    assert device_class(Source(normalised(name), hints, (0,))) == expected


@pytest.mark.parametrize("other", ["Jana’s  Apple Watch", "Jana's Apple\u00a0watch ", "Jana\u2019s Apple\x0bWatch"])
def test_names_that_differ_in_blanks_and_apostrophes_are_one(other: str) -> None:
    assert normalised(other) == normalised(WATCH)


def test_sources_of_a_class_are_numbered_by_their_first_sample() -> None:
    sources = [Source(name, (1, 0), (first,)) for name, first in (("b", 3), ("a", 5), ("c", 1))]
    expected = {"c": "watch", "b": "watch_2", "a": "watch_3"}
    assert device_labels(sources) == device_labels(sources[::-1]) == expected


# --- sessions ----------------------------------------------------------------------------------------------


def test_every_known_value_has_a_rank() -> None:
    assert set(VALUES.values()) | {"unknown"} == set(WEAKEST_FIRST)


@pytest.mark.parametrize(("gap_min", "sessions"), [(9.9, 2), (10, 1), (0, 2), (60, 1)])
def test_the_gap_is_a_setting(gap_min: float, sessions: int) -> None:
    two = [*stream(WATCH, "2024-01-10 22:00:00", ("AsleepCore", 30)),
           *stream(WATCH, "2024-01-10 22:40:00", ("AsleepCore", 30))]  # fmt: skip
    chosen = Settings(study="test", samples={"gap_min": gap_min})
    found = decode(*two, of=chosen)
    assert found.sessions is not None
    assert len(found.sessions) == sessions
    assert DECODER.settings_part(chosen) != DECODER.settings_part(Settings(study="test", samples={"gap_min": 61}))


SAMPLE = st.builds(
    lambda value, at, minutes: Sample(WATCH, value, f"2024-01-10 {20 + at // 60:02d}:{at % 60:02d}:00", minutes),
    st.sampled_from(["InBed", "Asleep", "AsleepCore", "AsleepDeep", "AsleepREM", "Awake", "Dozing"]),
    st.integers(0, 200), st.integers(1, 60),
)  # fmt: skip


@given(samples=st.lists(SAMPLE, min_size=1, max_size=12, unique=True), order=st.randoms())
@settings(max_examples=150, deadline=None)
def test_stretches_are_what_painting_second_by_second_gives(samples: list[Sample], order: random.Random) -> None:
    shuffled = list(samples)
    order.shuffle(shuffled)
    found = decode(*shuffled, of=Settings(study="test", samples={"gap_min": 600}))
    assert found.sessions is not None
    assert found.stages is not None
    (row,) = found.sessions.to_pylist()
    assert row["records"] == found.tally.kept == len(samples)
    assert row["start_clock"] == min(each.begins for each in samples).replace(tzinfo=None)
    assert row["end_clock"] == max(each.ends for each in samples).replace(tzinfo=None)
    stretches = [[each["start_us"] / 1e6, (each["end_us"] - each["start_us"]) / 1e6, each["stage"]]
                 for each in found.stages.to_pylist()]  # fmt: skip
    assert stretches == painted(samples)


def test_kept_equals_the_samples_of_the_sessions() -> None:
    parts: list[Sample] = []
    for day in range(10, 25):
        parts += watch_samples(f"2024-01-{day} 21:50:30")
        parts += stream("Clock", f"2024-01-{day} 21:40:00", ("InBed", 420))
    found = decode(*parts, *parts[:7])
    assert found.sessions is not None
    assert sum(found.sessions["records"].to_pylist()) == found.tally.kept == len(parts)
    assert (found.tally.read, found.tally.duplicate) == (len(parts) + 7, 7)
    assert len(found.sessions) == 30


def test_the_same_rows_whatever_the_order_of_records_and_files() -> None:
    """Only the places of the records differ."""
    night, other = watch_samples(), stream("Jana", "2024-01-10 22:00:00", ("Asleep", 300), device=WATCH_DEVICE)
    parts = [*night, *other, *stream("Pillow", "2024-01-10 22:00:00", ("Asleep", 300))]
    seen = []
    for rows in (parts, parts[::-1]):
        found = DECODER.decode([member(document(*rows[:5]), 1), member(document(*rows[5:]), 2)], SETTINGS)
        assert found.sessions is not None
        columns = found.sessions.drop_columns(["member", "record"]).to_pylist()
        seen.append(sorted(map(str, columns)))
    assert seen[0] == seen[1]


def test_a_second_run_changes_no_byte(tmp_path: Path) -> None:
    root = make_study(tmp_path / "study")
    land(root, "K01/export.xml", document(*watch_samples()))
    run(root)
    before = files(root / "lake")
    run(root)
    assert files(root / "lake") == before
    assert any("sleep_stage" in name for name in before)


# --- real files --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not XML, reason="the samples of Apple Health are not here")
@pytest.mark.parametrize("path", XML, ids=[path.stem for path in XML])
def test_samples_are_read_as_a_plain_parse_reads_them(path: Path) -> None:
    expected = [each.attrib for each in ET.parse(path).iter("Record") if each.get("type") == TYPE]
    content = path.read_bytes()
    assert role(path.name, content) == "document"
    found = DECODER.decode([member(content)], SETTINGS)
    assert found.sessions is not None
    assert found.tally.read == found.tally.kept == len(expected)
    assert found.tally.refusals == []
    spans = [tuple(datetime.fromisoformat(each[name]).timestamp() for name in ("startDate", "endDate"))
             for each in expected]  # fmt: skip
    rows = found.sessions.to_pylist()
    assert sum(row["records"] for row in rows) == len(expected)
    # Each sample lies in one of the sessions, and each session begins and ends with samples.
    begins, ends = (
        [row[name].replace(tzinfo=UTC).timestamp() for row in rows] for name in ("start_clock", "end_clock")
    )
    assert all(any(a <= start and end <= b for a, b in zip(begins, ends, strict=True)) for start, end in spans)
    assert set(begins) <= {start for start, _ in spans}
    assert set(ends) <= {end for _, end in spans}

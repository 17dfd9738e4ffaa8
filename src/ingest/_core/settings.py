"""study.yaml as typed settings. Every threshold of the marts stands here with its default."""

from __future__ import annotations

import json
import re
from datetime import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ingest._core.clock import zone_exists
from ingest._core.errors import WrongUse
from ingest._core.files import digest
from ingest._core.log_mapping import LogMapping, ScaleColumns
from ingest._core.settings_access import Access
from ingest._core.settings_association import Association
from ingest._core.settings_audit import Audit
from ingest._core.settings_base import Code, Strict
from ingest._core.settings_codes import strange_codes
from ingest._core.settings_handout import Release, Scales, SmallCells
from ingest._core.settings_insomnia import Insomnia
from ingest._core.settings_monitor import Monitor
from ingest._core.settings_phases import Phases
from ingest._core.settings_storage import ObjectStorage, place

StreamName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,40}(/[a-z]+(_[0-9]+)?)?$")]


class Bounds(Strict):
    """How much one archive or file may cost before it is refused."""

    entries: int = Field(200_000, gt=0, description="members of one archive")
    member_bytes: int = Field(8 << 30, gt=0, description="bytes of one member, unpacked")
    total_bytes: int = Field(16 << 30, gt=0, description="bytes of all members that are read, unpacked")
    ratio: int = Field(300, gt=1, description="unpacked bytes per packed byte of one member")
    csv_field_bytes: int = Field(1 << 20, gt=0, description="bytes of one CSV field")
    depth: int = Field(64, gt=0, description="nesting of JSON or XML")
    token_bytes: int = Field(1 << 20, gt=0, description="bytes of one XML tag, attribute or text")


class Samples(Strict):
    """Sources that hold samples instead of sessions (Apple Health)."""

    gap_min: float = Field(60, ge=0, description="samples of one source farther apart than this are two sessions")


class Nights(Strict):
    """Sessions into nights (decided rules 1 to 4 of docs/glossary.md)."""

    merge_gap_min: float = Field(60, ge=0, description="records of one stream closer than this are one night")
    nap_max_h: float = Field(3, gt=0, description="a nap is shorter than this")
    nap_from: time = Field(time(9), description="a nap lies wholly after this local time")
    nap_to: time = Field(time(21), description="and before this one")
    min_awakening_s: float = Field(30, ge=0, description="shortest awakening that is counted")
    long_wake_min: float = Field(5, gt=0, description="shortest wake bout that counts as long")


class Trend(Strict):
    """Moving windows over calendar nights, and regularity (decided rule 16 of docs/glossary.md).

    The minima of means follow the reliability of Fitbit nights (PMC10104388); those of the 14-night SD and of
    social jetlag are this project's own.
    """

    mean_min_7d: int = Field(4, ge=1, description="nights behind a 7-night mean")
    mean_min_14d: int = Field(8, ge=1, description="nights behind a 14-night mean")
    mean_min_28d: int = Field(10, ge=1, description="nights behind a 28-night mean")
    sd_min_7d: int = Field(5, ge=2, description="nights behind a 7-night standard deviation")
    sd_min_14d: int = Field(10, ge=2, description="nights behind a 14-night standard deviation")
    sd_min_28d: int = Field(18, ge=2, description="nights behind a 28-night standard deviation")
    sri_min_pairs: int = Field(18, ge=1, le=27, description="pairs of neighbouring days behind a 28-day SRI")
    sri_short_wake_min: float = Field(30, ge=0, description="shorter wake inside sleep counts as sleep for the SRI")
    jetlag_min_free: int = Field(3, ge=1, description="nights before free days behind social jetlag")
    jetlag_min_work: int = Field(5, ge=1, description="nights before working days behind social jetlag")

    def mean_min_nights(self, width: int) -> int:
        """Nights a mean over `width` nights needs."""
        return {7: self.mean_min_7d, 14: self.mean_min_14d, 28: self.mean_min_28d}[width]

    def sd_min_nights(self, width: int) -> int:
        """Nights a standard deviation over `width` nights needs."""
        return {7: self.sd_min_7d, 14: self.sd_min_14d, 28: self.sd_min_28d}[width]


class DoseBands(Strict):
    """Half-open bands [lo, hi) of the day's amount, in the substance's canonical unit."""

    unit: str
    edges: list[float] = Field(min_length=1)

    @field_validator("edges")
    @classmethod
    def _increasing(cls, edges: list[float]) -> list[float]:
        if any(b <= a for a, b in pairwise(edges)) or edges[0] < 0:
            raise ValueError("edges must be increasing and not negative")
        return edges


class Exposure(Strict):
    """What was taken before the night (decided rules 5 to 8 of docs/glossary.md)."""

    substances: list[Code] = Field(default=[], description="rows for each; empty: those the participant logged")
    day_start_hour: int = Field(5, ge=0, le=12, description="an exposure day runs from this hour to the next")
    usual_nights: int = Field(14, ge=1, description="nights behind the median of the anchor `usual`")
    logged_by: Literal["substance", "any"] = Field(
        "substance", description="a day is logged when this substance, or any, has an entry"
    )
    half_lives_h: dict[Code, Annotated[float, Field(gt=0)]] = Field(
        default={}, description="half-life in hours, by substance; without one residual_load is NULL"
    )
    dose_bands: dict[Code, DoseBands] = Field(default={})
    same_dose_min: float = Field(
        30, ge=0, description="doses of two instruments not farther apart may be one (`possible_same_dose`)"
    )


class Journals(Strict):
    """Journals of apps, where the export leaves open what an answer speaks of."""

    whoop_answers_speak_of: Literal["day_before_sleep", "day_after_sleep"] | None = Field(
        None, description="day of an answer in WHOOP's journal, seen from the sleep that begins its cycle; no default"
    )
    whoop_questions: dict[str, Code] = Field(
        default={}, description="further question texts of WHOOP's journal, each with its substance's code"
    )


class OwnSubstance(Strict):
    """A substance of the study's own, or what the study knows besides of one in the registry."""

    code: Code = Field(description="a new code, or one of the registry, which then keeps its class and unit")
    substance_class: Code | None = Field(None, alias="class", description="class of a new substance")
    unit: Literal["g", "mg"] | None = Field(None, description="canonical unit of a new substance")
    names: tuple[Annotated[str, Field(min_length=1, max_length=80)], ...] = Field((), description="further names")
    extreme_per_use: float | None = Field(
        None, gt=0, description="amount of one use, in the canonical unit, from which on it is flagged"
    )
    mg_per_capsule: float | None = Field(None, gt=0, description="mg of product in a capsule that says no strength")
    g_per_tsp: float | None = Field(None, gt=0, description="g of product in a teaspoon")


class SafetyItem(Strict):
    """An item of a questionnaire that the study wants to be told of."""

    instrument: str
    item: str = Field(pattern=r"^[^,\n]+$")
    at_least: float

    @field_validator("instrument")
    @classmethod
    def _instrument_is_known(cls, name: str) -> str:
        known = get_args(ScaleColumns.model_fields["instrument"].annotation)
        if name not in known:
            raise ValueError(f"no such instrument; one of {', '.join(known)}")
        return name


class AbruptStop(Strict):
    """When a stop counts as abrupt; design, no clinical definition."""

    classes: list[Code] = Field(default=["opioid", "kratom", "benzodiazepine", "alcohol"])
    of_days: int = Field(14, ge=1, description="logged days before the stop that are looked at")
    used_days: int = Field(10, ge=1, description="days of use among them that make the use regular")
    dose_free_days: int = Field(3, ge=1, description="reported dose-free days in a row that make a stop")
    taper_share: float = Field(
        0.5, ge=0, le=1, description="a taper: the last day's amount is below this share of the median day's"
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> AbruptStop:
        if self.used_days > self.of_days:
            raise ValueError("`used_days` cannot be more than `of_days`")
        return self


class Safety(Strict):
    """What is listed in safety_signal (decided rule 17 of docs/glossary.md), and who is told. The numbers are
    design values that mark what to look at, no clinical limits; the 36 of COWS is its band of severe withdrawal.
    """

    contact: str | None = Field(None, min_length=1, max_length=400, description="who is told of a signal, and how")
    protocol: str | None = Field(None, min_length=1, max_length=2000, description="what is done then")
    extreme_mme_per_use: float = Field(200, gt=0, description="morphine equivalents of one use that are extreme")
    return_after_days: int = Field(3, ge=1, description="reported dose-free days that make the next use a return")
    return_classes: list[Code] = Field(default=["opioid", "kratom", "benzodiazepine"])
    combined_classes: list[Code] = Field(default=["opioid", "kratom"], description="on one exposure day with ...")
    with_classes: list[Code] = Field(default=["benzodiazepine", "alcohol"], description="... one of these")
    cows_over: float = Field(36, ge=0, description="COWS totals above are signals")
    items: list[SafetyItem] = Field(default=[])
    abrupt_stop: AbruptStop = AbruptStop()

    @model_validator(mode="after")
    def _contact_and_protocol(self) -> Safety:
        if (self.contact is None) != (self.protocol is None):
            raise ValueError("say both `contact` and `protocol`: who is told, and what is done then")
        return self


POSTGRESQL_URL = re.compile(r"postgresql(\+psycopg)?://[^/?#]*/[^/?#]+(\?[^#]*)?")


class Publish(Strict):
    """What goes into the warehouse."""

    stages: bool = Field(True, description="publish sleep_stage")


class Settings(Strict):
    """The whole of study.yaml."""

    study: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    time_zone: str = Field("UTC", description="zone of participants without one in the roster (`assumed`)")
    history: Literal["keep", "drop"] = Field("keep", description="nights before enrolment")
    quiet_seconds: float = Field(60, ge=0, description="a landing file is settled when unchanged for so long")
    batch_bytes: int = Field(256 << 20, gt=0, description="landing bytes one decoding task takes")
    decode_memory_mb: int | None = Field(
        None, ge=64, description="most memory one export may take; each is decoded in a process of its own then"
    )
    landing: str = Field("landing", description="`landing`, or a prefix in an object store: `s3://bucket/prefix`")
    lake: str = Field("lake", description="`lake`, or a prefix in an object store: `s3://bucket/prefix`")
    lake_encryption: bool = Field(
        False,
        description="encrypt the lake's Parquet files with keys derived from the study's (docs/encryption.md)",
    )
    object_storage: ObjectStorage = ObjectStorage()
    warehouse: str = Field(
        "warehouse.duckdb",
        repr=False,  # a URL may hold a password
        description="path of a DuckDB file below the study, or `postgresql+psycopg://role@host/database`",
    )
    source_priority: list[StreamName] = Field(
        default=[], description="first is the primary source of nights; `source` or `source/device`"
    )
    allow_shared: list[str] = Field(
        default=[], description="source_file_ids that more than one participant may hand in"
    )
    bounds: Bounds = Bounds()
    samples: Samples = Samples()
    nights: Nights = Nights()
    trend: Trend = Trend()
    exposure: Exposure = Exposure()
    phases: Phases = Phases()
    association: Association = Association()
    insomnia: Insomnia = Insomnia()
    journals: Journals = Journals()
    publish: Publish = Publish()
    monitor: Monitor = Monitor()
    audit: Audit = Audit()
    access: Access = Access()
    scales: Scales = Scales()
    release: Release = Release()
    small_cells: SmallCells = SmallCells()
    part2: bool = Field(False, description="the records are under 42 CFR Part 2; needs `part2_notice`")
    part2_notice: str | None = Field(
        None, min_length=1, max_length=4000, description="the notice that goes with every release (42 CFR 2.32)"
    )
    substances: tuple[OwnSubstance, ...] = ()
    safety: Safety | None = Field(Safety(), description="`none`: no signals are looked for")
    logs: list[LogMapping] = Field(default=[])

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        if not zone_exists(name):
            raise ValueError("no such IANA time zone")
        return name

    @field_validator("landing")
    @classmethod
    def _landing(cls, said: str) -> str:
        return place(said, "landing")

    @field_validator("lake")
    @classmethod
    def _lake(cls, said: str) -> str:
        return place(said, "lake")

    @field_validator("warehouse")
    @classmethod
    def _warehouse(cls, said: str) -> str:
        if "://" in said and not POSTGRESQL_URL.fullmatch(said):
            raise ValueError(
                "expected a path below the study, or a URL like postgresql+psycopg://role@host:5432/database"
            )
        return said

    @field_validator("safety", mode="before")
    @classmethod
    def _safety_is_said(cls, said: Any) -> Any:
        if said is None or (isinstance(said, str) and said != "none"):
            raise ValueError("write `none`, or `contact` and `protocol` below it")
        return None if said == "none" else said

    @model_validator(mode="after")
    def _part2_has_its_notice(self) -> Settings:
        if self.part2 and self.part2_notice is None:
            raise ValueError("`part2: true` needs `part2_notice`: the words that 42 CFR 2.32 asks for")
        return self

    @field_validator("substances")
    @classmethod
    def _own_codes_differ(cls, substances: tuple[OwnSubstance, ...]) -> tuple[OwnSubstance, ...]:
        codes = [own.code for own in substances]
        if len(set(codes)) < len(codes):
            raise ValueError("two entries of substances have the same code: " + _twice(codes))
        return substances

    @field_validator("logs")
    @classmethod
    def _mapping_names_differ(cls, logs: list[LogMapping]) -> list[LogMapping]:
        names = [mapping.name for mapping in logs]
        if len(set(names)) < len(names):
            raise ValueError("two entries of logs have the same name: " + _twice(names))
        return logs

    def mart_hash_part(self) -> str:
        """Hash of the settings the marts depend on."""
        return digest(*(text for part in self.mart_parts().items() for text in part))

    def mart_parts(self) -> dict[str, str]:
        """Hash of each section of the settings the marts depend on, by its name."""
        kept = self.model_dump(
            mode="json",
            include={
                "time_zone", "history", "source_priority", "nights", "trend", "exposure", "phases", "insomnia",
                "substances", "safety",
            },
            exclude={"safety": {"contact", "protocol"}},
        )  # fmt: skip
        return {name: digest(json.dumps(part, sort_keys=True)) for name, part in sorted(kept.items())}

    def cohort_hash_part(self) -> str:
        """Hash of the settings the cohort tables depend on, beyond those of the marts."""
        kept = self.model_dump(mode="json", include={"association", "exposure"})
        return digest(json.dumps(kept, sort_keys=True))

    def decode_hash_part(self) -> str:
        """Hash of the settings decoding depends on, mappings aside (a log's own mapping is added)."""
        kept = self.model_dump(mode="json", include={"time_zone", "bounds"})
        return digest(json.dumps(kept, sort_keys=True))


def _twice(words: list[str]) -> str:
    return next(word for place, word in enumerate(words) if word in words[:place])


def load_settings(path: Path) -> Settings:
    """study.yaml as Settings; raises WrongUse naming each wrong key with its line."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise WrongUse(f"{path} is missing; `ingest init DIR` makes a study folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise WrongUse(f"{path.name}{where}: not readable as YAML in UTF-8; put that line right") from error
    if not isinstance(data, dict):
        raise WrongUse(f"{path.name}: expected keys with values, like `study: my-study`")
    try:
        settings = Settings.model_validate(data)
    except ValidationError as error:
        lines = [_explain(path.name, tree, problem) for problem in error.errors(include_url=False)]
        raise WrongUse("\n".join(lines)) from error
    strange = [
        f"{path.name} line {_line_of(tree, [*place])}, {'.'.join(map(str, place))}: {told}"
        for place, told in strange_codes(settings)
    ]
    if strange:
        raise WrongUse("\n".join(strange))
    return settings


def _explain(name: str, tree: yaml.Node | None, problem: Any) -> str:
    keys = [key for key in problem["loc"] if not str(key).startswith("function-")]
    line = _line_of(tree, keys)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "no such setting" + _nearest(str(keys[-1]), keys[:-1])
    return f"{name} line {line}, {'.'.join(map(str, keys)) or 'study'}: {message}"


def _line_of(node: yaml.Node | None, keys: list[Any]) -> int:
    line = 1
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(key)]
            if not found:
                break
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
            node = node.value[key]
            line = node.start_mark.line + 1
    return line


def _nearest(word: str, above: list[Any]) -> str:
    import difflib

    model: Any = Settings
    for key in above:
        field = getattr(model, "model_fields", {}).get(key)
        if field is not None:
            # Inside a list or a mapping the section is the same for every place and key.
            sections = [each for each in get_args(field.annotation) if hasattr(each, "model_fields")]
            model = sections[0] if sections else field.annotation
    known = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""

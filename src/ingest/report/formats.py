"""The table of formats, from what every decoder says of itself."""

from __future__ import annotations

from ingest.decode.model import Format
from ingest.decode.registry import decoders

_HEADER = ("format", "recognised by", "what is taken", "clock", "tried on real exports")
_CLOCKS = {
    "instant": "instants",
    "local": "local, read in the participant's zone",
    "local+offset": "instants or local with an offset; without one local, read in the participant's zone",
}


def render() -> str:
    """A Markdown table, one row for each format of every decoder, by source; ends in a newline."""
    rows = [_HEADER, ("---",) * len(_HEADER)]
    rows += [_row(each) for decoder in decoders() for each in decoder.formats]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(of: Format) -> tuple[str, ...]:
    tried = "yes" if of.tried_on_real_exports else "not yet tried on a real export"
    cells = (of.title, of.recognised_by, of.extracted, _CLOCKS[of.clock], tried)
    # An unescaped bar would open another column.
    return tuple(cell.replace("|", "\\|") for cell in cells)

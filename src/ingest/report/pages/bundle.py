"""The scripts of a page: Vega, Vega-Lite and Vega-Embed, bundled by vl-convert, and our own."""

from __future__ import annotations

import base64
import hashlib
import os
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from ingest._core.errors import IngestError
from ingest._core.files import write_bytes

LICENCE = (
    "Charts by Vega, Vega-Lite and Vega-Embed, copyright University of Washington Interactive Data Lab and"
    " contributors, under the BSD 3-clause licence."
)
_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def vega() -> str:
    """The bundle, which sets `vegaEmbed`; the same text for the same vl-convert.

    It takes seconds to make, so it is kept in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).
    """
    path = _cached()
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        import vl_convert

        made: str = vl_convert.javascript_bundle(_SNIPPET)
        _keep(path, made)
        return made


def _cached() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.path.expanduser("~")) / ".cache")
    return home / "sleep-ingest" / f"vega-embed-{version('vl-convert-python')}.js"


def _keep(path: Path, text: str) -> None:
    try:
        write_bytes(path, text.encode(), 0o600)
    except (OSError, IngestError):
        # A home that cannot be written to (a service's) costs each process the seconds, and nothing else.
        return


@cache
def asset(name: str) -> str:
    """The text of a file of `assets/`."""
    return (resources.files("ingest.report.pages") / "assets" / name).read_text(encoding="utf-8")


@cache
def csp_hash(text: str) -> str:
    """How a content security policy names an inline script or style: 'sha256-...'."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

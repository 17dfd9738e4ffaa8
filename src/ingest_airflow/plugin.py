"""A link from Airflow's pages to those of `ingest serve`.

Airflow finds the plugin by its entry point where this package is installed. Without an address it shows nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin

from ingest_airflow.configuration import studies


def views() -> list[dict[str, Any]]:
    """An external view for each study that says where its pages are (`pages_url`); one for each address.

    It opens in a tab of its own: the pages forbid frames. Raises ValueError for what is no http(s) address, or one
    that holds a name or password.
    """
    found: dict[str, dict[str, Any]] = {}
    for served in studies():
        if served.pages_url is None:
            continue
        address = _checked(served.pages_url)
        title = f"Sleep pages: {served.name}" if served.name else "Sleep pages"
        found.setdefault(address, {"name": title, "href": address, "destination": "nav", "category": "browse"})
    return list(found.values())


def _checked(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ValueError("pages_url: expected http://HOST:PORT/ or https://..., without name, password or token")
    return address


class IngestPages(AirflowPlugin):
    """The plugin, made once when Airflow loads it."""

    name = "ingest_pages"
    external_views: list[Any] = views()

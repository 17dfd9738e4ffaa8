"""Pages of a study, written once for all tests of this folder."""

from __future__ import annotations

from report_pages import busy, paged

__all__ = ["busy", "paged"]  # fixtures

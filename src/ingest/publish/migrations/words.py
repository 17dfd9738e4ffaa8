"""Columns of a frozen table written as words: `name:type`, with `!` where NULL may not stand."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

_TYPES: dict[str, Any] = {
    "text": sa.Text().with_variant(sa.Text(collation="C"), "postgresql"),
    "double": sa.Double(),
    "bigint": sa.BigInteger(),
    "boolean": sa.Boolean(),
    "date": sa.Date(),
    "instant": sa.DateTime(timezone=True),
    "clock": sa.DateTime(timezone=False),
}


def table(words: str) -> list[sa.Column[Any]]:
    """The columns of a table."""
    return [_column(word) for word in words.split()]


def _column(word: str) -> sa.Column[Any]:
    name, kind = word.removesuffix("!").split(":")
    return sa.Column(name, _TYPES[kind], nullable=not word.endswith("!"))

"""Rows of plain text, to read on from: nothing is asked, all of it is learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Text, read_text
from finetop.core.errors import BadData

KIND = "text"
ABOUT = '{"text": "…"}'
KEYS = ("text",)


def matches(row: Mapping[str, Any]) -> bool:
    """Tell whether a row has this shape."""
    return "text" in row


def read(row: Mapping[str, Any], place: str = "row") -> Text:
    """Read a text. Raises BadData at `place`."""
    if "text" not in row:
        raise BadData(f"{place}: text is missing.", hint=f"Write {ABOUT}.")
    return Text(read_text(row["text"], "text", place))

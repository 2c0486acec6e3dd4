"""Rows of plain text to continue: there is no prompt, and all of it is learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Format, Text, read_text


class TextFormat(Format):
    kind = "text"
    about = '{"text": "…"}'
    keys = ("text",)
    needs = ("text",)

    def read(self, row: Mapping[str, Any], place: str = "row") -> Text:
        """Read a text."""
        self.require(row, place)
        return Text(read_text(row["text"], "text", place))


PLUGIN = TextFormat()

"""Rows of a prompt alone, which the model answers by itself; perhaps with the right answer, to compare with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Message, Prompt, read_text, read_turns
from finetop.core.errors import BadData

KIND = "prompt"
ABOUT = '{"prompt": "…", "answer": "…"}'
KEYS = ("prompt", "answer")


def matches(row: Mapping[str, Any]) -> bool:
    """Tell whether a row has this shape."""
    return "prompt" in row and "completion" not in row and "chosen" not in row


def read(row: Mapping[str, Any], place: str = "row") -> Prompt:
    """Read a prompt, a text or a list of turns, and its `answer` if there is one. Raises BadData at `place`."""
    if "prompt" not in row:
        raise BadData(f"{place}: prompt is missing.", hint=f"Write {ABOUT}.")
    answer = None if row.get("answer") is None else read_text(row["answer"], "answer", place)
    if not isinstance(row["prompt"], list):
        return Prompt((Message("user", read_text(row["prompt"], "prompt", place)),), answer)
    turns = read_turns(row["prompt"], "prompt", place)
    if turns[-1].role == "assistant":
        hint = "End with the user's turn: the model answers it."
        raise BadData(f"{place}: prompt ends with an answer.", hint=hint)
    return Prompt(turns, answer)

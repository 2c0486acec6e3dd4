"""Rows of a prompt and its completion: two texts, or two lists of turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Conversation, Format, Message, read_text, read_turns
from finetop.core.errors import BadData


class PromptCompletionFormat(Format):
    kind = "conversation"
    about = '{"prompt": "…", "completion": "…"}'
    keys = ("prompt", "completion")
    needs = ("prompt", "completion")

    def read(self, row: Mapping[str, Any], place: str = "row") -> Conversation:
        """Read a prompt and its one answer."""
        self.require(row, place)
        answer, is_learned = _answer(row["completion"], place)
        if isinstance(row["prompt"], list):
            turns = read_turns(row["prompt"], "prompt", place)
            return Conversation(turns, answer, is_learned=is_learned)
        prompt = read_text(row["prompt"], "prompt", place)
        is_plain = isinstance(row["completion"], str)
        return Conversation((Message("user", prompt),), answer, is_plain, is_learned=is_learned)


def _answer(completion: Any, place: str) -> tuple[str, bool]:
    """Return the answer, and whether it is learned."""
    if not isinstance(completion, list):
        return read_text(completion, "completion", place), True
    turns = read_turns(completion, "completion", place)
    if len(turns) != 1 or turns[0].role != "assistant":
        hint = "Put earlier turns into the prompt."
        raise BadData(f"{place}: completion must be one turn of the assistant.", hint=hint)
    return turns[0].content, turns[0].is_learned


PLUGIN = PromptCompletionFormat()

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
        answer = _answer(row["completion"], place)
        if isinstance(row["prompt"], list):
            return Conversation(read_turns(row["prompt"], "prompt", place), answer)
        prompt = read_text(row["prompt"], "prompt", place)
        return Conversation((Message("user", prompt),), answer, is_plain=isinstance(row["completion"], str))


def _answer(completion: Any, place: str) -> str:
    if not isinstance(completion, list):
        return read_text(completion, "completion", place)
    turns = read_turns(completion, "completion", place)
    if len(turns) != 1 or turns[0].role != "assistant":
        hint = "Put earlier turns into the prompt."
        raise BadData(f"{place}: completion must be one turn of the assistant.", hint=hint)
    return turns[0].content


PLUGIN = PromptCompletionFormat()

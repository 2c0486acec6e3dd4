"""Rows of only a prompt, which the model itself answers; optionally with the right answer, for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Format, Message, Prompt, read_text, read_turns
from finetop.core.errors import BadData


class PromptFormat(Format):
    kind = "prompt"
    about = '{"prompt": "…", "answer": "…"}'
    keys = ("prompt", "answer")
    needs = ("prompt",)

    def matches(self, row: Mapping[str, Any]) -> bool:
        return "prompt" in row and "completion" not in row and "chosen" not in row

    def read(self, row: Mapping[str, Any], place: str = "row") -> Prompt:
        """Read a prompt, a text or a list of turns, and its `answer` if there is one."""
        self.require(row, place)
        answer = None if row.get("answer") is None else read_text(row["answer"], "answer", place)
        if not isinstance(row["prompt"], list):
            return Prompt((Message("user", read_text(row["prompt"], "prompt", place)),), answer)
        turns = read_turns(row["prompt"], "prompt", place)
        if turns[-1].role == "assistant":
            hint = "End with the user's turn: the model answers it."
            raise BadData(f"{place}: prompt ends with an answer.", hint=hint)
        return Prompt(turns, answer)


PLUGIN = PromptFormat()

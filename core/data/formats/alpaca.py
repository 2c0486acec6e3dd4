"""Rows of an instruction, an optional input, and the output: the format of Stanford Alpaca."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Conversation, Format, Message, read_text
from finetop.core.errors import BadData


class AlpacaFormat(Format):
    kind = "conversation"
    about = '{"instruction": "…", "input": "…", "output": "…"}'
    keys = ("instruction", "input", "output", "system", "history")
    needs = ("instruction", "output")

    def read(self, row: Mapping[str, Any], place: str = "row") -> Conversation:
        """Read an instruction with its input behind a blank line, `history` and `system` before it."""
        self.require(row, place)
        instruction = read_text(row["instruction"], "instruction", place)
        extra = read_text(row.get("input") or "", "input", place, may_be_empty=True)
        prompt = _history(row.get("history") or [], place)
        if row.get("system"):
            prompt = [Message("system", read_text(row["system"], "system", place)), *prompt]
        prompt.append(Message("user", f"{instruction}\n\n{extra}" if extra.strip() else instruction))
        return Conversation(tuple(prompt), read_text(row["output"], "output", place))


def _history(value: Any, place: str) -> list[Message]:
    turns: list[Message] = []
    for i, pair in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(pair, list) or len(pair) != 2:
            hint = 'Write [["an earlier question", "its answer"]].'
            raise BadData(f"{place}: history[{i}] is not a pair of texts.", hint=hint)
        turns.append(Message("user", read_text(pair[0], f"history[{i}][0]", place)))
        turns.append(Message("assistant", read_text(pair[1], f"history[{i}][1]", place)))
    return turns


PLUGIN = AlpacaFormat()

"""Rows that are conversations of `from` and `value`: the format of ShareGPT, with function calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import (
    Conversation,
    Format,
    Message,
    Role,
    from_json,
    read_calls,
    read_text,
    read_tools,
    read_weight,
)
from finetop.core.errors import BadData

ROLES: dict[str, Role] = {"system": "system", "human": "user", "user": "user", "gpt": "assistant"}
ROLES |= {"assistant": "assistant", "function_call": "assistant", "observation": "tool", "tool": "tool"}


class SharegptFormat(Format):
    kind = "conversation"
    about = '{"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}'
    keys = ("conversations", "system", "tools")
    needs = ("conversations",)

    def matches(self, row: Mapping[str, Any]) -> bool:
        return "conversations" in row and "chosen" not in row

    def read(self, row: Mapping[str, Any], place: str = "row") -> Conversation:
        """Read a conversation whose last turn is gpt's or a call."""
        self.require(row, place)
        turns = read_turns_of(row["conversations"], "conversations", place)
        if row.get("system") and turns[0].role != "system":
            turns = (Message("system", read_text(row["system"], "system", place)), *turns)
        last = turns[-1]
        if last.role != "assistant":
            hint = "End with gpt's turn: the answer to learn."
            raise BadData(f"{place}: conversations ends with a turn of {last.role}.", hint=hint)
        if len(turns) == 1:
            hint = "Put a human turn before it."
            raise BadData(f"{place}: conversations has an answer and no question.", hint=hint)
        tools = read_tools(row.get("tools"), place)
        prompt, is_learned = turns[:-1], last.is_learned
        return Conversation(prompt, last.content, tools=tools, calls=last.calls, is_learned=is_learned)


def read_turns_of(value: Any, key: str, place: str) -> tuple[Message, ...]:
    """Read a list of {from, value}, or JSON text of one. Raises BadData."""
    value = from_json(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        raise BadData(f"{place}: {key} must be a list of turns.", hint=f"Write {PLUGIN.about}.")
    return tuple(read_turn(turn, f"{key}[{i}]", place, is_first=i == 0) for i, turn in enumerate(value))


def read_turn(turn: Any, key: str, place: str, *, is_first: bool = False) -> Message:
    """Read one {from, value}. Raises BadData."""
    who = turn.get("from") if isinstance(turn, dict) else None
    if not isinstance(who, str) or who not in ROLES:
        hint = f"It is one of {', '.join(ROLES)}."
        raise BadData(f"{place}: {key}.from is {str(who)[:30]!r}.", hint=hint)
    if ROLES[who] == "system" and not is_first:
        raise BadData(f"{place}: {key} is a system turn.", hint="Only the first turn may be: move it there.")
    value = turn.get("value")
    text = read_text(value, f"{key}.value", place, may_be_empty=who == "system")
    is_learned = read_weight(turn, ROLES[who], key, place)
    if who != "function_call":
        return Message(ROLES[who], text, is_learned=is_learned)
    return Message("assistant", "", read_calls([from_json(text)], key, place), is_learned)


PLUGIN = SharegptFormat()

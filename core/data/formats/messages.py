"""Rows that are conversations: a list of turns, each with a role and its content."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Conversation, Format, read_tools, read_turns
from finetop.core.errors import BadData


class MessagesFormat(Format):
    kind = "conversation"
    about = '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}'
    keys = ("messages", "tools")
    needs = ("messages",)

    def read(self, row: Mapping[str, Any], place: str = "row") -> Conversation:
        """Read a conversation whose last turn is the assistant's."""
        self.require(row, place)
        turns = read_turns(row["messages"], "messages", place)
        if turns[-1].role != "assistant":
            last = f"messages[{len(turns) - 1}]"
            hint = "End with the assistant's turn: the answer to learn."
            raise BadData(f"{place}: {last} is a turn of {turns[-1].role}.", hint=hint)
        if len(turns) == 1:
            hint = "Put a user turn before it."
            raise BadData(f"{place}: messages has an answer and no question.", hint=hint)
        tools = read_tools(row.get("tools"), place)
        prompt, answer = turns[:-1], turns[-1]
        is_learned = answer.is_learned
        return Conversation(prompt, answer.content, tools=tools, calls=answer.calls, is_learned=is_learned)


PLUGIN = MessagesFormat()

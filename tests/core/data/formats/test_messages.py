"""Rows that are conversations."""

from __future__ import annotations

from typing import Any

import pytest

from finetop.core.data import formats
from finetop.core.data.formats import Conversation, Message, messages
from finetop.core.errors import BadInput

ASK = {"role": "user", "content": "Where is it?"}
ANSWER = {"role": "assistant", "content": "At sea."}

FAULTS: dict[str, Any] = {
    "messages must be a list": {"role": "user"},
    "messages must be a list of turns. Write": [],
    "messages[1] must be a mapping": [ASK, "hello"],
    "messages[0].role is missing. Rename from to role": [{"from": "human", "value": "a"}],
    "messages[0].role is missing. It is one of": [{"content": "a"}],
    "messages[0].role is 'bot'": [{"role": "bot", "content": "a"}],
    "messages[1].content is missing. Give it a text, or remove the row.": [ASK, {"role": "assistant"}],
    "messages[1].content is missing.": [ASK, {"role": "assistant", "content": None, "tool_calls": []}],
    "messages[1].tool_calls[0] is not a function call": [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [{}]},
    ],
    "messages[1].content is empty": [ASK, {"role": "assistant", "content": " \n"}],
    "messages[1].content is a list": [ASK, {"role": "assistant", "content": [{"type": "text"}]}],
    "messages[1].content is a number": [ASK, {"role": "assistant", "content": 3}],
    "messages[2] is a turn of user. End with the assistant's": [ASK, ANSWER, ASK],
    "messages[1] is a system turn": [ASK, {"role": "system", "content": "a"}, ANSWER],
    "messages has an answer and no question": [ANSWER],
    "messages[1].weight is '0.5'. It is 0": [ASK, {**ANSWER, "weight": 0.5}],
    "messages[0].train is 1, but the turn is no answer": [{**ASK, "train": True}, ANSWER],
}


@pytest.mark.parametrize("said", FAULTS)
def test_says_place_key_and_fix(said: str) -> None:
    with pytest.raises(BadInput) as caught:
        messages.PLUGIN.read({"messages": FAULTS[said]}, "faq.jsonl:17")
    assert str(caught.value).startswith(f"faq.jsonl:17: {said}")


def test_reads_the_last_answer_and_all_before_it() -> None:
    row = {
        "id": 1,
        "messages": [{"role": "system", "content": ""}, ASK, ANSWER, ASK, {**ANSWER, "content": "Here."}],
    }
    assert messages.PLUGIN.matches(row)
    conversation = messages.PLUGIN.read(row, "x")
    assert conversation.answer == "Here."
    assert conversation.answers == ("At sea.", "Here.")
    assert [turn.role for turn in conversation.prompt] == ["system", "user", "assistant", "user"]
    assert conversation.messages[-1] == Message("assistant", "Here.")
    assert not conversation.is_plain
    assert {"messages", "prompt-completion"} < set(formats.names())
    assert formats.detect({"messages": []}, "x") == "messages"
    assert not messages.PLUGIN.matches({"conversations": []})


def test_a_weight_of_0_marks_an_answer_as_not_learned_and_other_keys_are_named() -> None:
    row = {
        "id": 1,
        "messages": [
            {**ASK, "name": "Ann"},
            {**ANSWER, "weight": 0},
            {**ASK, "loss": False},
            {**ANSWER, "weight": 1},
        ],
    }
    conversation = messages.PLUGIN.read(row, "x")
    assert [turn.is_learned for turn in conversation.messages] == [True, False, False, True]
    assert messages.PLUGIN.unused(row) == ("id", "messages.name")
    only = {"messages": [ASK, {**ANSWER, "weight": 0}]}
    assert not messages.PLUGIN.read(only, "x").is_learned
    rated = {"prompt": "Where?", "chosen": [{**ANSWER, "weight": 0}], "rejected": "No."}
    with pytest.raises(BadInput, match="chosen has weight 0"):
        formats.read(rated, "x", kinds=("preference",))
    turns = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "At sea.", "weight": 0}]
    record = formats.read({"conversations": turns}, "x")
    assert isinstance(record, Conversation) and not record.is_learned

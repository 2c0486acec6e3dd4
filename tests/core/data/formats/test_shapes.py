"""Row formats of other tools: Alpaca, ShareGPT with calls, pairs, labelled answers, prompts, texts."""

from __future__ import annotations

from typing import Any

import pytest

from finetop.core.data import formats
from finetop.core.data.formats import Call, Conversation, Labelled, Message, Preference, Prompt, Text
from finetop.core.errors import BadInput

ASK = {"role": "user", "content": "Where?"}
SAY = {"role": "assistant", "content": "At sea."}
HUMAN, GPT = {"from": "human", "value": "Where?"}, {"from": "gpt", "value": "At sea."}
USER = Message("user", "Where?")
TOOL = {"name": "find", "parameters": {"type": "object"}}

READ: list[tuple[str, dict[str, Any], Any]] = [
    (
        "conversation",
        {"instruction": "Where?", "input": "", "output": "At sea."},
        Conversation((USER,), "At sea."),
    ),
    (
        "conversation",
        {"instruction": "Add.", "input": "1, 2", "output": "3", "system": "Count.", "history": [["a", "b"]]},
        Conversation(
            (
                Message("system", "Count."),
                Message("user", "a"),
                Message("assistant", "b"),
                Message("user", "Add.\n\n1, 2"),
            ),
            "3",
        ),
    ),
    ("conversation", {"conversations": [HUMAN, GPT]}, Conversation((USER,), "At sea.")),
    (
        "conversation",
        {"conversations": [HUMAN, GPT], "system": "Be short.", "tools": '[{"name": "find"}]'},
        Conversation((Message("system", "Be short."), USER), "At sea.", tools=({"name": "find"},)),
    ),
    (
        "conversation",
        {
            "conversations": [
                HUMAN,
                {"from": "function_call", "value": '{"name": "find", "arguments": {"what": "me"}}'},
                {"from": "observation", "value": "12, 30"},
                GPT,
            ]
        },
        Conversation(
            (USER, Message("assistant", "", (Call("find", {"what": "me"}),)), Message("tool", "12, 30")),
            "At sea.",
        ),
    ),
    (
        "conversation",
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"function": {"name": "find", "arguments": '{"what": 1}'}}],
                },
            ],
            "tools": [TOOL],
        },
        Conversation((USER,), "", tools=(TOOL,), calls=(Call("find", {"what": 1}),)),
    ),
    ("text", {"text": "At sea."}, Text("At sea.")),
    (
        "preference",
        {"prompt": "Where?", "chosen": "At sea.", "rejected": "No."},
        Preference((USER,), "At sea.", "No."),
    ),
    (
        "preference",
        {"conversations": [HUMAN], "chosen": GPT, "rejected": {**GPT, "value": "No."}},
        Preference((USER,), "At sea.", "No."),
    ),
    (
        "preference",
        {"chosen": [ASK, SAY], "rejected": [ASK, {**SAY, "content": "No."}]},
        Preference((USER,), "At sea.", "No."),
    ),
    ("labelled", {"messages": [ASK, SAY], "label": False}, Labelled((USER,), "At sea.", False)),
    ("labelled", {"prompt": "Where?", "completion": "No.", "label": True}, Labelled((USER,), "No.", True)),
    ("prompt", {"prompt": "Where?", "answer": "At sea."}, Prompt((USER,), "At sea.")),
    ("prompt", {"prompt": [ASK]}, Prompt((USER,))),
]


@pytest.mark.parametrize(("kind", "row", "record"), READ)
def test_is_told_by_its_keys_and_read(kind: Any, row: dict[str, Any], record: Any) -> None:
    assert formats.read(row, "a:1", kinds=(kind,)) == record


FAULTS: list[tuple[Any, dict[str, Any], str]] = [
    ("conversation", {"instruction": "", "output": "b"}, "instruction is empty"),
    (
        "conversation",
        {"instruction": "a", "output": "b", "history": ["c"]},
        "history[0] is not a pair of texts",
    ),
    ("conversation", {"conversations": [HUMAN]}, "conversations ends with a turn of user"),
    ("conversation", {"conversations": [{"from": "bot", "value": "a"}]}, "conversations[0].from is 'bot'"),
    (
        "conversation",
        {"conversations": [HUMAN, {"from": "function_call", "value": "x"}]},
        "is not a function call",
    ),
    ("conversation", {"messages": [ASK, SAY], "tools": "x"}, "tools is not a list of functions"),
    ("conversation", {"chosen": "a", "rejected": "b"}, "no format fits a row with chosen, rejected"),
    ("conversation", {"Question": "a", "answer": "b"}, "columns: {prompt: Question, completion: answer}"),
    ("conversation", {"prompt": "a", "response": "b"}, "columns: {prompt: prompt, completion: response}"),
    (
        "conversation",
        {"question": "a", "reason": "b", "id": "c"},
        "no format fits a row with question, reason, id. Write {",
    ),
    ("preference", {"prompt": "a", "chosen": "b"}, "rejected is missing"),
    (
        "preference",
        {"prompt": "a", "chosen": "b", "rejected": "b"},
        "chosen and rejected are the same answer",
    ),
    ("preference", {"chosen": "b", "rejected": "c"}, "there is no prompt before the answers"),
    ("labelled", {"messages": [ASK, SAY], "label": "good"}, "label is 'good'. It is true for a good answer"),
    ("text", {"text": " "}, "text is empty"),
    ("prompt", {"prompt": [ASK, SAY]}, "prompt ends with an answer"),
]


@pytest.mark.parametrize(("kind", "row", "said"), FAULTS)
def test_says_place_key_and_fix(kind: Any, row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        formats.read(row, "faq.jsonl:17", kinds=(kind,))
    assert str(caught.value).startswith("faq.jsonl:17: ")
    assert said in str(caught.value)


def test_a_format_that_is_named_must_fit_and_every_row_gives_a_prompt() -> None:
    with pytest.raises(
        BadInput, match=r"^a:1: rows of format text do not fit here\. Use alpaca or messages or"
    ):
        formats.read({"text": "a"}, "a:1", "text")
    assert formats.as_prompt(Conversation((USER,), "At sea.")) == Prompt((USER,), "At sea.")
    assert formats.as_prompt(Preference((USER,), "a", "b")) == Prompt((USER,))


@pytest.mark.parametrize(
    ("record", "texts"),
    [
        (Conversation((USER,), "At sea."), ("Where?", "At sea.")),
        (Text("At sea."), ("At sea.",)),
        (Preference((USER,), "a", "b"), ("Where?", "a", "b")),
        (Labelled((USER,), "a", False), ("Where?", "a")),
        (Prompt((USER,), "a"), ("Where?", "a")),
        (Prompt((USER,)), ("Where?",)),
    ],
)
def test_all_that_a_row_says_is_told(record: Any, texts: tuple[str, ...]) -> None:
    assert formats.texts_of(record) == texts

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

ANSWERED = Conversation((USER,), "At sea.")
CHOSEN = Preference((USER,), "At sea.", "No.")
ALPACA = {"instruction": "Add.", "input": "1, 2", "output": "3", "system": "Count.", "history": [["a", "b"]]}
BEFORE = (Message("system", "Count."), Message("user", "a"), Message("assistant", "b"))
CALL = {"from": "function_call", "value": '{"name": "find", "arguments": {"what": "me"}}'}
CALLED = Message("assistant", "", (Call("find", {"what": "me"}),))
TOOL_CALLS = [{"function": {"name": "find", "arguments": '{"what": 1}'}}]
CALLS = {"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}
WITH_TOOLS = {"system": "Be short.", "tools": '[{"name": "find"}]'}

READ: dict[str, list[tuple[dict[str, Any], Any]]] = {
    "conversation": [
        ({"instruction": "Where?", "input": "", "output": "At sea."}, ANSWERED),
        (ALPACA, Conversation((*BEFORE, Message("user", "Add.\n\n1, 2")), "3")),
        ({"conversations": [HUMAN, GPT]}, ANSWERED),
        (
            {"conversations": [HUMAN, GPT], **WITH_TOOLS},
            Conversation((Message("system", "Be short."), USER), "At sea.", tools=({"name": "find"},)),
        ),
        (
            {"conversations": [HUMAN, CALL, {"from": "observation", "value": "12, 30"}, GPT]},
            Conversation((USER, CALLED, Message("tool", "12, 30")), "At sea."),
        ),
        (
            {"messages": [ASK, CALLS], "tools": [TOOL]},
            Conversation((USER,), "", tools=(TOOL,), calls=(Call("find", {"what": 1}),)),
        ),
    ],
    "text": [({"text": "At sea."}, Text("At sea."))],
    "preference": [
        ({"prompt": "Where?", "chosen": "At sea.", "rejected": "No."}, CHOSEN),
        ({"conversations": [HUMAN], "chosen": GPT, "rejected": {**GPT, "value": "No."}}, CHOSEN),
        ({"chosen": [ASK, SAY], "rejected": [ASK, {**SAY, "content": "No."}]}, CHOSEN),
    ],
    "labelled": [
        ({"messages": [ASK, SAY], "label": False}, Labelled((USER,), "At sea.", False)),
        ({"prompt": "Where?", "completion": "No.", "label": True}, Labelled((USER,), "No.", True)),
    ],
    "prompt": [
        ({"prompt": "Where?", "answer": "At sea."}, Prompt((USER,), "At sea.")),
        ({"prompt": [ASK]}, Prompt((USER,))),
    ],
}
FAULTS: dict[str, list[tuple[dict[str, Any], str]]] = {
    "conversation": [
        ({"instruction": "", "output": "b"}, "instruction is empty"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "history[0] is not a pair of texts"),
        ({"conversations": [HUMAN]}, "conversations ends with a turn of user"),
        ({"conversations": [{"from": "bot", "value": "a"}]}, "conversations[0].from is 'bot'"),
        *(
            ({"conversations": [HUMAN, {**CALL, "value": call}]}, "is not a function call")
            for call in ("x", "[" * 100_000)
        ),
        ({"messages": [ASK, SAY], "tools": "x"}, "tools is not a list of functions"),
        ({"chosen": "a", "rejected": "b"}, "no format fits a row with chosen, rejected"),
        ({"Question": "a", "answer": "b"}, "columns: {prompt: Question, completion: answer}"),
        ({"prompt": "a", "response": "b"}, "columns: {prompt: prompt, completion: response}"),
        (
            {"question": "a", "reason": "b", "id": "c"},
            "no format fits a row with question, reason, id. Add to this source",
        ),
    ],
    "preference": [
        ({"prompt": "a", "chosen": "b"}, "rejected is missing"),
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are the same answer"),
        ({"chosen": "b", "rejected": "c"}, "there is no prompt before the answers"),
    ],
    "labelled": [
        ({"messages": [ASK, SAY], "label": "good"}, "label is 'good'. It is true for a good answer")
    ],
    "text": [({"text": " "}, "text is empty")],
    "prompt": [({"prompt": [ASK, SAY]}, "prompt ends with an answer")],
}


@pytest.mark.parametrize(("kind", "at"), [(kind, at) for kind in READ for at in range(len(READ[kind]))])
def test_is_told_by_its_keys_and_read(kind, at):
    row, record = READ[kind][at]
    assert formats.read(row, "a:1", kinds=(kind,)) == record


@pytest.mark.parametrize(("kind", "at"), [(kind, at) for kind in FAULTS for at in range(len(FAULTS[kind]))])
def test_says_place_key_and_fix(kind, at):
    row, said = FAULTS[kind][at]
    with pytest.raises(BadInput) as caught:
        formats.read(row, "faq.jsonl:17", kinds=(kind,))
    assert str(caught.value).startswith("faq.jsonl:17: ")
    assert said in str(caught.value)


def test_a_format_that_is_named_must_fit_and_every_row_gives_a_prompt():
    why = r"^a:1: rows of format text do not fit here\. Use alpaca or messages or"
    with pytest.raises(BadInput, match=why):
        formats.read({"text": "a"}, "a:1", "text")
    assert formats.as_prompt(ANSWERED) == Prompt((USER,), "At sea.")
    assert formats.as_prompt(Preference((USER,), "a", "b")) == Prompt((USER,))


def test_all_that_a_row_says_is_told():
    for record, texts in (
        (ANSWERED, ("Where?", "At sea.")),
        (Text("At sea."), ("At sea.",)),
        (Preference((USER,), "a", "b"), ("Where?", "a", "b")),
        (Labelled((USER,), "a", False), ("Where?", "a")),
        (Prompt((USER,), "a"), ("Where?", "a")),
        (Prompt((USER,)), ("Where?",)),
    ):
        assert formats.texts_of(record) == texts

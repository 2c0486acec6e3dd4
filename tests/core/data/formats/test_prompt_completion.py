"""Rows of a prompt and its completion."""

from __future__ import annotations

from typing import Any

import pytest

from finetop.core.data import formats
from finetop.core.data.formats import Message, prompt_completion
from finetop.core.errors import BadInput

ASK = {"role": "user", "content": "Where?"}
ANSWER = {"role": "assistant", "content": "At sea."}

FAULTS: dict[str, dict[str, Any]] = {
    "prompt is missing. Write": {"completion": "a"},
    "completion is missing. Write": {"prompt": "a"},
    "completion is missing. Give": {"prompt": "a", "completion": None},
    "prompt is empty": {"prompt": "", "completion": "a"},
    "completion is empty": {"prompt": "a", "completion": " "},
    "completion is a mapping": {"prompt": "a", "completion": ANSWER},
    "completion is true or false": {"prompt": "a", "completion": True},
    "completion must be one turn of the assistant": {"prompt": [ASK], "completion": [ASK]},
    "completion must be one turn": {"prompt": [ASK], "completion": [ANSWER, ANSWER]},
    "prompt[0].content is missing": {"prompt": [{"role": "user"}], "completion": [ANSWER]},
}


@pytest.mark.parametrize("said", FAULTS)
def test_says_place_key_and_fix(said: str) -> None:
    with pytest.raises(BadInput) as caught:
        prompt_completion.PLUGIN.read(FAULTS[said], "faq.jsonl:17")
    assert str(caught.value).startswith(f"faq.jsonl:17: {said}")


def test_two_texts_are_plain_and_lists_of_turns_are_not() -> None:
    plain = formats.read({"prompt": "Where?", "completion": " At sea."}, "x")
    assert (plain.prompt, plain.answer, plain.is_plain) == ((Message("user", "Where?"),), " At sea.", True)
    turns = formats.read({"prompt": [ASK], "completion": [ANSWER]}, "x", "prompt-completion")
    assert (turns.prompt, turns.answer, turns.is_plain) == ((Message("user", "Where?"),), "At sea.", False)

"""Real data sets, where they are at hand (FINETOP_TEST_DATA): rows are read whole, or refused in one clear line."""

import os
from pathlib import Path

import pytest

from finetop.core.data import sources
from finetop.core.errors import BadInput
from finetop.core.recipe.schema import Source

DATA = Path(os.environ.get("FINETOP_TEST_DATA", "/nonexistent"))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="FINETOP_TEST_DATA names no folder of data sets")


def conversations_of(file):
    return [row.conversation for row in sources.read(Source(path=str(DATA / file)), None)]


@pytest.mark.parametrize(
    ("file", "rows"),
    [("json_mode/train", 420), ("medquad/train", 700), ("gsm8k_sft/train", 800), ("pubmedqa_sft/train", 450),
     ("support_tickets/train", 68), ("kb_contoso/qa_train", 350), ("tatqa/train", 800)],
)  # fmt: skip
def test_conversations_are_read_whole(file, rows):
    found = conversations_of(f"{file}.jsonl")
    assert len(found) == rows
    assert all(conversation.answer.strip() for conversation in found)


def test_calls_of_functions_are_read_as_calls():
    found = conversations_of("glaive_toolcall_en_demo/train.jsonl")
    assert len(found) == 260
    calls = [call for one in found for message in one.messages for call in message.calls]
    assert calls
    assert all(call.name for call in calls)
    assert any(one.tools for one in found)


@pytest.mark.parametrize("file", ["dpo_en_demo/train.jsonl", "shakespeare/train.jsonl"])
def test_rows_of_another_shape_are_refused_with_place_and_fix(file):
    with pytest.raises(BadInput) as caught:
        conversations_of(file)
    assert f"{Path(file).name}:1" in caught.value.message
    assert caught.value.hint

"""Masking of surprising tokens: which, how many, and what happens to rows that have none left."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from finetop.core.data.examples import IGNORED, Example
from finetop.core.errors import BadInput
from finetop.core.runtime.event_log import EventLog
from finetop.core.train.protections import _text
from finetop.core.train.protections.mask_surprising import mask


def test_only_learned_tokens_over_the_limit_are_masked():
    example = Example([1, 2, 3, 4], [IGNORED, 2, 3, 4])
    nats = torch.tensor([math.log(2.0), math.log(3.0), math.log(2.4)])
    assert mask(example, nats, 2.5).labels == [IGNORED, 2, IGNORED, 4]
    assert mask(example, nats, 4.0) == example


def test_nats_are_those_of_rows_read_alone(tiny_model, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    rows = [[7, 8, 9], [10, 11, 12, 13, 14, 15], [20, 21]]
    found = _text.surprise(model, rows, 0, EventLog(tmp_path / "events.jsonl"), "reading")
    for row, nats in zip(rows, found, strict=True):
        with torch.no_grad():
            scores = torch.log_softmax(model(input_ids=torch.tensor([row])).logits[0], -1)
        alone = torch.tensor([-scores[at, token].item() for at, token in enumerate(row[1:])])
        assert torch.allclose(nats, alone, atol=1e-5)


def test_a_run_says_what_it_masks(train):
    run = train({"mask_surprising": 350.0}, train={"max_steps": 1, "batch_size": 2, "grad_accumulation": 1})
    (line,) = [line for line in run.log.splitlines() if line.startswith("protect.mask_surprising")]
    masked, whole = (int(word.replace(",", "")) for word in (line.split()[1], line.split()[3]))
    assert 0 < masked < whole
    assert "rows have none left and are dropped" in line


def test_nothing_left_is_an_error(train):
    with pytest.raises(BadInput, match=r"finds all \d+ learned tokens less likely"):
        train({"mask_surprising": 1.01})

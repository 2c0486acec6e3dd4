"""A tiny policy with its tokenizer, and prompts, without a run."""

import pytest

from finetop.core.data.formats import Message

QUESTIONS = ["What opens at nine?", "Where?", "Can you mend my radio, my lamp and my clock?", "Who are you?"]


@pytest.fixture(scope="session")
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def policy(tiny_model):
    """Return the tiny model with weights five times as large, so that it is sure of some tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight *= 5
    return model


@pytest.fixture
def prompts(tokenizer):
    from finetop.core.data.examples import PromptExample
    from finetop.core.data.render import prompt_ids

    asked = [(Message("user", text),) for text in QUESTIONS]
    return [PromptExample(prompt_ids(one, tokenizer, "row"), "nine", one) for one in asked]

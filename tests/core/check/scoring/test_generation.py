"""Answers written in batches, after kept prefixes and past stop strings equal those written one at a time."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from finetop.core.check.scoring import generation
from finetop.core.check.scoring.batch_plan import BatchPlan, Prompt
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.prefix_cache import PrefixMemory, find

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = ("Where", "What opens at nine? The", "Can you mend my radio", "We")
LONG = "The quick brown fox jumps over the lazy dog, and we mend radios behind the station. " * 4
PLAN = BatchPlan("packed", 512)


def written_alone(model: Any, tokenizer: Any, prompt: Prompt) -> str:
    """Write an answer with one forward pass over the whole text per token."""
    tokens = list(prompt.tokens)
    while len(tokens) < len(prompt.tokens) + prompt.max_new_tokens:
        with torch.no_grad():
            tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
        if tokens[-1] == tokenizer.eos_token_id:
            break
    return str(tokenizer.decode(tokens[len(prompt.tokens) :], skip_special_tokens=True))


def prompts_behind(tokenizer: Any, beginning: str, longest: int = 6) -> list[Prompt]:
    texts = enumerate(beginning + text for text in TEXTS)
    return [Prompt(tuple(tokenizer.encode(text)), (), longest + at) for at, text in texts]


@pytest.mark.parametrize("beginning", ["", "The quick brown fox jumps. ", LONG])
def test_batched_answers_equal_answers_alone(loud_model, tiny_tokenizer, beginning):
    prompts = prompts_behind(tiny_tokenizer, beginning)
    together = answer(loud_model, tiny_tokenizer, prompts, PLAN)
    assert together == [written_alone(loud_model, tiny_tokenizer, prompt) for prompt in prompts]
    assert answer(loud_model, tiny_tokenizer, prompts, BatchPlan("packed", 1)) == together
    assert answer(loud_model, tiny_tokenizer, prompts, BatchPlan("plain", 512)) == together


def test_answers_behind_kept_beginnings_equal_answers_alone(loud_model, tiny_tokenizer):
    prompts = prompts_behind(tiny_tokenizer, LONG) + prompts_behind(tiny_tokenizer, "")
    memory = PrefixMemory(find([prompt] for prompt in prompts), 1 << 30)
    wanted = [written_alone(loud_model, tiny_tokenizer, prompt) for prompt in prompts]
    assert answer(loud_model, tiny_tokenizer, prompts, PLAN, memory) == wanted
    assert memory.held_bytes > 0
    assert [answer(loud_model, tiny_tokenizer, [single], PLAN, memory)[0] for single in prompts] == wanted


def test_answers_of_a_model_with_a_short_window(tiny_tokenizer, make_loud):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"vocab_size": len(tiny_tokenizer), "num_key_value_heads": 1, "sliding_window": 16}
    config = MistralConfig(pad_token_id=0, **sizes)
    config.eos_token_id = tiny_tokenizer.eos_token_id
    model = make_loud(MistralForCausalLM(config).eval())
    prompts = prompts_behind(tiny_tokenizer, LONG)
    memory = PrefixMemory(find([prompt] for prompt in prompts), 1 << 30)
    wanted = [written_alone(model, tiny_tokenizer, prompt) for prompt in prompts]
    assert answer(model, tiny_tokenizer, prompts, PLAN, memory) == wanted


def test_answers_looked_at_every_eight_tokens_as_on_a_gpu_are_the_same(
    tiny_tokenizer, make_loud, monkeypatch
):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(3)
    prompts = [
        replace(one, max_new_tokens=2 + 9 * at) for at, one in enumerate(prompts_behind(tiny_tokenizer, ""))
    ]
    long = Prompt(tuple(tiny_tokenizer.encode(LONG)), (), 2)
    # learned positions end with the longest prompt's answer, while others in its batch go on
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": len(long.tokens) + 2}
    model = make_loud(GPT2LMHeadModel(GPT2Config(vocab_size=len(tiny_tokenizer), **sizes)).eval())
    looks = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda rows, dim=0: looks.append(len(rows)) or stack(rows, dim=dim))
    (stop,) = {text[2:4] for text in answer(model, tiny_tokenizer, prompts[3:], PLAN)}
    every = [*prompts, long, replace(prompts[3], stop=(stop,))]
    wanted = [answer(model, tiny_tokenizer, [prompt], PLAN)[0] for prompt in every]
    monkeypatch.setattr(generation, "between_looks", lambda device: 8)
    looks.clear()
    assert answer(model, tiny_tokenizer, every, BatchPlan("packed", 4096)) == wanted
    assert max(looks) == 8 and sum(looks) >= 29


def test_answers_end_at_the_stop_string_which_a_special_token_can_be(loud_model, tiny_tokenizer):
    prompt = tuple(tiny_tokenizer.encode("What opens at nine? The"))
    (whole,) = answer(loud_model, tiny_tokenizer, [Prompt(prompt, (), 12)], PLAN)
    stop = whole[3:5]
    (cut,) = answer(loud_model, tiny_tokenizer, [Prompt(prompt, (stop,), 12)], PLAN)
    assert cut == whole.split(stop)[0]
    user = tiny_tokenizer.convert_tokens_to_ids("<|user|>")
    tokens = [*tiny_tokenizer.encode("We mend"), user, *tiny_tokenizer.encode("radios and clocks")]
    model = Dictating(loud_model, tokens, first=3)
    (text,) = answer(model, tiny_tokenizer, [Prompt((1, 2, 3), ("<|user|>",), len(tokens))], PLAN)
    assert text == "We mend"
    assert model.calls == len(tiny_tokenizer.encode("We mend")) + 1


class Dictating:
    """A model that writes given tokens, whatever it reads."""

    def __init__(self, model: Any, tokens: Sequence[int], first: int) -> None:
        self.config, self.device, self.generation_config = model.config, model.device, None
        self.tokens, self.first, self.calls = tokens, first, 0

    def __call__(self, **inputs: Any) -> Any:
        return self.forward(**inputs)

    def get_output_embeddings(self) -> None:
        return None

    def forward(
        self, input_ids: Any, attention_mask: Any, position_ids: Any, cache: Any = None, **_: Any
    ) -> Any:
        at = attention_mask.shape[1] - self.first
        self.calls += 1
        logits = torch.zeros(len(input_ids), input_ids.shape[1], self.config.vocab_size)
        logits[:, -1, self.tokens[at]] = 1.0
        return SimpleNamespace(logits=logits, cache=cache)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft on transformers 5.24
def test_learned_tokens_before_the_input_are_not_read_twice(tiny_model, tiny_tokenizer, make_loud):
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from finetop.core.check.scoring.packing import TokenSequence
    from finetop.core.check.scoring.scorer import packs_exactly, score

    base = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    model = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    make_loud(base)
    assert not packs_exactly(model)
    prompts = prompts_behind(tiny_tokenizer, "")
    wanted = [written_alone(model, tiny_tokenizer, prompt) for prompt in prompts]
    assert answer(model, tiny_tokenizer, prompts, PLAN) == wanted
    tokens = tuple(range(10, 25))
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([tokens[:-1]])).logits[0, 5:].float(), -1)
    right = sum(float(log_probs[at - 1, tokens[at]]) for at in range(9, 15))
    (scored,) = score(model, [TokenSequence(tokens, 9)], BatchPlan("plain", 64))
    assert scored.log_prob == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("rows", [512, 1])
def test_another_engine_writes_the_same_answers_up_to_the_same_stops(loud_model, tiny_tokenizer, rows):
    prompts = [*prompts_behind(tiny_tokenizer, LONG), *prompts_behind(tiny_tokenizer, "", 12)]
    exact = answer(loud_model, tiny_tokenizer, prompts, PLAN)
    stop = next(text[2:4] for text in exact if len(text) > 4)
    prompts += [replace(prompt, stop=(stop,)) for prompt in prompts]
    wanted = answer(loud_model, tiny_tokenizer, prompts, PLAN)
    assert wanted[: len(exact)] == exact and wanted[len(exact) :] != exact
    plan = BatchPlan("packed", max(rows, 16), "continuous")
    assert answer(loud_model, tiny_tokenizer, prompts, plan) == wanted

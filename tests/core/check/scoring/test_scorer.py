"""Packed scores equal the plain model's, on every layout, and in the order given."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from finetop.core.check.scoring import packing, scorer
from finetop.core.check.scoring.batch_plan import BatchPlan
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.prefix_cache import PrefixMemory, find
from finetop.core.check.scoring.scorer import (
    encode_pair,
    encode_prompt,
    packs_exactly,
    score,
    window_log_probs,
)
from finetop.core.models import forward

NATS = 1e-4
KINDS = ("qwen2", "gpt2", "gpt_neox", "gemma3", "mistral, window 24", "mixtral", "bloom", "mpt", "mamba")


def alone(model: Any, sequence: TokenSequence) -> tuple[float, bool]:
    """Score one sequence with one plain forward pass."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([sequence.tokens])).logits[0].float()
    log_probs = torch.log_softmax(logits, -1)
    wanted = range(sequence.scored_from, len(sequence.tokens))
    total = sum(float(log_probs[at - 1, sequence.tokens[at]]) for at in wanted)
    greedy = all(int(log_probs[at - 1].argmax()) == sequence.tokens[at] for at in wanted)
    return total, greedy


def assert_as_alone(
    model: Any, sequences: list[TokenSequence], plan: BatchPlan, *memory: PrefixMemory
) -> None:
    """Require that each sequence scores as with one plain forward pass of its own."""
    for scored, sequence in zip(score(model, sequences, plan, *memory), sequences, strict=True):
        log_prob, greedy = alone(model, sequence)
        assert scored.log_prob == pytest.approx(log_prob, abs=NATS)
        assert scored.is_greedy == greedy


def some_sequences(count: int, seed: int) -> list[TokenSequence]:
    """Return random contexts with several continuations each; some share prefixes, one is the prefix of another."""
    rng = random.Random(seed)

    def draw(length: int) -> list[int]:
        return [rng.randrange(300) for _ in range(length)]

    header = draw(9)
    sequences = []
    for _ in range(count):
        context = [*(header if rng.random() < 0.5 else []), *draw(rng.randint(1, 30))]
        for _ in range(rng.randint(1, 4)):
            sequences.append(TokenSequence((*context, *draw(rng.randint(1, 6))), len(context)))
        sequences.append(TokenSequence((*context, *sequences[-1].tokens[len(context) :], 7), len(context)))
    return sequences


@pytest.mark.parametrize(
    "plan",
    [BatchPlan("packed", 512), BatchPlan("packed", 48), BatchPlan("packed", 1), BatchPlan("plain", 256)],
)
def test_scores_equal_a_forward_of_each_sequence_alone(loud_model, plan):
    sequences = some_sequences(12, seed=3)
    assert_as_alone(loud_model, sequences, plan)
    assert score(loud_model, sequences, plan) == score(loud_model, sequences, plan)  # the very same numbers


def test_a_batch_is_packed_and_begun_before_the_one_ahead_of_it_is_read(loud_model, monkeypatch):
    """So that a GPU works while the host packs; a batch is waited for once, however many tokens it scores."""
    happened = []
    for place, name, call in (
        (packing, "_sheet", "pack"),
        (forward, "logits_at", "run"),
        (scorer, "_sums", "read"),
    ):
        monkeypatch.setattr(place, name, noted(happened, call, getattr(place, name)))
    sequences = [TokenSequence(tuple((7 * i + 31 * n) % 300 for i in range(40)), 4) for n in range(36)]
    score(
        loud_model,
        sequences,
        BatchPlan("packed", 480),
        meanwhile=lambda: happened.append("pack what follows"),
    )
    assert happened == ["pack", "run", *["pack", "run", "read"] * 2, "pack what follows", "read"]


def noted(happened: list[str], call: str, function: Any) -> Any:
    """Return the function, with its calls noted."""

    def call_noted(*given: Any, **more: Any) -> Any:
        happened.append(call)
        return function(*given, **more)

    return call_noted


def test_a_greedy_continuation_a_window_and_nothing_are_scored_as_what_they_are(loud_model):
    tokens = [5, 9, 11]
    for _ in range(3):
        with torch.no_grad():
            tokens.append(int(loud_model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    (scored,) = score(loud_model, [TokenSequence(tuple(tokens), 3)], BatchPlan("packed", 64))
    assert scored.is_greedy
    ids = list(range(20))
    log_probs = window_log_probs(loud_model, ids)
    assert log_probs.shape[0] == 19
    wanted, _ = alone(loud_model, TokenSequence((0, 1, 2, 3, 4), 4))
    assert float(log_probs[3, 4]) == pytest.approx(wanted, abs=NATS)
    for layout in ("packed", "plain"):
        scores = score(loud_model, [TokenSequence((5,), 1), TokenSequence((5, 6), 1)], BatchPlan(layout, 64))
        assert (scores[0].log_prob, scores[0].is_greedy) == (0.0, True)
        assert scores[1].log_prob < 0


def test_a_model_that_ignores_the_mask_is_found_out(loud_model):
    class Deaf:
        config, device, dtype = loud_model.config, loud_model.device, loud_model.dtype

        def __call__(self, **inputs: Any) -> Any:
            return self.forward(**inputs)

        def forward(self, attention_mask: Any = None, logits_to_keep: Any = None, **inputs: Any) -> Any:
            return loud_model(logits_to_keep=logits_to_keep, **inputs)

    class Refusing(Deaf):
        def forward(self, attention_mask: Any = None, logits_to_keep: Any = None, **inputs: Any) -> Any:
            if attention_mask is not None and attention_mask.dim() == 4:
                raise ValueError("only 2-d masks")
            return loud_model(attention_mask=attention_mask, logits_to_keep=logits_to_keep, **inputs)

    assert packs_exactly(loud_model)
    assert not packs_exactly(Deaf())
    assert not packs_exactly(Refusing())


def test_pairs_and_prompts_are_split_and_cut_where_the_harness_does(tiny_tokenizer):
    pair = encode_pair(tiny_tokenizer, "The shop opens ", "at nine", longest=100)
    assert tiny_tokenizer.decode(pair.tokens) == "The shop opens at nine"
    assert tiny_tokenizer.decode(pair.tokens[pair.scored_from :]) == " at nine"
    short = encode_pair(tiny_tokenizer, "The shop opens at", " nine", longest=4)
    assert len(short.tokens) == 5
    assert tiny_tokenizer.decode(short.tokens[short.scored_from :]) == " nine"
    empty = encode_pair(tiny_tokenizer, "", "nine", longest=10)
    assert empty.tokens[0] == tiny_tokenizer.eos_token_id and empty.scored_from == 1
    text = "We mend radios.\n\n"
    assert encode_pair(tiny_tokenizer, text, "", 100).tokens == tuple(tiny_tokenizer.encode(text))
    assert encode_prompt(tiny_tokenizer, text, 100, 10) == tuple(tiny_tokenizer.encode(text))
    assert encode_prompt(tiny_tokenizer, text * 9, 100, 97) == tuple(tiny_tokenizer.encode(text * 9)[-3:])
    assert encode_prompt(tiny_tokenizer, "", 100, 10) == (tiny_tokenizer.eos_token_id,)

    text = " radios and lamps and clocks"
    ids = tiny_tokenizer.encode(text)
    cut = encode_pair(tiny_tokenizer, "We mend", text, len(ids) - 3)
    assert (cut.tokens, cut.scored_from) == (tuple(ids[2:]), 1)


def config_of(kind: str) -> tuple[Any, bool]:
    """Return an architecture by name, and whether its attention packs: windows, experts, learned positions, …"""
    import transformers as hf

    tokens = {"vocab_size": 320, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    llama = {
        **tokens, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    }  # fmt: skip
    neox = {key: value for key, value in llama.items() if key != "num_key_value_heads"}
    name, settings, packs = {
        "qwen2": ("Qwen2", llama, True),
        "gpt2": ("GPT2", {**tokens, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}, True),
        "gpt_neox": ("GPTNeoX", neox, True),
        "gemma3": ("Gemma3Text", {**llama, "head_dim": 8, "sliding_window": 24}, True),
        "mistral, window 24": ("Mistral", {**llama, "sliding_window": 24}, True),
        "mixtral": ("Mixtral", {**llama, "num_local_experts": 4, "num_experts_per_tok": 2}, True),
        "bloom": ("Bloom", {**tokens, "hidden_size": 32, "n_layer": 2, "n_head": 4}, False),
        "mpt": ("Mpt", {**tokens, "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256}, False),
        "mamba": ("Mamba", {**tokens, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, False),
    }[kind]
    return getattr(hf, f"{name}Config")(**settings), packs


@pytest.mark.parametrize("kind", KINDS)
def test_architectures_pack_exactly_or_say_that_they_do_not(kind):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    config, packs = config_of(kind)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1 and float(weights.std()) < 0.1:
                weights.mul_(8)
    assert packs_exactly(model) is packs
    rng = random.Random(7)
    header = [rng.randrange(3, 320) for _ in range(50)]
    items = []
    for at in range(8):
        context = [*(header if at % 2 else []), *(rng.randrange(3, 320) for _ in range(5 + at))]
        items.append([TokenSequence((*context, 5 + choice, 9, 11), len(context)) for choice in range(3)])
    memory = PrefixMemory(find(items), 1 << 30)
    sequences = [sequence for item in items for sequence in item]
    assert_as_alone(model, sequences, BatchPlan("packed" if packs else "plain", 128), memory)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_quantised_weights(tiny_model):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(
        tiny_model, dtype=torch.float32, quantization_config=settings, device_map={"": "cpu"}
    ).eval()
    assert any(weights.dtype == torch.uint8 for weights in model.parameters())
    assert packs_exactly(model)
    assert_as_alone(model, some_sequences(8, seed=4), BatchPlan("packed", 128))

"""Packed scores are those of the plain model, on every layout, and in the order asked."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import torch

from finetop.core.check.scoring.generation import Prompt, answer
from finetop.core.check.scoring.packing import TokenSequence, pack
from finetop.core.check.scoring.scorer import BatchPlan, encode_pair, packs_exactly, score, window_log_probs

if TYPE_CHECKING:
    from pathlib import Path

NATS = 1e-4
TEXTS = ("Where", "What opens at nine? The", "Can you mend my radio", "We")


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    # Ten times the usual size of weights: at the usual one all log-probabilities are nearly alike.
    loaded = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    with torch.no_grad():
        for weights in loaded.parameters():
            if weights.dim() > 1:
                weights.mul_(10)
    return loaded


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def alone(model: Any, sequence: TokenSequence) -> tuple[float, bool]:
    """Score one sequence with a forward of its own and nothing clever."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([sequence.tokens])).logits[0].float()
    log_probs = torch.log_softmax(logits, -1)
    wanted = range(sequence.scored_from, len(sequence.tokens))
    total = sum(float(log_probs[at - 1, sequence.tokens[at]]) for at in wanted)
    greedy = all(int(log_probs[at - 1].argmax()) == sequence.tokens[at] for at in wanted)
    return total, greedy


def some_sequences(count: int, seed: int) -> list[TokenSequence]:
    """Random contexts with several continuations each; some share beginnings, one is the beginning of another."""
    rng = random.Random(seed)
    header = [rng.randrange(300) for _ in range(9)]
    made = []
    for _ in range(count):
        context = [
            *(header if rng.random() < 0.5 else []),
            *(rng.randrange(300) for _ in range(rng.randint(1, 30))),
        ]
        for _ in range(rng.randint(1, 4)):
            made.append(
                TokenSequence(
                    (*context, *(rng.randrange(300) for _ in range(rng.randint(1, 6)))), len(context)
                )
            )
        made.append(TokenSequence((*context, *made[-1].tokens[len(context) :], 7), len(context)))
    return made


@pytest.mark.parametrize(
    "plan",
    [BatchPlan("packed", 512), BatchPlan("packed", 48), BatchPlan("packed", 1), BatchPlan("plain", 256)],
)
def test_scores_equal_a_forward_of_each_sequence_alone(model: Any, plan: BatchPlan) -> None:
    sequences = some_sequences(12, seed=3)
    for found, sequence in zip(score(model, sequences, plan), sequences, strict=True):
        log_prob, greedy = alone(model, sequence)
        assert found.log_prob == pytest.approx(log_prob, abs=NATS)
        assert found.is_greedy == greedy


def test_greedy_continuation_is_found(model: Any) -> None:
    tokens = [5, 9, 11]
    for _ in range(3):
        with torch.no_grad():
            tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    (found,) = score(model, [TokenSequence(tuple(tokens), 3)], BatchPlan("packed", 64))
    assert found.is_greedy


def test_same_plan_gives_the_very_same_numbers(model: Any) -> None:
    sequences = some_sequences(6, seed=5)
    plan = BatchPlan("packed", 64)
    assert score(model, sequences, plan) == score(model, sequences, plan)


def test_shared_beginnings_are_packed_once() -> None:
    sequences = [
        TokenSequence((1, 2, 3, 4), 3),
        TokenSequence((1, 2, 3, 5), 3),
        TokenSequence((1, 2, 9, 9, 9), 2),
    ]
    (row,) = pack(sequences, 100)
    assert row.tokens == [1, 2, 3, 9, 9]
    assert row.depths == [0, 1, 2, 2, 3]
    seen = row.visible()
    assert not seen[3, 2] and seen[4, 3] and seen[4, 0]


def test_rows_keep_to_their_length_and_are_filled_evenly() -> None:
    rng = random.Random(1)
    sequences = [TokenSequence(tuple(rng.randrange(10_000) for _ in range(21)), 10) for _ in range(20)]
    rows = pack(sequences, 150)
    lengths = [len(row.tokens) for row in rows]
    assert max(lengths) <= 150
    assert min(lengths) >= 100
    assert sorted(place for row in rows for place in row.paths) == list(range(20))


def test_a_model_that_ignores_the_mask_is_found_out(model: Any) -> None:
    class Deaf:
        config, device, dtype = model.config, model.device, model.dtype

        def __call__(self, **inputs: Any) -> Any:
            return self.forward(**inputs)

        def forward(self, attention_mask: Any = None, logits_to_keep: Any = None, **inputs: Any) -> Any:
            return model(logits_to_keep=logits_to_keep, **inputs)

    class Refusing(Deaf):
        def forward(self, attention_mask: Any = None, logits_to_keep: Any = None, **inputs: Any) -> Any:
            if attention_mask is not None and attention_mask.dim() == 4:
                raise ValueError("only 2-d masks")
            return model(attention_mask=attention_mask, logits_to_keep=logits_to_keep, **inputs)

    assert packs_exactly(model)
    assert not packs_exactly(Deaf())
    assert not packs_exactly(Refusing())


def test_window_is_a_plain_forward(model: Any) -> None:
    ids = list(range(20))
    found = window_log_probs(model, ids)
    assert found.shape[0] == 19
    assert float(found[3, 4]) == pytest.approx(alone(model, TokenSequence((0, 1, 2, 3, 4), 4))[0], abs=NATS)


def test_pair_splits_where_the_harness_splits(tokenizer: Any) -> None:
    pair = encode_pair(tokenizer, "The shop opens ", "at nine", longest=100)
    assert tokenizer.decode(pair.tokens) == "The shop opens at nine"
    assert tokenizer.decode(pair.tokens[pair.scored_from :]) == " at nine"
    short = encode_pair(tokenizer, "The shop opens at", " nine", longest=4)
    assert len(short.tokens) == 5
    assert tokenizer.decode(short.tokens[short.scored_from :]) == " nine"
    empty = encode_pair(tokenizer, "", "nine", longest=10)
    assert empty.tokens[0] == tokenizer.eos_token_id and empty.scored_from == 1


@pytest.mark.parametrize("beginning", ["", "The quick brown fox jumps. "])
def test_batched_answers_equal_answers_alone(model: Any, tokenizer: Any, beginning: str) -> None:
    prompts = [Prompt(tuple(tokenizer.encode(beginning + text)), (), 6 + at) for at, text in enumerate(TEXTS)]
    together = answer(model, tokenizer, prompts, BatchPlan("packed", 512))
    for prompt, found in zip(prompts, together, strict=True):
        tokens = list(prompt.tokens)
        while len(tokens) < len(prompt.tokens) + prompt.max_new_tokens:
            with torch.no_grad():
                tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
            if tokens[-1] == tokenizer.eos_token_id:
                break
        assert found == tokenizer.decode(tokens[len(prompt.tokens) :], skip_special_tokens=True)
    assert answer(model, tokenizer, prompts, BatchPlan("packed", 1)) == together


def test_answers_end_at_the_stop_string(model: Any, tokenizer: Any) -> None:
    prompt = tuple(tokenizer.encode("What opens at nine? The"))
    (whole,) = answer(model, tokenizer, [Prompt(prompt, (), 12)], BatchPlan("packed", 64))
    stop = whole[3:5]
    (cut,) = answer(model, tokenizer, [Prompt(prompt, (stop,), 12)], BatchPlan("packed", 64))
    assert cut == whole.split(stop)[0]


def test_harness_model_gives_what_the_stock_model_gives(model: Any, tokenizer: Any) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from finetop.core.check.scoring.harness_model import PackedModel

    ours = PackedModel(model, tokenizer)
    stock = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2, dtype="float32")
    pairs = [("What opens at nine?", f" {word}") for word in ("The shop", "radios", "a dog")] + [
        ("", "We mend clocks.")
    ]
    asked = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    for found, wanted in zip(
        ours.loglikelihood(asked), stock.loglikelihood(asked, disable_tqdm=True), strict=True
    ):
        assert found[0] == pytest.approx(wanted[0], abs=NATS)
        assert found[1] == wanted[1]
    texts = [Instance("loglikelihood_rolling", {}, ("Where are you? We are behind the station. " * 40,), 0)]
    (long,) = ours.loglikelihood_rolling(texts)
    assert long == pytest.approx(stock.loglikelihood_rolling(texts, disable_tqdm=True)[0], rel=1e-2)

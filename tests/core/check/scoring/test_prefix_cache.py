"""Prefixes that items share are found, read once, kept within their byte limit, and never change a number."""

from __future__ import annotations

import gc
import random
import weakref
from functools import wraps
from typing import Any

import pytest
import torch

from finetop.core.check.scoring.batch_plan import BatchPlan, Prompt
from finetop.core.check.scoring.generation import answer
from finetop.core.check.scoring.packing import TokenSequence
from finetop.core.check.scoring.prefix_cache import LEAST_TOKENS, Prefixes, PrefixMemory, find, room_for
from finetop.core.check.scoring.scorer import score
from finetop.core.models import devices

PLAN = BatchPlan("packed", 128)
PLENTY = 1 << 30


def random_tokens(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(300) for _ in range(count))


def some_items(subjects: int = 3, each: int = 4, seed: int = 1) -> list[list[TokenSequence]]:
    """Return items of several subjects: all begin with 60 tokens, those of a subject with 80 more; two choices each."""
    rng = random.Random(seed)
    head = random_tokens(rng, 60)
    items = []
    for _ in range(subjects):
        examples = (*head, *random_tokens(rng, 80))
        for _ in range(each):
            context = (*examples, *random_tokens(rng, rng.randint(4, 12)))
            items.append([TokenSequence((*context, *random_tokens(rng, 3)), len(context)) for _ in range(2)])
    return items


def counting(model: Any, fails_at: int = 0) -> Any:
    """Return the model with a count of the tokens it reads; it runs out of memory at its n-th call."""

    class Counting:
        config, device, dtype = model.config, model.device, model.dtype
        generation_config = model.generation_config
        get_output_embeddings = model.get_output_embeddings
        tokens = calls = 0

        def __call__(self, **inputs: Any) -> Any:
            return self.forward(**inputs)

        @wraps(type(model).forward)  # whose arguments the scorer reads
        def forward(self, **inputs: Any) -> Any:
            self.calls += 1
            self.tokens += inputs["input_ids"].numel()
            if self.calls == fails_at:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return model(**inputs)

    return Counting()


def test_beginnings_that_items_share_are_found_and_nested_but_no_short_rare_or_predicting_ones():
    prefixes = find(some_items())
    assert sorted(map(len, prefixes.tokens)) == [60, 140, 140, 140]
    whole = [len(tokens) for tokens in prefixes.tokens].index(60)
    assert sorted(prefixes.parents) == sorted([-1, whole, whole, whole])
    (item, *_) = some_items()
    assert find([item]) == Prefixes()
    rng = random.Random(5)
    context = random_tokens(rng, 200)
    pair = [TokenSequence((*context, *random_tokens(rng, 9)), 205) for _ in range(2)]  # they diverge late
    assert find([pair]) == Prefixes()
    assert find([pair[:1], pair[1:]]).tokens == (context,)
    rng = random.Random(6)
    for shared, items, wanted in ((LEAST_TOKENS - 1, 30, 0), (LEAST_TOKENS, 30, 1), (60, 2, 0), (200, 2, 1)):
        head = random_tokens(rng, shared)
        rare_items = [[TokenSequence((*head, 301 + item, 7, 8), shared + 2)] for item in range(items)]
        assert len(find(rare_items).tokens) == wanted, (shared, items)
    rng = random.Random(7)
    context = random_tokens(rng, 150)
    items = [[TokenSequence((*context, token), 150)] for token in range(5)]
    (only,) = find(items).tokens
    assert only == context[:149]
    assert find([[Prompt(context, (), 5)], [Prompt(context, (), 5)]]).tokens == (context[:149],)


def test_longest_is_the_longest_that_fits_whatever_the_order_of_items():
    items = some_items()
    prefixes = find(items)
    assert find(random.Random(2).sample(items, len(items))) == prefixes
    for item in items:
        tokens = prefixes.tokens[prefixes.longest(item[0])]
        assert len(tokens) == 140 and item[0].tokens[:140] == tokens
    whole = prefixes.tokens[[len(tokens) for tokens in prefixes.tokens].index(60)]
    other = TokenSequence((*whole, 299, 298, 297, 296), 63)
    assert len(prefixes.tokens[prefixes.longest(other)]) == 60
    assert prefixes.longest(TokenSequence(whole, 60)) == -1  # its last token predicts
    assert prefixes.longest(TokenSequence((1, 2, 3), 2)) == -1


def test_scores_behind_a_beginning_are_those_of_the_whole_and_the_very_same_kept_or_read_now(loud_model):
    items = some_items()
    sequences = [sequence for item in items for sequence in item]
    memory = PrefixMemory(find(items), PLENTY)
    wanted = score(loud_model, sequences, BatchPlan("plain", 1))
    for scored, right in zip(score(loud_model, sequences, PLAN, memory), wanted, strict=True):
        assert scored.log_prob == pytest.approx(right.log_prob, abs=1e-4)
        assert scored.is_greedy == right.is_greedy
    items = some_items(subjects=4)
    kept, forgetful = PrefixMemory(find(items), PLENTY), PrefixMemory(find(items), 0)
    order = random.Random(3).sample(range(len(items)), len(items))
    first = [score(loud_model, items[at], PLAN, kept) for at in order]
    assert [score(loud_model, items[at], PLAN, forgetful) for at in order] == first
    assert [score(loud_model, items[at], PLAN, kept) for at in order] == first
    assert kept.held_bytes > 0 and forgetful.held_bytes == 0


def test_a_beginning_is_read_once_over_many_calls(loud_model):
    items = some_items(subjects=1, each=10)
    model = counting(loud_model)
    memory = PrefixMemory(find(items), PLENTY)
    for item in items:
        score(model, item, PLAN, memory)
    assert len({sequence.tokens[: sequence.scored_from] for item in items for sequence in item}) == 10
    assert model.tokens < 140 + sum(len(item[0].tokens) - 140 + 6 for item in items)


def test_bytes_are_bounded_and_what_was_used_last_stays(loud_model):
    items = some_items(subjects=4)
    everything = PrefixMemory(find(items), PLENTY)
    for item in items:
        score(loud_model, item, PLAN, everything)
    limit = everything.held_bytes // 2
    tight = PrefixMemory(find(items), limit)
    for item in items:
        score(loud_model, item, PLAN, tight)
        assert tight.held_bytes <= limit
    assert tight.held_bytes > 0
    model = counting(loud_model)
    score(model, items[-1], PLAN, tight)
    assert model.calls == 1  # no prefix read again
    everything.clear()
    assert everything.held_bytes == 0


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_out_of_memory_leaves_nothing_behind(loud_model, fails_at):
    items = some_items()
    memory = PrefixMemory(find(items), PLENTY)
    left = []

    reading = memory.past

    def watched(*given: Any) -> Any:
        past = reading(*given)
        left.append(weakref.ref(past.cache.layers[0].keys))
        return past

    memory.past = watched  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        score(counting(loud_model, fails_at), [sequence for item in items for sequence in item], PLAN, memory)
    gc.collect()
    assert memory.held_bytes == 0
    assert fails_at < 3 or left
    assert all(keys() is None for keys in left)


def test_out_of_memory_while_writing_leaves_nothing_behind(loud_model, tiny_tokenizer):
    prompts = [Prompt(item[0].tokens[:-3], (), 6) for item in some_items()]
    memory = PrefixMemory(find([prompt] for prompt in prompts), PLENTY)
    with pytest.raises(torch.OutOfMemoryError):
        answer(counting(loud_model, 6), tiny_tokenizer, prompts, PLAN, memory)
    assert memory.held_bytes == 0


def test_room_on_a_gpu_is_a_share_of_what_the_jobs_limit_leaves(monkeypatch):
    monkeypatch.setattr(devices, "free_bytes", lambda device: 2.0**30)
    assert room_for("cuda:0") == int(0.15 * 2**30)
    monkeypatch.setattr(devices, "free_bytes", lambda device: -1.0)
    assert room_for("cuda:0") == 0


def test_room_is_a_share_of_what_is_free():
    import psutil

    assert 0 < room_for("cpu") <= psutil.virtual_memory().total / 10 + 1
    assert room_for("mps") > 0

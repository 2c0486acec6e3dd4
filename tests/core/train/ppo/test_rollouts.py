"""Sampled answers: the same seed gives the same ones, from the whole distribution; padding never counts."""

import pytest
import torch

from finetop.core.models import engine
from finetop.core.models.forward import end_tokens
from finetop.core.train.ppo import rollouts
from finetop.core.train.ppo.policy import Reader, log_probabilities


def drawn(policy, prompts, tokenizer, **changed):
    settings = {
        "ends": end_tokens(policy, tokenizer), "padding": tokenizer.pad_token_id, "longest": 6,
        "temperature": 1.0, "together": 4, "seed": 1,
    }  # fmt: skip
    return rollouts.draw(policy, [one.prompt_ids for one in prompts], **{**settings, **changed})


def test_padding_stands_in_front_of_prompts_and_behind_answers():
    ids, attention, mask = rollouts.pad([[5, 6], [7]], [[8], [9, 10]], 0, "cpu")
    assert ids.tolist() == [[5, 6, 8, 0], [0, 7, 9, 10]]
    assert attention.tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    assert mask.tolist() == [[1, 0], [1, 1]]


def test_an_answer_ends_with_its_end():
    assert engine.cut([4, 2, 9, 2], [2, 3]) == [4, 2]
    assert engine.cut([4, 5, 6], [2]) == [4, 5, 6]
    assert engine.cut([2, 5], [2]) == [2]


def test_rows_of_like_length_stand_together_among_those_of_a_step():
    answers = [[0] * n for n in (9, 1, 8, 2, 7, 3)]
    prompts = [[0]] * 6
    assert rollouts.by_length(prompts, answers, 2, 6) == [[1, 3], [5, 4], [2, 0]]
    assert rollouts.by_length(prompts, answers, 2, 4) == [[1, 3], [2, 0], [5, 4]]
    assert rollouts.by_length(prompts, answers, 4, 6)[-1] == [2, 0]


def test_the_same_seed_draws_the_same_and_leaves_other_random_numbers_alone(policy, prompts, tokenizer):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = drawn(policy, prompts, tokenizer)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert drawn(policy, prompts, tokenizer) == first
    assert drawn(policy, prompts, tokenizer, seed=2) != first
    assert all(1 <= len(answer) <= 6 for answer in first)


def test_the_models_own_way_of_writing_does_not_count(policy, prompts, tokenizer):
    plain = drawn(policy, prompts, tokenizer)
    policy.generation_config.update(top_p=0.01, min_p=0.9, repetition_penalty=9.0, min_new_tokens=6, top_k=1)
    own = policy.generation_config
    assert drawn(policy, prompts, tokenizer) == plain
    assert policy.generation_config is own and policy.training is False


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_tokens_come_as_often_as_their_probability_says(policy, prompts, tokenizer, temperature):
    asked = [prompts[0]] * 2000
    answers = drawn(policy, asked, tokenizer, longest=1, temperature=temperature, together=2000)
    ids, attention, _ = rollouts.pad([prompts[0].prompt_ids], [[0]], 0, "cpu")
    with torch.no_grad():
        logits = policy(input_ids=ids, attention_mask=attention).logits[:, -2:-1]
    tokens = torch.arange(logits.shape[-1])
    logprobs, entropy = log_probabilities(logits.expand(len(tokens), 1, -1), tokens[:, None], temperature)
    wanted = logprobs.exp().squeeze(1)
    counts = torch.bincount(torch.tensor([one[0] for one in answers]), minlength=len(tokens)) / 2000
    assert float((counts - wanted).abs().max()) < 5 * float((wanted.max() * (1 - wanted.max()) / 2000) ** 0.5)
    assert float(entropy[0, 0]) == pytest.approx(-float((wanted * wanted.log()).sum()), rel=1e-4)


def test_what_stands_beside_an_answer_does_not_change_what_is_said_of_it(policy, prompts, tokenizer):
    reader = Reader(policy, 0.7)
    before, after = [one.prompt_ids for one in prompts], [[9, 10], [11], [12, 13, 14, 15, 1], [1]]
    ids, attention, mask = rollouts.pad(before, after, tokenizer.pad_token_id, "cpu")
    with torch.no_grad():
        together = reader.read(ids, attention, mask.shape[1], with_entropy=False)
        for row, answer in enumerate(after):
            ids, attention, _ = rollouts.pad([before[row]], [answer], 0, "cpu")
            alone = reader.read(ids, attention, len(answer), with_entropy=False)
            for name in ("logprobs", "entropy", "hidden"):
                found = getattr(together, name)[row, : len(answer)]
                assert torch.allclose(found, getattr(alone, name)[0], atol=2e-4), name
            whole = policy(input_ids=ids).logits[0].float() / 0.7
            direct = torch.log_softmax(whole, -1)[-len(answer) - 1 : -1]
            assert torch.allclose(alone.logprobs[0], direct[range(len(answer)), answer], atol=2e-4)

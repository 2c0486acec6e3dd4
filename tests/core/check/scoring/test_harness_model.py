"""As a model of the harness, the scorer gives the stock model's results, request by request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from harness_model import PackedModel
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from finetop.core.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

NATS = 1e-4
LONG = "Where are you? We are behind the station. " * 40


def requests_for(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    numbered = enumerate(arguments)
    return [Instance(kind, {}, given, 0, metadata=("task", number, 1)) for number, given in numbered]


@pytest.fixture(params=[512, 64], ids=["whole", "cut"])
def both(request, loud_model, tiny_tokenizer):
    """Return ours and the stock model, at the model's full length and at a short one, which cuts most inputs."""
    stock = HFLM(pretrained=loud_model, tokenizer=tiny_tokenizer, batch_size=2, max_length=request.param)
    return PackedModel(loud_model, tiny_tokenizer, max_length=request.param), stock


def test_log_likelihoods(both):
    ours, stock = both
    pairs = [
        ("What opens at nine?", " The shop"),
        ("What opens at nine? ", "radios"),
        ("What opens at nine?\n", " a dog"),
        ("", "We mend clocks."),
        ("", "<|end|>We mend clocks."),
        ("<|end|>We mend", " radios."),
        (LONG[:1200], " behind the station"),
        (LONG[:1200], " in the old mill"),
        ("<|user|>Can you mend my radio?<|end|>\n<|assistant|>", "Yes"),
    ]
    scores = ours.loglikelihood(requests_for("loglikelihood", pairs))
    wanted = stock.loglikelihood(requests_for("loglikelihood", pairs), disable_tqdm=True)
    for pair, own, other in zip(pairs, scores, wanted, strict=True):
        assert own[0] == pytest.approx(other[0], abs=NATS), pair
        assert own[1] == other[1], pair


def test_rolling_windows_are_the_harnesss(both):
    ours, stock = both
    texts = [(LONG,), ("We mend radios.",), (LONG[:900],)]
    scores = ours.loglikelihood_rolling(requests_for("loglikelihood_rolling", texts))
    wanted = stock.loglikelihood_rolling(requests_for("loglikelihood_rolling", texts), disable_tqdm=True)
    assert scores == pytest.approx(wanted, rel=1e-6)


def test_answers(both):
    ours, stock = both
    prompts = ["What opens at nine?", "What opens at nine?\n\n", "We mend ", LONG[:1200], "<|end|>We"]
    for settings in (
        {"until": ["station", "\n"], "max_gen_toks": 12},
        {"until": "e", "max_new_tokens": 9, "do_sample": False, "temperature": 0.0},
        {"until": ["<|user|>"], "max_gen_toks": 16},
    ):
        requests = [(prompt, settings) for prompt in prompts]
        wanted = []
        for request in requests:  # alone: in a batch the stock model pads after a template's first token
            wanted += stock.generate_until(requests_for("generate_until", [request]), disable_tqdm=True)
        assert ours.generate_until(requests_for("generate_until", requests)) == wanted


def test_an_answer_is_256_tokens_long_at_most_where_a_task_sets_no_limit_and_is_not_sampled(
    loud_model, tiny_tokenizer
):
    ours = PackedModel(loud_model, tiny_tokenizer)
    assert ours._prompt("We", {"until": ["\n"]}).max_new_tokens == 256
    long = ours._prompt(LONG, {"until": ["\n"], "max_gen_toks": 500})
    assert len(long.tokens) == 512 - 500

    with pytest.raises(BadInput, match=r"temperature 0\.7"):
        ours.generate_until(requests_for("generate_until", [("We", {"do_sample": True, "temperature": 0.7})]))

"""What holds for every method on all formats of the base that it supports: it learns, keeps the base, reloads."""

import pytest
import torch
from method_bench import OPTIONS, Bench, logits, train

from finetop.core.train import methods
from finetop.core.train.methods import _start

QUIET = "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
pytestmark = pytest.mark.filterwarnings(*QUIET)

TOKENS_FIRST = ("prompt-tuning", "p-tuning", "prefix-tuning")
PAIRS = [(name, kind) for name in methods.names() for kind in methods.load(name).quantized]


def in_time(pairs, is_quick):
    """Leave pairs to the slow tests that others stand for."""
    return [pytest.param(*pair, marks=() if is_quick(*pair) else pytest.mark.slow) for pair in pairs]


def is_odd(name, kind):
    """Return whether PEFT gets it wrong in bfloat16 (see load.answer_in_kind)."""
    return name in ("ia3", "shira") or (name, kind) == ("adalora", "int8")


# 8 bits are loaded and kept as 4 are: methods that share PEFT's layers for both are tested on 4
ON_8_BITS = ("lora", "ia3", "shira", "adalora", "boft", "prefix-tuning")


@pytest.mark.parametrize(
    ("name", "kind"), in_time(PAIRS, lambda name, kind: kind != "int8" or name in ON_8_BITS)
)
def test_it_learns_keeps_the_base_and_comes_back(name, kind, benches, tmp_path):
    bench = benches[kind]
    base = bench.logits
    model = bench.prepare(name, **OPTIONS.get(name, {}))
    begins = logits(model)
    losses = train(model)
    tuned = logits(model)
    assert losses[-1] < losses[0]
    assert (tuned - begins).abs().max() > 1e-3
    if name not in (*TOKENS_FIRST, "loftq", "shira"):  # shira multiplies int8 weights in another order
        assert torch.allclose(begins, base, atol=2e-6)
    if methods.load(name).keeps_base:
        with model.disable_adapter():
            assert torch.equal(logits(model), base)
    assert bench.save(model, tmp_path / "saved") == ("adapter" if methods.load(name).keeps_base else "full")
    again = bench.reload(tmp_path / "saved")
    assert torch.allclose(logits(again), tuned, atol=2e-6)
    if methods.load(name).can_merge and kind == "none" and methods.load(name).keeps_base:
        assert torch.allclose(logits(again.merge_and_unload()), tuned, atol=2e-5)


@pytest.mark.parametrize(("name", "kind"), in_time([pair for pair in PAIRS if pair[1] != "none"], is_odd))
def test_in_bfloat16_it_learns_on_fewer_bits_and_comes_back(name, kind, benches, tmp_path):
    bench = Bench(benches[kind].base, torch.bfloat16)
    model = bench.prepare(name, **OPTIONS.get(name, {}))
    losses = train(model)
    assert losses[-1] < losses[0]
    bench.save(model, tmp_path / "saved")
    assert logits(bench.reload(tmp_path / "saved")).isfinite().all()


@pytest.mark.parametrize("name", methods.names())
def test_what_it_says_of_itself(name):
    method = methods.load(name)
    assert set(method.quantized) <= set(_start.ALL_FORMATS) and method.quantized
    assert set(method.quantized) == set(_start.ALL_FORMATS) or method.not_quantized
    assert all(reason and not reason.endswith(".") for reason in method.refuses.values())

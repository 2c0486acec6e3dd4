"""KL to the base: a run stays nearer to the base's distribution, also on text outside its pool."""

import pytest

from finetop.core.errors import BadInput
from finetop.core.recipe.protections import Sizes
from finetop.core.train.protections import kl_to_base

DRIFT = {"drift": {"every": 3}}


def test_every_window_comes_once_a_turn_and_the_same_again():
    first = [kl_to_base.window_of(step, 5, seed=1) for step in range(10)]
    assert sorted(first[:5]) == sorted(first[5:]) == [0, 1, 2, 3, 4]
    assert first[:5] != first[5:]
    assert first[7] == kl_to_base.window_of(7, 5, seed=1)
    assert first != [kl_to_base.window_of(step, 5, seed=2) for step in range(10)]


@pytest.mark.parametrize("method", [{"name": "full"}, {"name": "lora", "dropout": 0.1}])
def test_the_probe_sees_less_divergence(train, method):
    options = {"method": method, "train": {"max_steps": 6, "learning_rate": 2e-2}, **DRIFT}
    free, held = train(**options), train({"kl_to_base": {"weight": 30.0, "tokens": 64}}, **options)
    assert free.curve("loss")[1] == held.curve("loss")[1]
    assert held.curve("kl")[6] < 0.8 * free.curve("kl")[6]
    kl = held.curve("protect_kl")
    assert kl[1] == pytest.approx(0.0, abs=1e-5) and kl[6] > 0
    assert "protect.kl_to_base: 16 windows of 64 tokens" in held.log


def test_on_the_training_rows(train):
    run = train({"kl_to_base": {"weight": 0.1, "on": "rows", "windows": 4}}, train={"max_steps": 2})
    assert "4 windows" in run.log
    assert run.curve("protect_kl")[2] > 0.001


def test_too_little_text_is_said_before_training(train, home):
    text = home.root.parent / "short.txt"
    text.write_text("Too short.")
    with pytest.raises(BadInput, match=r"protect\.kl_to_base: a window has 128 tokens, but general text has"):
        train({"kl_to_base": {"weight": 1, "text": str(text)}})


def test_memory_is_that_of_the_pool():
    held = kl_to_base.PLUGIN.memory(kl_to_base.Options(tokens=128, windows=16), Sizes(10**8, 2.0, 49152))
    assert held.on_host == 2 * 16 * 128 * 49152
    assert held.on_device < held.on_host

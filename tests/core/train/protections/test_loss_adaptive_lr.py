"""Smaller steps on hard batches: the factor, and what it does to a step of the optimizer."""

import math

import pytest
from safetensors.torch import load_file

from finetop.core.train.protections.loss_adaptive_lr import rate


def test_the_factor():
    assert rate(1.0, 2.0) == rate(2.0, 2.0) == 1.0
    assert rate(4.0, 2.0) == pytest.approx(math.exp(-1))
    assert rate(math.nan, 2.0) == 1.0


def test_a_step_is_shorter_by_the_factor(train, tiny_model):
    base = load_file(tiny_model / "model.safetensors")
    once = {"train": {"max_steps": 1, "optimizer": "sgd"}}
    free, held = train(**once), train({"loss_adaptive_lr": 3.0}, **once)
    assert free.curve("loss") == held.curve("loss")
    assert free.curve("learning_rate") == held.curve("learning_rate")
    factor = held.curve("protect_rate")[1]
    assert factor == pytest.approx(math.exp(1 - held.curve("loss")[1] / 3), rel=1e-4)
    name = "model.layers.0.mlp.up_proj.weight"
    lengths = [(run.weights()[name] - base[name]).norm().item() for run in (free, held)]
    assert lengths[1] == pytest.approx(factor * lengths[0], rel=1e-3)

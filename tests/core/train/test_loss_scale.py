"""The loss scale of float16: where it is shown, and how a trial step unscales its gradients."""

import math
from types import SimpleNamespace

import torch

from finetop.core.train.loss_scale import LossScale, scaler_of, unscale


def trainer_with(scale):
    scaler = SimpleNamespace(get_scale=lambda: scale)
    return SimpleNamespace(accelerator=SimpleNamespace(scaler=scaler))


def test_the_loss_scale_stands_in_the_lines_of_steps_alone():
    scale = LossScale()
    lines = [{"loss": 1.0}, {"eval_loss": 1.0}]
    scale.watch(trainer_with(1024.0))
    for logs in lines:
        scale.on_log(None, None, None, logs=logs)
    assert lines == [{"loss": 1.0, "loss_scale": 1024.0}, {"eval_loss": 1.0}]
    assert scaler_of(SimpleNamespace(scaler=None, accelerator=None)) is None  # as PPO's in bfloat16


def test_a_step_that_is_only_tried_leaves_no_weight_that_is_no_number():
    """Otherwise answers generated after it would be sampled from NaN, which crashes a GPU process."""
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([512.0, math.inf, math.nan])
    still = torch.nn.Parameter(torch.zeros(1))
    unscale(trainer_with(256.0), [weight, still])
    assert weight.grad.tolist() == [2.0, 0.0, 0.0]
    assert still.grad is None

"""Names of training metrics: the trainer's and ours."""

from __future__ import annotations

NAMES = {"mean_token_accuracy": "token_accuracy", "num_tokens": "tokens"}  # the trainer's -> ours
# Per step; loss_scale only in float16.
WANTED = ("loss", "grad_norm", "learning_rate", "epoch", "token_accuracy", "entropy", "tokens", "loss_scale")
METRICS = (*WANTED, "eval_loss")  # all metrics that a trainer logs per step

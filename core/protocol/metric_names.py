"""What the metrics of training are called: the trainer's names, and ours."""

from __future__ import annotations

NAMES = {"mean_token_accuracy": "token_accuracy", "num_tokens": "tokens"}  # the trainer's -> ours
# Of a step; the loss scale in float16 alone.
WANTED = ("loss", "grad_norm", "learning_rate", "epoch", "token_accuracy", "entropy", "tokens", "loss_scale")
METRICS = (*WANTED, "eval_loss")  # all that a trainer's log says of a step

"""Names of metrics: the trainer's, other programs' and ours. `train/loss` and `Loss` are `loss`."""

from __future__ import annotations

import re

LOSS = "loss"
NAMES = {"mean_token_accuracy": "token_accuracy", "num_tokens": "tokens"}  # the trainer's -> ours
# Per step; loss_scale only in float16.
WANTED = (LOSS, "grad_norm", "learning_rate", "epoch", "token_accuracy", "entropy", "tokens", "loss_scale")
METRICS = (*WANTED, "eval_loss")  # all metrics that a trainer logs per step
# Metrics of the machine.
SYSTEM = ("gpu_util", "memory_gib", "tokens_per_s", "gpu_watts", "energy_wh", "gpu_celsius", "host_gib")
# Other trainers' names of what every run has, as a whole key and after `train/`.
OTHERS = {
    "lr": "learning_rate",
    "grad_norm/global": "grad_norm",
    "num_input_tokens_seen": "tokens",
    "Loss": LOSS,
}
# `train/train_loss` is the Trainer's mean over the run.
WHOLE = dict.fromkeys(("train_loss", "training_loss", "lm_loss", "lm loss", "reduced_train_loss"), LOSS)
WHOLE |= dict.fromkeys(("total_loss", "loss/train/total", "train/crossentropyloss"), LOSS)
_TRAIN = re.compile(
    r"(?:train|training)[/_](?!runtime\b|samples_per|steps_per|loss\b)|(?:train|training)/", re.I
)
_EVAL = re.compile(r"(?:eval|evaluation|val|valid|validation)[/_]", re.I)
_PARTS = re.compile(r"loss/(train|training|eval|val|valid|validation)", re.I)


def name_of(key: str) -> str:
    """Return our name of a metric: `train/loss` -> `loss`, `eval/loss` and `val_loss` -> `eval_loss`."""
    if match := _PARTS.fullmatch(key):
        key = f"{match[1]}/loss"
    if match := _EVAL.match(key):
        rest = key[match.end() :]
        return f"eval_{OTHERS.get(rest, rest)}" if rest else key
    if key.lower() in WHOLE:
        return WHOLE[key.lower()]
    bare = _TRAIN.sub("", key, count=1) or key
    bare = OTHERS.get(bare, bare)
    return NAMES.get(bare, bare)

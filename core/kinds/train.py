"""Training by our own trainers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind
from finetop.core.text import count

# What a run's duration depends on, besides model, method and data: runs of a sweep over other settings take as long.
LENGTH_SETTINGS = ("epochs", "max_steps", "batch_size", "grad_accumulation", "activation_checkpointing")


class Train(JobKind):
    verb = "train"
    work = "finetop.core.train.job"
    word = "training"
    makes_a_run = trains_here = takes_budget = reports_steps = leaves_model = reports_whole = True
    while_saving = ": saving a checkpoint"
    ends = "saves a checkpoint"

    def alike(self, args: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
        if "resume" in args:
            return None
        train, method, objective = recipe["train"], recipe["method"], recipe["objective"]
        of_train = [train.get(name) for name in LENGTH_SETTINGS]
        return repr((recipe["model"], method["name"], objective, recipe["data"], of_train))

    def resumes(self, step: int) -> str:
        start = "the beginning: it has no checkpoint yet"
        return f"resumes from step {count(step)}" if step else f"resumes from {start}"


KINDS = (Train(),)

"""The check of a checkpoint against its base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind, Sizes

# Beside its model: what it reads at once (4,096 tokens: 2 GiB of logits), cached prefixes (at most 4 GiB) and CUDA.
BESIDE_GIB = 8.0


class Scores(JobKind):
    """A job that scores items with a model."""

    def gib(self, sizes: Sizes, models: int) -> float:
        return (sizes.weights + sizes.engine_copy) / 2**30 + BESIDE_GIB


class Check(Scores):
    verb = "check"
    work = "finetop.core.check.job"
    word = "check"
    reports_whole = gives_verdict = True

    def alike(self, args: Mapping[str, Any], recipe: Mapping[str, Any]) -> str | None:
        return str(recipe["model"]["id"])

    def kept(self, done: int, total: int) -> str:
        return "No verdict; scores so far are kept."


KINDS = (Check(),)

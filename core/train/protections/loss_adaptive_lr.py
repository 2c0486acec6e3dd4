"""Smaller steps on hard batches: rows that the model finds unlikely move it the most, and cause the most forgetting.

FLOW (arXiv:2502.02797) weighs each row by exp(-its loss / tau), tau the median of the base's losses. Here a step's
learning rate is scaled by exp(1 - loss / tau), at most 1, with the present loss of the step's rows: a batch at tau or
below gets the full rate, one at twice tau 37 % of it. The rate is scaled, not the loss: AdamW would divide the loss's
scale out again. It needs no memory or time; once losses fall below tau it has no effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.protections import Acting, Protection

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.train.trainer_setup import Setup

IN_NATS = ("continued-pretraining", "sft")  # objectives whose loss is nats per learned token


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `protect.loss_adaptive_lr:`."""

    tau: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="Loss, in nats/token, above which steps get smaller: 1 to 3; 0 for never.",
        ),
    ] = 0.0


class LossAdaptiveLr(Protection[Options]):
    about = "smaller steps on batches that the model finds unlikely"
    options = Options
    short = "tau"
    needs_text = True
    steps = True

    def limits(self, recipe: Recipe, options: Options) -> Iterator[tuple[str, str, str]]:
        """Refuse objectives whose loss is not a likelihood."""
        if recipe.objective.name not in IN_NATS:
            key, name = "protect.loss_adaptive_lr", recipe.objective.name
            hint = f"Set {key} to null; a lower train.learning_rate has a similar effect."
            yield key, f"{key}: the loss of {name} is not in nats/token.", hint

    def begin(self, options: Options, setup: Setup, trainer: Any) -> Acting:
        about = f"full steps up to {options.tau:g} nats/token"
        return Acting(about, rate=lambda loss: rate(loss, options.tau))


def rate(loss: float, tau: float) -> float:
    """Return the factor of a step's learning rate; 1 for a NaN loss, which has its own alarm."""
    return min(1.0, math.exp(1.0 - loss / tau)) if math.isfinite(loss) else 1.0


PLUGIN = LossAdaptiveLr()

"""A spike: the loss has risen far above where it was, and stays there for some steps. A single bad batch is none.

In log loss, so that 1.2 -> 2.4 counts like 0.3 -> 0.6. The median of the last 7 steps is held against the lowest level
that the run has had, a level being the median of 64 steps. How far is far: by half at least, and by 6 times what the
median of 7 wavers by itself, of which the spread of the steps before tells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from finetop.core.alarms import Said
from finetop.core.alarms._window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.alarms import Run

ABOUT = "the loss has risen far above where it was"
RECENT = 7  # steps
LEVEL = 64
ENOUGH = 24  # steps of a level before which nothing is said
HOLDS = 5  # steps in a row: what noise lifts falls back in one or two
FLOOR = 0.05  # added to the loss: below it, what is learned by heart, a factor means nothing
WAVERS = 1.2533 / math.sqrt(RECENT)  # standard deviation of a median of so many normal values, of theirs


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.spike:`."""

    on: Annotated[bool, Meta(description="Tell when the loss has risen far above where it was.")] = True
    rise: Annotated[
        float, Meta(gt=0, le=1000, description="By this share at least: 0.5 is from 1.0 to 1.5.")
    ] = 0.5
    deviations: Annotated[
        float, Meta(gt=0, le=1000, description="And by so many times what it wavers by itself.")
    ] = 6.0


@dataclass
class Spike:
    options: Options
    recent: Window = field(default_factory=lambda: Window(RECENT))
    level: Window = field(default_factory=lambda: Window(LEVEL))
    lowest: float = math.inf
    far: float = 0.0  # how far the rise was that counts, when the alarm was raised
    held: int = 0  # steps in a row so far above
    is_on: bool = False

    def look(self, step: int, seconds: float, values: Mapping[str, float]) -> Said | None:
        loss = values.get("loss", math.nan)
        if not math.isfinite(loss):
            return None
        gone = self.recent.add(math.log(max(0.0, loss) + FLOOR))
        if gone is not None and not self.is_on:
            self.level.add(gone)
        if len(self.level) < ENOUGH:
            return None
        if not self.is_on:
            self.lowest = min(self.lowest, self.level.median())
        rise = self.recent.median() - self.lowest
        if self.is_on:
            return self._over(rise)
        least = math.log1p(self.options.rise)
        far = max(least, self.options.deviations * WAVERS * self.level.spread())
        self.held = self.held + 1 if rise >= far else 0
        if self.held < HOLDS:
            return None
        self.is_on, self.far = True, far
        return Said(f"spike: the loss rose to {_loss(self.recent.median())}, from {_loss(self.lowest)}")

    def _over(self, rise: float) -> Said | None:
        if rise > self.far / 2:
            return None
        self.is_on = False
        return Said(f"the loss is back at {_loss(self.recent.median())}", is_over=True)


def _loss(level: float) -> str:
    return f"{max(0.0, math.exp(level) - FLOOR):.3g}"


def watch(options: Options, run: Run) -> Spike | None:
    return Spike(options) if run.loss_falls else None

"""A dead gradient: for many consecutive steps it is zero, or a tiny fraction of its usual size. Nothing is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run
from finetop.core.train.alarms._window import Window

NOTHING = 1e-10
BASELINE = 200  # steps; their median is the usual size
ENOUGH = 20  # steps of the baseline; with fewer, only a gradient of 0 counts
BACK = 5  # consecutive steps above ten times the limit that end the alarm


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.dead_gradient:`."""

    on: Annotated[bool, Meta(description="Alarm when the gradient vanishes.")] = True
    below: Annotated[
        float, Meta(gt=0, lt=1, description="Vanished means a grad_norm below this fraction of its median.")
    ] = 0.001
    steps: Annotated[int, Meta(ge=1, le=10**6, description="Consecutive steps before the alarm.")] = 20


@dataclass
class DeadGradient:
    options: Options
    before: Window = field(default_factory=lambda: Window(BASELINE))
    dead: int = 0  # consecutive steps
    alive: int = 0
    is_on: bool = False

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        norm = values.get("grad_norm", math.nan)
        if not math.isfinite(norm):
            return None
        usual = self.before.median() if len(self.before) >= ENOUGH else 0.0
        limit = max(NOTHING, self.options.below * usual)
        if norm > limit:
            self.dead = 0
            self.alive = self.alive + 1 if norm > 10 * limit else 0
            if not self.is_on:
                self.before.add(norm)
            elif self.alive >= BACK:
                self.is_on = False
                return AlarmNote(f"the gradient is back: grad_norm {norm:.3g}", is_over=True)
            return None
        self.dead, self.alive = self.dead + 1, 0
        if self.is_on or self.dead < self.options.steps:
            return None
        self.is_on = True
        was = f", {usual:.3g} before" if usual else ""
        return AlarmNote(f"no gradient for {self.dead} steps: grad_norm {norm:.3g}{was}")


class DeadGradientAlarm(Alarm[Options]):
    about = "the gradient has vanished, so nothing is learned"
    options = Options

    def watch(self, options: Options, run: Run) -> DeadGradient:
        return DeadGradient(options)


PLUGIN = DeadGradientAlarm()

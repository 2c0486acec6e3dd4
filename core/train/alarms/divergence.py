"""Divergence in the first steps: the loss or its gradient is many times what it was at first. No statistics are needed.

`spike` compares with a level of steps, which a run has after some thirty; a learning rate that is far too high ruins
the weights before that. Here each step is compared with the lowest of the first three, by two signs: a loss of twice
that, and a grad_norm of ten times that. Three signs in consecutive steps are an alarm: two steps suffice if both signs
are bad, and one bad batch never does.

A loss may begin near 0 (a student like its teacher), at ln 2 (pairs), or be bounded (kto), and a gradient may begin at
0 (answers with equal rewards): many times nothing is no sign. So both must also exceed 10. A loss of 10 nats/token
is that of a blind guess among 22,000 tokens; with pairs it gives the better answer a chance of 1 in 22,000. A grad_norm
of 10 is ten times the default clipping limit. Where the loss does not show how well a run learns (ppo, rloo, grpo),
only the gradient is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run

FIRST = 3  # steps; later ones are compared with the lowest of them
EARLY = 32  # steps; spike can raise from step 36 on. With 64, one healthy run of 6,000 raised it
LEAST = 10.0  # what a loss, and a grad_norm, must exceed
SIGNS = 3  # in consecutive steps
BACK = 5  # consecutive steps without a sign that end the alarm


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.divergence:`."""

    on: Annotated[bool, Meta(description="Alarm when a run diverges in its first steps.")] = True
    loss: Annotated[
        float, Meta(gt=1, le=1000, description="A loss this many times the lowest so far counts as a sign.")
    ] = 2.0
    grad_norm: Annotated[
        float,
        Meta(gt=1, le=1000, description="A grad_norm this many times the lowest so far counts as a sign."),
    ] = 10.0


@dataclass
class Sign:
    """One metric of a step, compared with its values in the first steps."""

    name: str  # of the metric
    times: float
    first: list[float] = field(default_factory=list)
    value: float = math.nan

    def add(self, value: float) -> bool:
        """Read a step's value; return whether it is a sign. A value that is one does not join the first values."""
        if not math.isfinite(value) or value <= 0:
            return False
        self.value = value
        if self.first and value > max(LEAST, self.times * self.base):
            return True
        if len(self.first) < FIRST:
            self.first.append(value)
        return False

    @property
    def base(self) -> float:
        return min(self.first)

    def words(self) -> str:
        return f"{self.name} {self.value:.3g} ({self.base:.3g} at first)"


@dataclass
class Divergence:
    signs: list[Sign]
    rate: str  # what to lower
    seen: int = 0
    bad: int = 0  # signs in consecutive steps
    fine: int = 0  # consecutive steps
    is_on: bool = False

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        if "loss" not in values:
            return None
        self.seen += 1
        if self.seen > EARLY and not self.is_on:
            return None
        signs = [sign for sign in self.signs if sign.add(values.get(sign.name, math.nan))]
        self.bad = self.bad + len(signs) if signs else 0
        self.fine = 0 if signs else self.fine + 1
        if self.is_on:
            return self._over()
        if self.bad < SIGNS:
            return None
        self.is_on = True
        values_text = ", ".join(sign.words() for sign in signs)
        return AlarmNote(f"diverging at step {step}: {values_text}: lower {self.rate}")

    def _over(self) -> AlarmNote | None:
        if self.fine < BACK:
            return None
        self.is_on = False
        values_text = ", ".join(f"{sign.name} {sign.value:.3g}" for sign in self.signs)
        return AlarmNote(f"no longer diverging: {values_text}", is_over=True)


class DivergenceAlarm(Alarm[Options]):
    about = "in its first steps the loss or its gradient has risen to many times what it was"
    options = Options

    def watch(self, options: Options, run: Run) -> Divergence:
        loss = [Sign("loss", options.loss)] if run.loss_falls else []
        return Divergence([*loss, Sign("grad_norm", options.grad_norm)], run.rate)


PLUGIN = DivergenceAlarm()

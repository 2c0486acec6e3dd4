"""A loss or gradient that is NaN or infinite. Training seldom recovers from one.

A gradient alone must be so for three consecutive steps. In float16 the loss is scaled: the scale is halved from
65,536 until no gradient overflows, and raised again about every 2,000 steps. Such a step is skipped, without an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run

LOSSES = ("loss", "eval_loss")
LOSS_SCALE = "loss_scale"  # the metric
LEAST_SCALE = 1.0  # below it gradients overflow on their own, not because of the scale
IN_A_ROW = 3  # steps with a finite loss, but a gradient that is NaN or infinite
CALM = 20  # consecutive finite steps that end the alarm


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.nan:`."""

    on: Annotated[bool, Meta(description="Alarm when the loss or its gradient is NaN or infinite.")] = True


@dataclass
class Nan:
    rate: str  # what to lower
    is_on: bool = False
    overflown: int = 0  # consecutive gradients
    fine: int = 0  # consecutive steps since the last bad value

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        bad = next((key for key in LOSSES if not math.isfinite(values.get(key, 0.0))), None)
        if "grad_norm" in values:
            fine = math.isfinite(values["grad_norm"]) or is_overflow(values)
            self.overflown = 0 if fine else self.overflown + 1
            bad = bad or ("grad_norm" if self.overflown >= IN_A_ROW else None)
        if bad is None:
            return self._fine("loss" in values and not self.overflown)
        self.fine = 0
        if self.is_on:
            return None
        self.is_on = True
        return AlarmNote(f"{bad} is {values[bad]} at step {step}: lower {self.rate}")

    def _fine(self, is_step: bool) -> AlarmNote | None:
        self.fine += is_step
        if not self.is_on or self.fine < CALM:
            return None
        self.is_on = False
        return AlarmNote(f"loss and gradient are finite again, {CALM} steps in a row", is_over=True)


def is_overflow(values: Mapping[str, float]) -> bool:
    """Return True if only a step's scaled gradients overflowed: its loss is finite, and the scale can still fall."""
    is_number = math.isfinite(values.get("loss", 0.0))
    can_fall = values.get(LOSS_SCALE, 0.0) >= LEAST_SCALE
    return is_number and can_fall and not math.isfinite(values.get("grad_norm", 0.0))


class NanAlarm(Alarm[Options]):
    about = "the loss or its gradient is NaN or infinite"
    options = Options

    def watch(self, options: Options, run: Run) -> Nan:
        return Nan(run.rate)


PLUGIN = NanAlarm()

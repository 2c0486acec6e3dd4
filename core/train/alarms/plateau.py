"""A plateau: over a good share of the planned run the loss has not fallen, though the learning rate is still high.

Steps are grouped in blocks, each represented by the median of its log loss; a window of 24 blocks is cut in half and
the halves' means are compared. It is a plateau if they differ by less than their standard error, and if a fall of 2 %
would have been 2.5 of those: a run too short or too noisy to tell never has one. Steps where the rate rises, or is
below a third of its peak, are ignored: so the tail of a schedule has no plateau either.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean, variance
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run
from finetop.core.train.alarms._window import middle

BLOCKS = 24
SMALLEST = 4  # steps in a block
HIGH = 0.33  # share of the peak learning rate
LAST = 0.9  # share of the run: after it, an alarm is too late to act on
SIGMAS = 2.5  # a fall of `least` must be this many standard errors, or the run is too noisy to judge


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.plateau:`."""

    on: Annotated[bool, Meta(description="Alarm when the loss stops falling.")] = True
    share: Annotated[
        float, Meta(gt=0, lt=1, description="Window, as a share of the planned run; at least 96 steps.")
    ] = 0.3
    least: Annotated[
        float, Meta(gt=0, lt=1, description="Smallest fall that matters, as a fraction of the loss.")
    ] = 0.02


@dataclass
class Plateau:
    options: Options
    block: int  # steps
    last: int  # step after which it is silent
    values: list[float] = field(default_factory=list)  # of the incomplete block
    blocks: deque[float] = field(default_factory=lambda: deque(maxlen=BLOCKS))
    firsts: deque[int] = field(default_factory=lambda: deque(maxlen=BLOCKS))  # their first steps
    peak: float = 0.0
    is_on: bool = False

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        loss, rate = values.get("loss", math.nan), values.get("learning_rate", self.peak)
        if not math.isfinite(loss) or loss <= 0:
            return None
        if rate > self.peak * 1.001:  # warming up
            self.peak = rate
            self._forget()
        if rate < HIGH * self.peak or step > self.last:
            return None
        if not self.values:
            self.firsts.append(step)
        self.values.append(math.log(loss))
        if len(self.values) < self.block:
            return None
        self.blocks.append(middle(sorted(self.values)))
        self.values.clear()
        return self._judge() if len(self.blocks) == BLOCKS else None

    def _forget(self) -> None:
        self.values.clear()
        self.blocks.clear()
        self.firsts.clear()

    def _judge(self) -> AlarmNote | None:
        half = BLOCKS // 2
        before, after = list(self.blocks)[:half], list(self.blocks)[half:]
        fall = fmean(before) - fmean(after)
        error = math.sqrt((variance(before) + variance(after)) / half)
        level = math.exp(fmean(after))
        if self.is_on and fall > max(SIGMAS * error, self.options.least / 2):
            self.is_on = False
            return AlarmNote(f"the loss falls again: {level:.3g}", is_over=True)
        can_tell = SIGMAS * error < self.options.least
        if self.is_on or not can_tell or fall > error:
            return None
        self.is_on = True
        return AlarmNote(f"plateau: the loss has not fallen since step {self.firsts[0]}, it is {level:.3g}")


class PlateauAlarm(Alarm[Options]):
    about = "the loss has stopped falling although the learning rate is high"
    options = Options

    def watch(self, options: Options, run: Run) -> Plateau | None:
        block = max(SMALLEST, math.ceil(options.share * run.steps / BLOCKS))
        if not run.loss_falls or block * BLOCKS > run.steps * LAST:
            return None
        return Plateau(options, block, int(run.steps * LAST))


PLUGIN = PlateauAlarm()

"""A spike: the loss has risen far above where it was, and stays there for some steps. A single bad batch is none.

In log loss, so that 1.2 -> 2.4 counts like 0.3 -> 0.6. The medians of the last 7 steps and of the last 21 are compared
with the lowest level that the run has had, a level being the median of 64 steps. The rise must be at least by half,
and at least 6 times the random variation of the median of 7, or 7 times that of 21: the longer one sees what is lost in
noise for the shorter. The variation is estimated from the differences of steps, so that a climbing loss does not hide
itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run
from finetop.core.train.alarms._window import Window

RECENT = 7  # steps
LONGER = 21
LEVEL = 64
ENOUGH = 24  # steps of a level; with fewer it is silent
HOLDS = 5  # consecutive steps: a rise from noise falls back in one or two
DEVIATION = 1.4826 / math.sqrt(2)  # of normal values, times the median of their absolute differences
OF_MEDIAN = 1.2533  # a median of n normal values deviates by their deviation, times this, over root n
FLOOR = 0.05  # added to the loss: below it (text learned by heart) a factor means nothing
MORE = 7 / 6  # stricter for the longer window: at 1, 17 of 1,000 preference runs raised a false alarm, now 3


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.spike:`."""

    on: Annotated[bool, Meta(description="Alarm when the loss rises far above its earlier level.")] = True
    rise: Annotated[
        float, Meta(gt=0, le=1000, description="Smallest relative rise: 0.5 is from 1.0 to 1.5.")
    ] = 0.5
    deviations: Annotated[
        float, Meta(gt=0, le=1000, description="And at least this many times the loss's usual variation.")
    ] = 6.0


@dataclass
class Spike:
    options: Options
    recent: Window = field(default_factory=lambda: Window(RECENT))
    longer: Window = field(default_factory=lambda: Window(LONGER))
    level: Window = field(default_factory=lambda: Window(LEVEL))
    changes: Window = field(default_factory=lambda: Window(LEVEL))  # from each step of the level to the next
    newest: float = math.nan  # value of the level
    lowest: float = math.inf
    far: float = 0.0  # the rise that was required when the alarm was raised
    held: int = 0  # consecutive steps that far above
    is_on: bool = False

    def __post_init__(self) -> None:
        self.by = self.recent  # the window that raised the alarm

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        loss = values.get("loss", math.nan)
        if not math.isfinite(loss):
            return None
        value = math.log(max(0.0, loss) + FLOOR)
        self.longer.add(value)
        gone = self.recent.add(value)
        if self.is_on:
            return self._over()
        if gone is not None:
            self._settle(gone)
        if len(self.level) < ENOUGH:
            return None
        self.lowest = min(self.lowest, self.level.median())
        short, long = self._far(self.recent, 1.0), self._far(self.longer, MORE)
        self.held = self.held + 1 if short or long else 0
        if self.held < HOLDS:
            return None
        self.is_on, self.far = True, short or long
        self.by = self.recent if short else self.longer
        return AlarmNote(f"spike: the loss rose to {_loss(self.by.median())}, from {_loss(self.lowest)}")

    def _settle(self, value: float) -> None:
        """Move a step that is no longer recent into the level."""
        if not math.isnan(self.newest):
            self.changes.add(abs(value - self.newest))
        self.newest = value
        self.level.add(value)

    def _far(self, window: Window, more: float) -> float:
        """Return the required rise if the window's median has risen that far; else 0."""
        if not window.is_full:
            return 0.0
        wavers = DEVIATION * self.changes.median() * OF_MEDIAN / math.sqrt(len(window))
        far = max(math.log1p(self.options.rise), more * self.options.deviations * wavers)
        return far if window.median() - self.lowest >= far else 0.0

    def _over(self) -> AlarmNote | None:
        if self.by.median() - self.lowest > self.far / 2:
            return None
        self.is_on, self.held = False, 0
        self.longer.clear()  # it may still be full of the spike
        return AlarmNote(f"the loss is back at {_loss(self.recent.median())}", is_over=True)


def _loss(level: float) -> str:
    return f"{max(0.0, math.exp(level) - FLOOR):.3g}"


class SpikeAlarm(Alarm[Options]):
    about = "the loss has risen far above its earlier level"
    options = Options

    def watch(self, options: Options, run: Run) -> Spike | None:
        return Spike(options) if run.loss_falls else None


PLUGIN = SpikeAlarm()

"""A slow-down: steps take more than twice as long as before, for a while. Other jobs, heat, a slow disk, swapping.

The run is compared with itself: the median of the last steps with that of those before. Longer texts or answers are no
slow-down: where tokens are counted, the time per token must have risen too. `step_s` excludes evaluations, checks and
checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run
from finetop.core.train.alarms._window import Window
from finetop.core.wording.durations import exact_span

RECENT = 20  # steps
BASELINE = 200
ENOUGH = 30  # steps of the baseline; with fewer it is silent
WARM_UP = 5  # steps that load, compile and allocate: not typical
BACK = 0.7  # of the factor that raised the alarm: below it, it is over


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.slow_down:`."""

    on: Annotated[bool, Meta(description="Alarm when steps take much longer than before.")] = True
    times: Annotated[
        float, Meta(gt=1, le=1000, description="Slow means this many times the median step time.")
    ] = 2.0
    seconds: Annotated[
        float, Meta(ge=0, le=1e6, description="Seconds before the alarm; at least 20 steps.")
    ] = 120.0


@dataclass
class Pace:
    """One kind of time: per step, or per token."""

    recent: Window = field(default_factory=lambda: Window(RECENT))
    before: Window = field(default_factory=lambda: Window(BASELINE))

    def add(self, value: float, *, keep: bool) -> None:
        """Add a value; with `keep`, the value that it pushes out of the recent ones joins the baseline."""
        gone = self.recent.add(value)
        if gone is not None and keep:
            self.before.add(gone)

    def times(self) -> float:
        """Return the recent median as a multiple of the baseline's; 0 while either has too few values."""
        if len(self.before) < ENOUGH or not self.recent.is_full:
            return 0.0
        return self.recent.median() / max(1e-12, self.before.median())


@dataclass
class SlowDown:
    options: Options
    seen: int = 0
    tokens: float | None = None
    step: Pace = field(default_factory=Pace)
    token: Pace = field(default_factory=Pace)
    slow_since: tuple[int, float] | None = None  # step and time
    is_on: bool = False

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        step_s = values.get("step_s")
        if step_s is None:
            return None
        self.seen += 1
        tokens = values.get("tokens")
        new_tokens = None if tokens is None or self.tokens is None else tokens - self.tokens
        self.tokens = tokens
        if self.seen <= WARM_UP:
            return None
        keep = self.slow_since is None
        self.step.add(step_s, keep=keep)
        if new_tokens is not None and new_tokens > 0:
            self.token.add(step_s / new_tokens, keep=keep)
        return self._judge(step, seconds)

    def _judge(self, step: int, seconds: float) -> AlarmNote | None:
        times = self.step.times()
        if len(self.token.recent):
            times = min(times, self.token.times())
        limit = self.options.times * (BACK if self.is_on else 1.0)
        if times <= limit:
            self.slow_since = None
            if not self.is_on:
                return None
            self.is_on = False
            return AlarmNote(f"steps take {exact_span(self.step.recent.median())} again", is_over=True)
        if self.slow_since is None:
            self.slow_since = (step, seconds)
        if self.is_on or seconds - self.slow_since[1] < self.options.seconds:
            return None
        self.is_on = True
        now, before = self.step.recent.median(), self.step.before.median()
        since = f"{exact_span(now)} a step since step {self.slow_since[0]}"
        return AlarmNote(f"slow: {since}, {exact_span(before)} before")


class SlowDownAlarm(Alarm[Options]):
    about = "steps take much longer than before"
    options = Options

    def watch(self, options: Options, run: Run) -> SlowDown:
        return SlowDown(options)


PLUGIN = SlowDownAlarm()

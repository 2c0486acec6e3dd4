"""Alarms of a run that trains: a file each, found by listing this folder."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from finetop.core.plugins import ALARMS, OBJECTIVES, Configured, Options, PluginKind
from finetop.core.protocol import events as protocol

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog


@dataclass(frozen=True, slots=True)
class Run:
    """The facts of a run that an alarm needs."""

    steps: int  # planned
    loss_falls: bool = True  # the loss shows how well the run learns
    drift_limit: float = 0.1
    rate: str = "train.learning_rate"  # what its user lowers


@dataclass(frozen=True, slots=True)
class AlarmNote:
    """What has begun, in a text that stands alone; with `is_over`, that it has ended."""

    text: str
    is_over: bool = False


class Watch(Protocol):
    """Watches the metrics of one run, in order of steps."""

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        """Read what was measured at a step and a moment of the monotonic clock; most steps lack some metrics."""
        ...


class Alarm(Configured[Options]):
    """A detector on a run's numbers, set under `alarms:` by its file's name; `spike: false` means `on: false`."""

    @abstractmethod
    def watch(self, options: Options, run: Run) -> Watch | None:
        """Return a watch on a run's metrics; None if they can't show this problem.

        A watch reads only what it is given, step by step: no clock, no file, no training library. It reports once when
        a problem begins and once when it is over.
        """


KIND: PluginKind[Alarm[Any]] = ALARMS.of(Alarm)
names, load = KIND.names, KIND.load


def watches(recipe: Recipe, run: Run) -> dict[str, Watch]:
    """Return a run's alarms by kind: those that its recipe leaves on and that its metrics support."""
    by_kind = {}
    for name in names():
        options = getattr(recipe.alarms, name)
        watch = load(name).watch(options, run) if options.on else None
        if watch is not None:
            by_kind[name] = watch
    return by_kind


class Alarms:
    """The alarms of one run. Silent until `begin`: an alarm must know how long the run will be."""

    def __init__(self, recipe: Recipe, events: EventLog) -> None:
        self.recipe = recipe
        self.events = events
        self.watches: dict[str, Watch] = {}
        self.loss = 0.0  # the last one that was measured

    def begin(self, steps: int) -> None:
        """Watch a run of this many planned steps; 0 if unknown."""
        name = self.recipe.objective.name
        loss_falls = name not in OBJECTIVES.names() or OBJECTIVES.load(name).loss_falls
        run = Run(steps, loss_falls, self.recipe.drift.limit)
        if self.recipe.command is not None:
            run = replace(run, rate="its learning rate")
        self.watches = watches(self.recipe, run)

    def check(self, step: int, values: Mapping[str, float]) -> None:
        """Pass what was measured at a step to every alarm; costs about 20 microseconds."""
        now = time.monotonic()
        self.loss = values.get("loss", self.loss)
        for kind, watch in self.watches.items():
            note = watch.check(step, now, values)
            if note is not None:
                self.events.write(protocol.Alarm(kind, step, note.text, note.is_over))
                print(f"{'over' if note.is_over else 'alarm'}: step {step}: {note.text}", flush=True)

"""Feeds a run's metrics to its alarms (core/train/alarms) and reports what they raise: in events and in the log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from finetop.core.protocol.events import Alarm
from finetop.core.train import alarms, objectives
from finetop.core.train.alarms import Watch

if TYPE_CHECKING:
    from finetop.core.recipe.schema import Recipe
    from finetop.core.runtime.event_log import EventLog


class Alarms:
    """The alarms of one run. Silent until `begin`: an alarm must know how long the run will be."""

    def __init__(self, recipe: Recipe, events: EventLog) -> None:
        self.recipe = recipe
        self.events = events
        self.watches: dict[str, Watch] = {}

    def begin(self, steps: int) -> None:
        objective = objectives.load(self.recipe.objective.name)
        run = alarms.Run(steps, objective.loss_falls, self.recipe.drift.limit)
        self.watches = alarms.watches(self.recipe, run)

    def look(self, step: int, values: Mapping[str, float]) -> None:
        """Pass what was measured at a step to every alarm; costs about 20 microseconds."""
        now = time.monotonic()
        for kind, watch in self.watches.items():
            note = watch.look(step, now, values)
            if note is not None:
                self.events.write(Alarm(kind, step, note.text, note.is_over))
                print(f"{'over' if note.is_over else 'alarm'}: step {step}: {note.text}", flush=True)

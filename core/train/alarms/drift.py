"""Drift over its limit: the loss on general text has risen above the base model's, as the drift probe measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run

BACK = 0.9  # of the limit: below it the alarm is over, so a drift near the limit does not raise it repeatedly


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.drift:`; the limit and what is measured are under `drift:`."""

    on: Annotated[bool, Meta(description="Alarm when drift exceeds drift.limit.")] = True


@dataclass
class Drift:
    limit: float
    is_on: bool = False

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        drift = values.get("drift")
        if drift is None:
            return None
        if not self.is_on and drift > self.limit:
            self.is_on = True
            return AlarmNote(f"drift {drift:.2f} nats/token on general text is over {self.limit:g}")
        if self.is_on and drift < BACK * self.limit:
            self.is_on = False
            return AlarmNote(f"drift is back at {drift:.2f} nats/token, under {self.limit:g}", is_over=True)
        return None


class DriftAlarm(Alarm[Options]):
    about = "the loss on general text has risen by more than drift.limit"
    options = Options

    def watch(self, options: Options, run: Run) -> Drift:
        return Drift(run.drift_limit)


PLUGIN = DriftAlarm()

"""No reward: for consecutive steps no answer got a reward, so there is nothing to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run
from finetop.core.train.alarms._streak import Streak


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.no_reward:`."""

    on: Annotated[bool, Meta(description="Alarm when no answer gets a reward.")] = True
    steps: Annotated[
        int, Meta(ge=1, le=10**6, description="Consecutive steps before the alarm; more where 0 is usual.")
    ] = 5


@dataclass
class NoReward:
    streak: Streak

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        reward = values.get("reward")
        if reward is None:
            return None
        match self.streak.add(reward == 0 and not values.get("reward_deviation", 0.0)):
            case "begins":
                return AlarmNote(f"the reward is 0 for {self.streak.length} steps: no answer gets a reward")
            case "over":
                return AlarmNote(f"answers get rewards again: {reward:.3g}", is_over=True)
        return None


class NoRewardAlarm(Alarm[Options]):
    about = "the reward stays 0, so nothing is learned"
    options = Options

    def watch(self, options: Options, run: Run) -> NoReward:
        return NoReward(Streak(options.steps))


PLUGIN = NoRewardAlarm()

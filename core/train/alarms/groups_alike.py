"""Groups alike: for consecutive steps all answers to a prompt got the same reward. Comparing them teaches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import Alarm, AlarmNote, Run
from finetop.core.train.alarms._streak import Streak


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.groups_alike:`."""

    on: Annotated[bool, Meta(description="Alarm when all answers to a prompt get the same reward.")] = True
    steps: Annotated[
        int, Meta(ge=1, le=10**6, description="Consecutive steps before the alarm; more where that is usual.")
    ] = 5


@dataclass
class GroupsAlike:
    streak: Streak

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        reward, alike = values.get("reward"), values.get("groups_alike")
        if reward is None or alike is None:
            return None
        match self.streak.add(alike >= 1 and reward != 0):  # a reward of 0 has its own alarm, no_reward
            case "begins":
                text = f"all answers to a prompt got the same reward for {self.streak.length} steps: {reward:.3g}"
                return AlarmNote(text)
            case "over":
                return AlarmNote("answers to a prompt get different rewards again", is_over=True)
        return None


class GroupsAlikeAlarm(Alarm[Options]):
    about = "all answers to a prompt get the same reward, so nothing is learned"
    options = Options

    def watch(self, options: Options, run: Run) -> GroupsAlike:
        return GroupsAlike(Streak(options.steps))


PLUGIN = GroupsAlikeAlarm()

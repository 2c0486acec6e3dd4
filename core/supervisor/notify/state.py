"""What the supervisor holds in memory of telling a person: all else is in the store."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

from finetop.core.store.notices import Message


@dataclass
class OnItsWay:
    """A message whose process runs; its result says whether it was taken, and what was said of it."""

    message: Message
    task: asyncio.Task[tuple[bool, str]]


@dataclass
class Teller:
    seen: int = -1  # the revision at which notices were last looked for
    newest: int = 0  # number of the newest notice
    gather_at: float = 0.0  # when those that wait may be told
    looked: dict[str, int] = field(
        default_factory=dict
    )  # way -> the newest notice when messages were last looked for
    send_at: dict[str, float] = field(default_factory=dict)  # way -> when its next message is due
    on_their_way: dict[str, OnItsWay] = field(default_factory=dict)  # by way: one at a time

    def wait(self, way: str, until: float = math.inf) -> None:
        """Let a way rest until some moment, or until there is something new."""
        self.looked[way], self.send_at[way] = self.newest, until

    def may_send(self, way: str, now: float) -> bool:
        """Say whether it is time to look for a message to send."""
        return self.looked.get(way) != self.newest or now >= self.send_at.get(way, 0.0)

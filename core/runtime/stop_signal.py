"""How a job is asked to stop: SIGTERM before training ends it at once, in training at the end of the step.

A check on the way is broken off at once too; training then ends with the checkpoint it has. One of several ranks
can't leave a step or a check that the others are in: it says so, and all agree on it in their next exchange.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class StopAsked(BaseException):
    """Raised by the signal while there is nothing to save; no library's `except Exception` may eat it."""


@dataclass
class Stop:
    """Whether and why to stop. Written by the signal handler and the time budget, read after each step."""

    reason: str = ""
    is_asked: bool = False  # by a signal
    is_training: bool = False
    is_checking: bool = False  # training pauses for a check, which is broken off at once
    # the work is broken off already: a second signal must not break off the last words
    is_raised: bool = False


def listen(is_wish: Callable[[], bool] = lambda: True, *, is_alone: bool = True) -> Stop:
    """Take SIGTERM as the wish to stop with a checkpoint.

    It is none where torchrun ends the ranks that are left of a job: `is_wish` says no then.
    """
    stop = Stop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if not is_wish():
            return
        stop.reason, stop.is_asked = "asked to stop", True
        if stop.is_raised:
            return
        if not stop.is_training or (stop.is_checking and is_alone):
            stop.is_raised = True
            raise StopAsked
        print("asked to stop: a checkpoint follows at the end of this step", flush=True)

    signal.signal(signal.SIGTERM, on_signal)
    return stop

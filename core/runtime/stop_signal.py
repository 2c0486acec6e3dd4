"""How a job is asked to stop: SIGTERM ends it at once before training, and at the end of the step in training.

A check during training is interrupted at once too; training then ends with its latest checkpoint. One of several ranks
can't leave a step or a check alone: it announces the stop, and all agree in their next exchange.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class StopAsked(BaseException):
    """Raised by the signal while there is nothing to save; a BaseException, so no `except Exception` swallows it."""


@dataclass
class Stop:
    """Whether and why to stop. Set by the signal handler and the time budget, read after each step."""

    reason: str = ""
    is_asked: bool = False  # by a signal
    answer: str = "asked to stop: a checkpoint follows at the end of this step"  # in the log, while it trains
    is_training: bool = False
    is_checking: bool = False  # training pauses for a check, which is interrupted at once
    # the work is already interrupted: a second signal must not interrupt the final event
    is_raised: bool = False


def listen(is_wish: Callable[[], bool] = lambda: True, *, is_alone: bool = True) -> Stop:
    """Treat SIGTERM as a request to stop with a checkpoint.

    Not when torchrun ends the remaining ranks of a failed job: `is_wish` then returns False.
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
        print(stop.answer, flush=True)

    signal.signal(signal.SIGTERM, on_signal)
    return stop

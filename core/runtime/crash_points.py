"""Places between two effects at which a fault test may end a process as kill -9 would: FINETOP_ABORT_AT.

A name means that place, the first time; a number N means the Nth place that is passed, whichever it is.
Standard library only: the keeper is one of those that die.
"""

from __future__ import annotations

import os

SWITCH = "FINETOP_ABORT_AT"
DIED = 99  # the exit code

_passed = 0


def abort_at(place: str) -> None:
    """Die here when a fault test says so."""
    global _passed
    wanted = os.environ.get(SWITCH)
    if wanted is None:
        return
    _passed += 1
    if wanted in (place, str(_passed)):
        os._exit(DIED)

"""Points between two effects at which a fault test may end a process as kill -9 would: FINETOP_ABORT_AT.

A name means the first pass of that point; a number N the Nth point passed, whichever it is. Standard library only: the
keeper uses it too.
"""

from __future__ import annotations

import os

SWITCH = "FINETOP_ABORT_AT"
DIED = 99  # the exit code

_passed = 0


def abort_at(place: str) -> None:
    """Exit here if a fault test requests it."""
    global _passed
    requested = os.environ.get(SWITCH)
    if requested is None:
        return
    _passed += 1
    if requested in (place, str(_passed)):
        os._exit(DIED)

"""Tells a person what happened, by the ways that the home's settings name: a beat's share of it, which never waits.

Notices (store/notices.py) become messages by `gathering`, messages are sent by `sending`. At least once: a supervisor
that is killed between sending a message and writing that down sends it again, under the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.supervisor.notify import compose, deliver

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor


def tend(supervisor: Supervisor, now: float) -> None:
    """Make messages of what is new, and see to those that are on their way."""
    compose.gather(supervisor, now)
    deliver.tend(supervisor, now)

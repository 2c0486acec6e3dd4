"""Quiet hours are kept: when they end is known at each beat, and what runs rests in them where the settings say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.recipe import quiet_hours
from finetop.core.store.database import transaction
from finetop.core.supervisor.requests import stop_pause_kill

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor


def keep(supervisor: Supervisor, now: float) -> None:
    """Note when the quiet hours around now end; let what runs rest in them, if it is to."""
    quiet = supervisor.settings.quiet_hours
    supervisor.quiet_until = None if quiet is None else quiet_hours.until(quiet, now)
    if supervisor.quiet_until is None or quiet is None or not quiet.pause:
        return
    for job in supervisor.live:
        if not job.asked and stop_pause_kill.goes_on_later(supervisor.connection, job):
            with transaction(supervisor.connection):
                stop_pause_kill.ask(supervisor.connection, job, "rest")
            supervisor.touch()

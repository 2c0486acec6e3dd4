"""The home's settings.yaml, read again whenever the file has changed."""

from __future__ import annotations

import os

from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.recipe import home_settings
from finetop.core.supervisor.state import Supervisor


def read(supervisor: Supervisor) -> None:
    """Read the settings again if the file has changed. With an error in it, no job starts until it is fixed.

    Running jobs keep the last good settings, and all listings of runs show the error.
    """
    identity = _seen(supervisor)
    if identity == supervisor.settings_seen:
        return
    supervisor.settings_seen, supervisor.settings_fault = identity, ""
    try:
        supervisor.settings = home_settings.load(supervisor.home)
    except FinetopError as error:
        supervisor.settings_fault = str(error)
        if isinstance(error, EnvironmentTrouble):
            supervisor.settings_seen = ()  # retry next time: a network file system may have been away


def _seen(supervisor: Supervisor) -> tuple[int, ...]:
    """Return the identity of the file or link at the settings' path; a broken link differs from no file."""
    file = supervisor.home.root / home_settings.FILE
    if not os.path.lexists(file):
        return (0,)
    try:
        facts = file.stat()
    except OSError as error:
        return (-1, error.errno or 0)
    return facts.st_dev, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size

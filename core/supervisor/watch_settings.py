"""What the home's settings.yaml says, as the supervisor goes by it: read again whenever the file has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.errors import FinetopError
from finetop.core.recipe import home_settings

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor


def read(supervisor: Supervisor) -> None:
    """Read the settings again if the file has changed. With a fault in it nothing starts until it is right.

    What runs goes on by the last good ones, and all that lists runs says what is wrong.
    """
    seen = _seen(supervisor)
    if seen == supervisor.settings_seen:
        return
    supervisor.settings_seen, supervisor.settings_fault = seen, ""
    try:
        supervisor.settings = home_settings.load(supervisor.home)
    except FinetopError as error:
        supervisor.settings_fault = str(error)


def _seen(supervisor: Supervisor) -> tuple[int, int]:
    try:
        facts = (supervisor.home.root / home_settings.FILE).stat()
    except OSError:
        return (0, 0)
    return facts.st_mtime_ns, facts.st_size

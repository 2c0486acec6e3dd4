"""The job of a watched run: another program, started without finetop, is read until it ends, and never signalled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.errors import BadInput
from finetop.core.external.numbers import Numbers, wanted
from finetop.core.external.sources import Places
from finetop.core.protocol.events import Ended, Phase
from finetop.core.runtime import processes
from finetop.core.train.alarm_callback import Alarms

if TYPE_CHECKING:
    from finetop.core.recipe.job import Job

PACKAGES = ("finetop",)
IF_STOPPED = "no longer watched; the program itself was not touched"
LOOK_S = 1.0
QUIET_S = 600.0  # without a process to wait for: so long without new numbers means that it has ended

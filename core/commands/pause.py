"""`finetop pause RUN…`: save a checkpoint, exit, and wait in the queue until `finetop resume RUN`."""

from __future__ import annotations

from finetop.core.commands.shared import several
from finetop.core.protocol.messages.queue import Pause

ABOUT = "save a checkpoint and put a run back into the queue"
RUNS = "name or number of a run that is training, being checked or waiting"
PLUGIN = several.ordering(ABOUT, Pause, runs=RUNS)

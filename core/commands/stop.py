"""`finetop stop RUN…`: save a checkpoint, then exit; a queued run leaves the queue."""

from __future__ import annotations

from finetop.core.commands.shared import several
from finetop.core.protocol.messages.queue import Stop
from finetop.core.wording.endings import stop_confirmation

PLUGIN = several.ordering("stop a run after saving a checkpoint", Stop, stop_confirmation)

"""`finetop kill RUN…`: kill a run's whole process tree at once; progress after the last checkpoint is lost."""

from __future__ import annotations

from finetop.core.commands.shared import several
from finetop.core.protocol.messages.queue import Kill
from finetop.core.wording.endings import kill_confirmation

PLUGIN = several.ordering("end a run at once, without a checkpoint", Kill, kill_confirmation)

"""A disk that is almost full, or a checkpoint that could not be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from finetop.core.runtime.disk_space import DiskSpace, change_text
from finetop.core.train.alarms import Alarm, AlarmNote, Run


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.disk:`."""

    on: Annotated[bool, Meta(description="Alarm when the disk is almost full.")] = True


@dataclass
class Disk:
    space: DiskSpace = field(default_factory=DiskSpace)
    is_unwritten: bool = False  # the last checkpoint could not be written

    def check(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        unwritten, free = values.get("unwritten"), values.get("free_bytes")
        if unwritten is not None:
            self.is_unwritten = unwritten > 0
            if self.is_unwritten:
                self.space.is_low = True
                text = f"disk full: the checkpoint of step {step} could not be written; training goes on"
                return AlarmNote(text)
        if free is None or self.is_unwritten:
            return None
        need = values.get("checkpoint_bytes", 0.0)
        change = self.space.change(free, values.get("disk_bytes", 0.0), need)
        return change and AlarmNote(change_text(change, free, need), is_over=change == "enough")


class DiskAlarm(Alarm[Options]):
    about = "the disk is almost full"
    options = Options

    def watch(self, options: Options, run: Run) -> Disk:
        return Disk()


PLUGIN = DiskAlarm()

"""A disk that is almost full: told before a checkpoint can't be written, and again when one could not.

The same rule is the supervisor's for the whole home, with what all live runs need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from finetop.core.train.alarms import AlarmNote
from finetop.core.wording.units import gib_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.train.alarms import Run

ABOUT = "the disk is almost full"
SHARE = 0.05  # of the disk that should be free
MOST = 10 << 30  # bytes: 5 % of 8 TB are no trouble
BACK = 1.2  # times the limit: at which it is over


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `alarms.disk:`."""

    on: Annotated[bool, Meta(description="Alarm when the disk is almost full.")] = True


@dataclass
class Disk:
    is_on: bool = False
    is_unwritten: bool = False  # the last checkpoint could not be written

    def look(self, step: int, seconds: float, values: Mapping[str, float]) -> AlarmNote | None:
        unwritten, free = values.get("unwritten"), values.get("free_bytes")
        if unwritten is not None:
            self.is_unwritten = unwritten > 0
            if self.is_unwritten:
                self.is_on = True
                text = f"disk full: the checkpoint of step {step} could not be written; training goes on"
                return AlarmNote(text)
        if free is None:
            return None
        need = values.get("checkpoint_bytes", 0.0)
        limit = wanted(values.get("disk_bytes", 0.0), need)
        if not self.is_on and free < limit:
            self.is_on = True
            return AlarmNote(f"disk {words(free, need)}")
        if self.is_on and not self.is_unwritten and free > BACK * limit:
            self.is_on = False
            return AlarmNote(f"the disk has room again: {gib_of(free)} GiB free", is_over=True)
        return None


def wanted(disk_bytes: float, need: float) -> float:
    """Say how many bytes should be free: a share of the disk, and what the next checkpoints need."""
    return max(min(SHARE * disk_bytes, MOST), need)


def words(free: float, need: float) -> str:
    """Say how little is free, and what is needed, where it is known."""
    needed = f", what is saved next takes {gib_of(need)}" if need > free else ""
    return f"almost full: {gib_of(free)} GiB free{needed}"


def watch(options: Options, run: Run) -> Disk:
    return Disk()

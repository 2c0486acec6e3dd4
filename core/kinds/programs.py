"""Training by other programs: one that we start, or one that somebody else started."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind
from finetop.core.protocol.runs import COMMAND, WATCHED


class Command(JobKind):
    verb = "command"
    work = "finetop.core.external.job"
    word = "command"
    makes = (COMMAND,)
    makes_a_run = of_others = is_command = takes_budget = reports_steps = reports_whole = True
    while_saving = ": waiting for its program to end"

    def resumes(self, step: int) -> str:
        return f"resumes from its checkpoint-{step}" if step else "starts its command again"


class Watch(JobKind):
    verb = "watch"
    work = "finetop.core.external.watch"
    word = "watch"
    many = "watches"
    makes = (WATCHED,)
    makes_a_run = of_others = only_watches = reports_steps = idles = True
    can_pause = False
    no_pause = "finetop did not start that program. To watch it no longer: finetop stop {run}."

    def only_reads(self, args: Mapping[str, Any]) -> bool:
        return True

    def resumes(self, step: int) -> str:
        return "is watched again"


KINDS = (Command(), Watch())

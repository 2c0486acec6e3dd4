"""The upload of an exported folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind
from finetop.core.text import clean_line


class Push(JobKind):
    verb = "push"
    work = "finetop.core.features.push.job"
    word = "push"
    can_pause = False
    is_asked_for = True

    def only_reads(self, args: Mapping[str, Any]) -> bool:
        return True

    def kept(self, done: int, total: int) -> str:
        return "Nothing is published; what was uploaded is not sent again."

    def facts(self, args: Mapping[str, Any]) -> str:
        return f"to {clean_line(str(args.get('repo')))}{', a dry run' if args.get('dry_run') else ''}"


KINDS = (Push(),)

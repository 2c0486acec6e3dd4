"""The import of a model that was made elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.protocol.job_kinds import JobKind
from finetop.core.protocol.runs import IMPORTED


class Import(JobKind):
    verb = "import"
    work = "finetop.core.models.imports.job"
    word = "import"
    makes = (IMPORTED,)
    makes_a_run = is_import = leaves_model = is_asked_for = True
    can_pause = False

    def only_reads(self, args: Mapping[str, Any]) -> bool:
        return True

    def kept(self, done: int, total: int) -> str:
        return "No model is imported."


KINDS = (Import(),)

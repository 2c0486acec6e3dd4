"""The job that tries remedies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from finetop.core.kinds.check import Scores
from finetop.core.text import clean_line, count

if TYPE_CHECKING:
    from finetop.core.protocol.runs import SideJob


class Remedy(Scores):
    verb = "remedy"
    work = "finetop.core.features.remedies.job"
    word = "remedies"
    counted = "remedy job"

    def kept(self, job: SideJob) -> str:
        if job.tried is None or not job.tried.done:
            return "No scores yet."
        tried = f"{count(job.tried.done)} of {count(job.tried.total)}"
        return f"{tried} done; {'score' if job.tried.done == 1 else 'scores'} kept."

    def not_started(self) -> str:
        return "They have not started."

    def facts(self, args: Mapping[str, Any]) -> str:
        named = ", ".join(str(candidate.get("name")) for candidate in args.get("candidates", ()))
        return clean_line(f"of step {args.get('step')}: {named}")


KINDS = (Remedy(),)

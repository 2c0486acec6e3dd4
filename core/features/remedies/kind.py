"""The job that tries remedies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.kinds.check import Scores
from finetop.core.text import clean_line, count


class Remedy(Scores):
    verb = "remedy"
    work = "finetop.core.features.remedies.job"
    word = "remedies"
    counted = "remedy job"
    tries_candidates = True
    screen = "remedies"

    def kept(self, done: int, total: int) -> str:
        if not done:
            return "No scores yet."
        return f"{count(done)} of {count(total)} done; {'score' if done == 1 else 'scores'} kept."

    def not_started(self) -> str:
        return "They have not started."

    def facts(self, args: Mapping[str, Any]) -> str:
        named = ", ".join(str(candidate.get("name")) for candidate in args.get("candidates", ()))
        return clean_line(f"of step {args.get('step')}: {named}")


KINDS = (Remedy(),)

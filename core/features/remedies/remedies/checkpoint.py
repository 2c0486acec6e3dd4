"""An earlier checkpoint of the same run: it learned less, and forgot less."""

from __future__ import annotations

from finetop.core.features.remedies.messages import Candidate
from finetop.core.features.remedies.remedies import Remedy, Subject


class Checkpoint(Remedy):
    about = "an earlier saved checkpoint of the run"
    cost = "loading it"
    most = 3

    def candidates(self, subject: Subject) -> list[Candidate]:
        """Return up to three earlier checkpoints, evenly spaced, the newest first."""
        steps = subject.earlier
        if not steps:
            why_not = "none was saved"
            return [Candidate("checkpoint", "checkpoint", "earlier checkpoint", subject.step, {}, why_not)]
        count = min(self.most, len(steps))
        places = [len(steps) - 1 - at * len(steps) // count for at in range(count)]
        return [
            Candidate(f"checkpoint-{step}", "checkpoint", f"checkpoint {step:,}", step, {"step": step})
            for step in (steps[at] for at in places)
        ]


PLUGIN = Checkpoint()

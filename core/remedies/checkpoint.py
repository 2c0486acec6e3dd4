"""An earlier checkpoint of the same run, as it is: less learned, and less forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.messages.remedies import Candidate

if TYPE_CHECKING:
    from finetop.core.remedies import Subject

ABOUT = "an earlier saved checkpoint of the run"
COST = "loading it"
MOST = 3


def candidates(subject: Subject) -> list[Candidate]:
    """Return up to three, spread over the way there, the newest first."""
    steps = subject.earlier
    if not steps:
        return [
            Candidate("checkpoint", "checkpoint", "earlier checkpoint", subject.step, {}, "none was saved")
        ]
    count = min(MOST, len(steps))
    places = [len(steps) - 1 - at * len(steps) // count for at in range(count)]
    return [
        Candidate(
            f"checkpoint-{steps[at]}",
            "checkpoint",
            f"checkpoint {steps[at]:,}",
            steps[at],
            {"step": steps[at]},
        )
        for at in places
    ]

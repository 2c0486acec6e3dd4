"""The measurement of an approach: as a run of its own, or of the model that a run has trained."""

from __future__ import annotations

from finetop.core.kinds.check import Scores
from finetop.core.protocol.runs import NO_WEIGHT


class Measure(Scores):
    verb = "measure"
    work = "finetop.core.features.approaches.job"
    word = "measurement"

    def kept(self, done: int, total: int) -> str:
        return "Its comparison gets no result from it."


class Approach(Measure):
    """A run without weight changes, which is its own measurement."""

    verb = "approach"
    makes = (NO_WEIGHT,)
    makes_a_run = True


KINDS = (Approach(), Measure())

"""Two files of one program: whether they tell of the same steps, by their losses, and which steps are guessed.

The better file may be written late: a trainer's state with each checkpoint, an event file every two minutes. Until
then the other one leads, if both have told the same losses before.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAD_S = 5.0  # how long a value waits for the better file
COMPARED, FEWEST = 20, 2  # losses
CLOSE = 1e-2  # relative: what is printed is rounded
SAME = 1e-3  # relative: of several places, only one that is so close is believed
CLEARLY = (
    3.0  # times as close as the next best: a loss that falls by .5 % a step is close to its neighbour's too
)
MOST_LOSSES = 1000  # that are kept of a file

Losses = list[tuple[int, float]]  # by step


class Counted(NamedTuple):
    """How the steps of one file become those of another: `guess` is `step` there, and each further one `stride`."""

    guess: int
    step: int
    stride: int

    def of(self, guess: int) -> int:
        """Return the other file's step."""
        return self.step + (guess - self.guess) * self.stride

    @property
    def is_same(self) -> bool:
        return self.guess == self.step and self.stride == 1


def counted(known: Losses, told: Losses, *, guesses: bool) -> Counted | None:
    """Return how a file's steps are those of a better one; None if their losses don't show it."""
    if guesses:
        return _aligned(known, told)
    by_step = dict(told)
    common = [(loss, by_step[step]) for step, loss in known if step in by_step][-COMPARED:]
    agrees = len(common) >= FEWEST and all(is_close(*pair) for pair in common)
    return Counted(0, 0, 1) if agrees else None


def _aligned(known: Losses, told: Losses) -> Counted | None:
    """Find the one place in what was told where the last known losses stand."""
    last = known[-COMPARED:]
    if len(last) < FEWEST or len({loss for _, loss in last}) < FEWEST:
        return None
    places = sorted(
        (distance, at) for at in range(len(told)) if (distance := _distance(last, told, at)) <= CLOSE
    )
    if not places:
        return None
    (best, at), *others = places
    if others and not (best <= SAME and CLEARLY * best < others[0][0]):
        return None
    return Counted(told[at][0], last[-1][0], last[-1][0] - last[-2][0])


def _distance(last: Losses, told: Losses, at: int) -> float:
    """Return by how much, relatively, the last losses differ from those that end there.

    The first ones may have been told before `told` begins.
    """
    pairs = [
        (mine[1], other[1]) for mine, other in zip(reversed(last), reversed(told[: at + 1]), strict=False)
    ]
    if len(pairs) < FEWEST or not all(is_close(*pair) for pair in pairs):
        return math.inf
    return max(
        abs(mine - other) / max(abs(mine), abs(other)) if math.isfinite(mine) and mine != other else 0.0
        for mine, other in pairs
    )


def is_close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=CLOSE) or (math.isnan(first) and math.isnan(second))


def add(runs: list[list[int]], step: int) -> None:
    """Add a step to steps in order, kept as runs of a first, a last and a stride: a million of them are one run."""
    if runs and (runs[-1][0] == runs[-1][1] or step == runs[-1][1] + runs[-1][2]):
        runs[-1][1:] = [step, step - runs[-1][1]]
    else:
        runs.append([step, step, 0])


def has(runs: Sequence[Sequence[int]], step: int) -> bool:
    """Return whether a step is among them."""
    return any(first <= step <= last and (step - first) % (stride or 1) == 0 for first, last, stride in runs)

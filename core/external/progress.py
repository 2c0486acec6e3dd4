"""How far a program is, and how long it needs: by its own clock, else by when its files were written."""

from __future__ import annotations

from dataclasses import dataclass

from finetop.core.protocol.events import Phase

LARGEST_STEP = 2**31 - 1
PHASE_S = 2.0  # between two reports of progress


@dataclass
class Progress:
    """The step that is reached, of how many; `planned_by` is the rank of the source that has the total."""

    step: int = 0
    total: int = 0
    planned_by: int = 0
    first: tuple[int, float] | None = None  # step and time from which the pace is measured
    last: tuple[int, float] | None = None
    last_loss: tuple[int, float] | None = None
    _shown_at: float = -PHASE_S  # monotonic
    _shown: tuple[int, int] = (0, 0)  # step and total

    def plan(self, total: int, rank: int) -> bool:
        """Record a source's planned steps. Return whether they have changed."""
        if total <= 0 or min(total, LARGEST_STEP) == self.total or rank < self.planned_by:
            return False
        self.total, self.planned_by = min(total, LARGEST_STEP), rank
        return True

    def reach(self, step: int, at: float) -> None:
        """Record a step. Of several that were read at one time, the last one begins the measurement of the pace."""
        self.step = max(self.step, step)
        self.last = (step, at)
        if self.first is None or at <= self.first[1]:
            self.first = self.last

    def step_s(self, step: int, at: float) -> float | None:
        """Return the seconds a step since the last step with a loss; None if they are not known."""
        before, self.last_loss = self.last_loss, (step, at)
        if before is None or step <= before[0] or at <= before[1]:
            return None
        return (at - before[1]) / (step - before[0])

    def go_back(self, step: int) -> None:
        """Start over at a step."""
        self.step = max(0, step - 1)
        self.first = self.last = self.last_loss = None

    def is_due(self, now: float) -> bool:
        return now - self._shown_at >= PHASE_S and (self.step, self.total) != self._shown

    def phase(self, now: float, spent_s: float | None) -> Phase:
        """Return a report of the progress, and record when it was made."""
        self._shown_at, self._shown = now, (self.step, self.total)
        total = float(self.total) if self.total else None
        return Phase("training", float(self.step), total, "steps", self.left_s(), spent_s)

    def left_s(self) -> float | None:
        """Return the seconds that are left; None if they are not known."""
        if self.first is None or self.last is None or not 0 < self.total >= self.step:
            return None
        (first, began), (last, at) = self.first, self.last
        if last <= first or at <= began:
            return None
        return round((at - began) / (last - first) * (self.total - self.step), 1)

"""The energy that one GPU has used for a job: by the driver's own counter, else its power over time.

A GPU that several jobs are on counts in equal parts for each: its driver does not tell whose work took what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Energy:
    """Adds up what one GPU uses for this job, look by look."""

    count_j: Callable[
        [], float | None
    ]  # joules since the driver began, or was reset; None: it does not count
    used_j: float | None = None  # for this job; None: nothing was told yet
    _counted: float | None = None  # at the last look
    _watts: float | None = None
    _at: float = 0.0

    def begin(self, now: float) -> None:
        """Count from now on (monotonic)."""
        self._at, self._counted = now, self.count_j()

    def look(self, now: float, watts: float | None, jobs: int = 1) -> None:
        """Add what was used since the last look; `watts` is what the GPU draws now, `jobs` how many are on it."""
        before, counted = self._counted, self.count_j()
        used: float | None = None
        if counted is not None and before is not None:
            used = counted - before if counted >= before else counted  # the counter began again
        elif before is None and watts is not None:  # where it counts, the next look has this one's, too
            used = (watts if self._watts is None else (watts + self._watts) / 2) * (now - self._at)
        if used is not None:
            self.used_j = (self.used_j or 0.0) + used / jobs
        self._at, self._watts = now, watts
        self._counted = before if counted is None else counted

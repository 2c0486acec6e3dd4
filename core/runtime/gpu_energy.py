"""The energy that one GPU has used for a job: from the driver's counter, else from its power over time.

On a shared GPU it is divided equally among the jobs: the driver does not tell whose work used what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Energy:
    """Sums what one GPU uses for this job, reading by reading."""

    # joules since the driver began, or was reset; None: it does not count
    count_j: Callable[[], float | None]
    used_j: float | None = None  # for this job; None: no value yet
    _counted: float | None = None  # at the last reading
    _watts: float | None = None
    _at: float = 0.0

    def begin(self, now: float) -> None:
        """Count from now on (monotonic)."""
        self._at, self._counted = now, self.count_j()

    def add(self, now: float, watts: float | None, jobs: int = 1) -> None:
        """Add the energy since the last reading; `watts` is the current power, `jobs` how many share the GPU."""
        before, counted = self._counted, self.count_j()
        used: float | None = None
        if counted is not None and before is not None:
            used = counted - before if counted >= before else counted  # the counter restarted
        elif before is None and watts is not None:  # if it has a counter, the next reading includes this span
            used = (watts if self._watts is None else (watts + self._watts) / 2) * (now - self._at)
        if used is not None:
            self.used_j = (self.used_j or 0.0) + used / jobs
        self._at, self._watts = now, watts
        self._counted = before if counted is None else counted

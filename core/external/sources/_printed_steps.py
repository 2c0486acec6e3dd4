"""Steps of the run from a count that a program restarts in each epoch, or keeps in rows."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetop.core.external.sources._printed_line import Row

RECENT = 16  # steps: the processes of a distributed run print the same ones, some a little late


class Rows:
    """Turns a count of rows (`[640/60000]`) into steps: how many are between two lines is one step.

    If the program prints each 10th batch, a step here is 10 of its own: the size of a batch is not printed.
    """

    def __init__(self) -> None:
        self._unit, self._last = 0, -1

    def counted(self, row: Row) -> Row:
        """Return a row with its step counted in steps."""
        at = row.step
        if self._last < 0 or (self._unit == 0 and at > 0):
            self._unit = at if self._last < 0 else at - self._last
        elif self._last == self._unit and at > self._last and (at - self._last) % self._unit:
            self._unit = at - self._last  # the first line was not of the first batch
        self._last = at
        unit = self._unit or 1
        of = -(-row.of // unit) if self._unit else 0
        return row._replace(step=min(-(-at // unit), of or at), of=of)


class Laps:
    """Turns steps that restart in each epoch into steps of the run."""

    def __init__(self) -> None:
        self.base = 0  # steps of the epochs before
        self._last, self._stride, self._of, self._epoch = -1, 1, 0, -1
        self._recent: deque[int] = deque(maxlen=RECENT)

    def place(self, step: int, of: int, epoch: int) -> int | None:
        """Return the step of the run; None for one that another process of the run has printed before."""
        of = of or self._of
        is_next = 0 <= self._epoch < epoch and step == self._last == of  # one line for each epoch
        if step < self._last or is_next:
            at_end = 0 < of <= self._last + self._stride and of == self._of
            if at_end or 0 <= self._epoch < epoch:
                self.base += of or self._last
                self._recent.clear()
            elif step in self._recent:
                return None
            else:
                self.base = 0  # it started over
                self._recent.clear()
        elif step > self._last >= 0:
            self._stride = step - self._last
        self._last, self._of, self._epoch = step, of, max(epoch, -1)
        self._recent.append(step)
        return self.base + step

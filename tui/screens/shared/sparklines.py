"""Sparklines of the runs' loss or reward, loaded on request."""

from __future__ import annotations

from finetop.core.protocol.messages.runs import Curves, CurvesAnswer
from finetop.core.protocol.runs import Running, RunRow
from finetop.core.wording.sparkline import sparkline
from finetop.tui.widgets.paged_list import Ask

AGE_S, FAR_AGE_S = 10.0, 60.0  # a running run's sparkline is reloaded after this many seconds


class Sparklines:
    """Sparklines of a given width, by run number."""

    def __init__(self, columns: int) -> None:
        self.drawn: dict[int, str] = {}
        self._columns = columns
        self._asked_at: dict[int, float] = {}

    async def load(self, ask: Ask, row: RunRow, now: float, *, is_far: bool = False) -> bool:
        """Load a run's sparkline if it is missing or old; return whether it was loaded. Raises NoSupervisor."""
        if not row.step:
            return False
        if row.id in self._asked_at:
            age = now - self._asked_at[row.id]
            if age < (FAR_AGE_S if is_far else AGE_S) or not isinstance(row.state, Running):
                return False
        self._asked_at[row.id] = now
        answer: CurvesAnswer = await ask(Curves(row.name, [row.main_metric], self._columns, row.step))
        means = [mean for curve in answer.curves[:1] for mean in curve.mean]
        self.drawn[row.id] = sparkline(means, self._columns)
        return True

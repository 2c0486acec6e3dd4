"""The data of the Sweep screen: the last answer, grouped by setting, and the order of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from finetop.core.features.sweeps import seed_groups, selection_curve
from finetop.core.features.sweeps.curve_cells import Cell, Estimate
from finetop.core.features.sweeps.seed_groups import Setting, Spread
from finetop.core.protocol import tags
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.messages.runs import SweepsAnswer
from finetop.core.protocol.runs import RunRow


@dataclass
class SweepData:
    """One sweep, as last loaded."""

    name: str
    answer: SweepsAnswer | None = None
    settings: list[Setting] = field(default_factory=list)
    curves: selection_curve.Curves | None = None  # set for a selection curve
    by_target: bool = False
    chosen: dict[tuple[str, ...], int] = field(default_factory=dict)  # by setting: its selected run

    def update(self, answer: SweepsAnswer) -> None:
        """Update from an answer; known rows keep their places."""
        self.answer = answer
        self.curves = selection_curve.read(answer)
        settings = _settings(answer, self.curves)
        place = {setting.values: at for at, setting in enumerate(self.settings)}
        self.settings = sorted(settings, key=lambda setting: place.get(setting.values, len(place)))

    def sort(self) -> None:
        """Sort by target, best first, settings without one last; a second call restores queue order."""
        if self.answer is None:
            return
        self.by_target = not self.by_target
        settings = _settings(self.answer, self.curves)
        self.settings = ranked(self, settings) if self.by_target else settings

    @property
    def keys(self) -> Sequence[str]:
        return () if self.answer is None else self.answer.keys

    @property
    def metric(self) -> str:
        """The target metric; empty without a target."""
        return seed_groups.metric(run for setting in self.settings for run in setting.runs)

    @property
    def is_lower_better(self) -> bool:
        if self.curves is not None:
            return self.curves.is_lower_better
        return self.metric in LOWER_IS_BETTER

    def cell_of(self, setting: Setting) -> Cell | None:
        """Return a setting's cell of the selection curve; None in other sweeps."""
        if self.curves is None:
            return None
        by, rows = (setting.values[self.keys.index(key)] for key in (tags.BY, tags.ROWS))
        return next((cell for cell in self.curves.cells if (cell.by, str(cell.rows)) == (by, rows)), None)

    def mean_of(self, setting: Setting) -> float | None:
        """Return the mean over seeds that settings are ranked by."""
        estimate: Spread | Estimate | None = seed_groups.spread(setting.runs, seed_groups.target)
        if self.curves is not None:
            cell = self.cell_of(setting)
            estimate = None if cell is None else cell.target
        return None if estimate is None else estimate.mean

    def run_of(self, setting: Setting) -> RunRow:
        return setting.runs[self.chosen.get(setting.values, 0) % len(setting.runs)]

    def choose(self, setting: Setting, by: int) -> None:
        self.chosen[setting.values] = (self.chosen.get(setting.values, 0) + by) % len(setting.runs)


def _settings(answer: SweepsAnswer, curves: selection_curve.Curves | None) -> list[Setting]:
    """Group runs by setting; a run shared by several selectors is in each of their groups."""
    if curves is None:
        return seed_groups.settings(answer.runs, answer.keys)
    settings: list[Setting] = []
    for cell in curves.cells:
        of_size = [run for run in answer.runs if run.values[tags.ROWS] == str(cell.rows)]
        rows = [run.row for run in of_size if cell.by in run.values[tags.BY].split(",")]
        values = {tags.BY: cell.by, tags.ROWS: str(cell.rows)}
        settings.append(Setting(tuple(values[key] for key in answer.keys), tuple(rows)))
    return settings


def ranked(held: SweepData, settings: Sequence[Setting]) -> list[Setting]:
    """Sort settings by their mean target, best first; those without one come last."""

    def worth(setting: Setting) -> float:
        mean = held.mean_of(setting)
        if mean is None:
            return float("inf")
        return mean if held.is_lower_better else -mean

    return sorted(settings, key=worth)


def best(held: SweepData) -> RunRow | None:
    """Return the run with the best target of those without a regression; None if there are not two settings.

    None for a selection curve: its own column compares with random rows, including the margin of chance.
    """
    if held.curves is not None or len(held.settings) < 2:
        return None
    scored = [
        (score, run)
        for setting in held.settings
        for run in setting.runs
        if (score := seed_groups.target(run)) is not None
        and not (run.check is not None and run.check.verdict == "regressed")
    ]
    sign = 1 if held.is_lower_better else -1
    return min(scored, key=lambda pair: sign * pair[0])[1] if scored else None

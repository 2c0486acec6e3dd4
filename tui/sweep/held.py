"""What the Sweep screen holds: the answer to its question, put together by settings, in the order they stand in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from finetop.core import repeats
from finetop.core.check.telling.result import LOWER_IS_BETTER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.protocol import SweepsAnswer
    from finetop.core.repeats import Setting
    from finetop.core.run import RunRow


@dataclass
class Held:
    """One sweep, as it was last told."""

    name: str
    answer: SweepsAnswer | None = None
    settings: list[Setting] = field(default_factory=list)
    by_target: bool = False
    chosen: dict[tuple[str, ...], int] = field(default_factory=dict)  # which run of each setting

    def take(self, answer: SweepsAnswer) -> None:
        """Take in an answer. The order stays: rows that were seen before stand where they stood."""
        self.answer = answer
        found = repeats.settings(answer.runs, answer.keys)
        place = {one.values: at for at, one in enumerate(self.settings)}
        self.settings = sorted(found, key=lambda one: place.get(one.values, len(place)))

    def sort(self) -> None:
        """Put the best target first, settings without one last; again: as they were queued."""
        if self.answer is None:
            return
        self.by_target = not self.by_target
        found = repeats.settings(self.answer.runs, self.answer.keys)
        self.settings = ranked(found, self.is_lower_better) if self.by_target else found

    @property
    def keys(self) -> Sequence[str]:
        return () if self.answer is None else self.answer.keys

    @property
    def metric(self) -> str:
        """Name what the target is measured by; nothing without one."""
        return repeats.metric(run for one in self.settings for run in one.runs)

    @property
    def is_lower_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    def run_of(self, setting: Setting) -> RunRow:
        """Give the run of a setting that is chosen."""
        return setting.runs[self.chosen.get(setting.values, 0) % len(setting.runs)]

    def choose(self, setting: Setting, by: int) -> None:
        """Choose another run of a setting."""
        self.chosen[setting.values] = (self.chosen.get(setting.values, 0) + by) % len(setting.runs)


def ranked(settings: Sequence[Setting], is_lower_better: bool) -> list[Setting]:
    """Order settings by the mean of their target, the best first; those without one come last."""

    def worth(setting: Setting) -> float:
        found = repeats.spread(setting.runs, repeats.target)
        if found is None:
            return float("inf")
        return found.mean if is_lower_better else -found.mean

    return sorted(settings, key=worth)


def best(held: Held) -> Setting | None:
    """Give the setting with the best target of those whose runs have not regressed; None without two to choose from."""
    fine = [
        one
        for one in held.settings
        if repeats.spread(one.runs, repeats.target) is not None
        and not any(run.check is not None and run.check.verdict == "regressed" for run in one.runs)
    ]
    if len(held.settings) < 2 or not fine:
        return None
    return ranked(fine, held.is_lower_better)[0]

"""The state of the Remedies screen: what was and can be tried of a run, and how the user looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from finetop.core.features.remedies import wording as remedies
from finetop.core.features.remedies.messages import RemediesAnswer, RetrainingRow
from finetop.core.protocol.runs import RemedyRow

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class RemediesState:
    """A run's remedies, and where the user is among them."""

    run: str
    answer: RemediesAnswer | None = None
    metric: str = ""  # the target metric the user chose; empty: the default one
    marked: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)  # row names in sorted order; empty: the default order
    is_reading: bool = False
    first: int = 0  # first row in view of the open details
    is_longer: bool = False  # the open details do not fit on the screen

    @property
    def shown_metric(self) -> str:
        """The target metric shown in the table and in the chart."""
        return self.metric or (self.answer.metric if self.answer is not None else "")

    @property
    def shown(self) -> RemediesAnswer | None:
        """The loaded answer, for the metric on screen."""
        answer = self.answer
        return None if answer is None else msgspec.structs.replace(answer, metric=self.shown_metric)

    @property
    def rows(self) -> list[tuple[str, RemedyRow | RetrainingRow]]:
        if self.answer is None:
            return []
        place = {name: at for at, name in enumerate(self.order)}
        named = remedies.lettered(self.answer.rows)
        named = sorted(named, key=lambda entry: place.get(entry[1].name, len(place)))
        more = zip(LETTERS[len(named) :], self.answer.retrainings, strict=False)
        return [*named, *more]

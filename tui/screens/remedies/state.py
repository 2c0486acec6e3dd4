"""The state of the Remedies screen: what was and can be tried of a run, and how the user looks at it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from finetop.core.protocol.messages.remedies import RemediesAnswer, RetrainingRow
from finetop.core.protocol.runs import RemedyRow
from finetop.core.wording import remedies

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class RemediesState:
    """A run's remedies, and where the user is among them."""

    run: str
    answer: RemediesAnswer | None = None
    metric: str = ""  # of the target, as the user wants to see it
    marked: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)  # names of the rows as they stand
    is_reading: bool = False
    first: int = 0  # row in view of what is read
    is_longer: bool = False  # than its room: what is read

    @property
    def shown_metric(self) -> str:
        """The metric of the target that is shown: of each remedy what it reaches, and in the picture."""
        return self.metric or (self.answer.metric if self.answer is not None else "")

    @property
    def shown(self) -> RemediesAnswer | None:
        """What is held, by the metric that is shown."""
        answer = self.answer
        return None if answer is None else msgspec.structs.replace(answer, metric=self.shown_metric)

    @property
    def rows(self) -> list[tuple[str, RemedyRow | RetrainingRow]]:
        """All rows with their letters, as they stand."""
        if self.answer is None:
            return []
        place = {name: at for at, name in enumerate(self.order)}
        named = sorted(
            remedies.lettered(self.answer.rows), key=lambda entry: place.get(entry[1].name, len(place))
        )
        more = zip(LETTERS[len(named) :], self.answer.retrainings, strict=False)
        return [*named, *more]

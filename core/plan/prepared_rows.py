"""Rows of a recipe's sources made into examples, all of them or as many as time allows; sums with their variance."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetop.core.check.statistics import NORMAL_95
from finetop.core.data import training_set
from finetop.core.data.examples import AnyExample, through_model
from finetop.core.data.prompts import Asker
from finetop.core.data.training_set import NamedRows
from finetop.core.plugins import ObjectiveFacts
from finetop.core.protocol.events import DataRead
from finetop.core.recipe.schema import Data, Recipe

BLOCK = 64  # rows between two checks of the clock
IN_ORDER = 1000  # rows of a source that are prepared in order: the first fault is then the job's first
LEAST_ROWS, LEAST_TOKENS = 1000, 300_000  # prepared however long it takes: 0.3 s of a core


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, and the variance of its estimate; 0 if it was counted."""

    value: float
    variance: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.value + other.value, self.variance + other.variance)

    def times(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.variance * factor**2)

    def by(self, other: Estimate) -> Estimate:
        """Multiply by another, independent one."""
        spread = self.variance * other.value**2 + other.variance * self.value**2
        return Estimate(self.value * other.value, spread)

    @property
    def range(self) -> tuple[int, int]:
        """Return the 95 % interval."""
        half = NORMAL_95 * math.sqrt(self.variance)
        return math.floor(max(0.0, self.value - half)), math.ceil(self.value + half)


@dataclass
class PreparedRows:
    """The rows of one source, and the examples made from them so far."""

    source: NamedRows
    times: Mapping[str, float]
    asked: bool  # whether the recipe's `ask` applies to its prompts
    examples_at: dict[int, list[AnyExample]] = field(default_factory=dict)
    order: list[int] = field(init=False)
    factor: float = field(init=False)  # rows of the file that each row read stands for
    fitted: training_set.Fitted = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.source.rows)
        self.order = list(range(count))
        if count > IN_ORDER:
            random.Random(0).shuffle(self.order)
            self.order.remove(0)
            self.order.insert(0, 0)  # the row that is shown
        self.factor = sum(self.times.get(row.place, 1.0) for row in self.source.rows) / max(1, count)

    @property
    def is_whole(self) -> bool:
        return len(self.examples_at) == len(self.source.rows) and self.factor == 1.0

    @property
    def of(self) -> float:
        return len(self.source.rows) * self.factor

    @property
    def examples(self) -> list[AnyExample]:
        return self.fitted.examples

    @property
    def report(self) -> DataRead:
        return self.fitted.report

    def fit(self, data: Data) -> None:
        """Cut or drop long rows, as the job does."""
        self.fitted = training_set.fitted(
            self.source.name, (self.examples_at[at] for at in sorted(self.examples_at)), data
        )
        each = () if self.is_whole else sorted(self.examples_at)
        self._each = [training_set.fitted(self.source.name, (self.examples_at[at],), data) for at in each]

    def _sum(self, of: Callable[[training_set.Fitted], float]) -> Estimate:
        """Return a sum over all rows, estimated from the prepared ones if there are others."""
        if self.is_whole:
            return Estimate(of(self.fitted))
        values = [of(fitted) for fitted in self._each]
        count = len(values)
        mean = sum(values) / count
        # Even if a thousand rows are alike, up to three in a thousand may differ (rule of three).
        least = (mean * 3 / count / NORMAL_95) ** 2
        spread = sum((value - mean) ** 2 for value in values) / max(1, count - 1) / count
        return Estimate(mean, max(spread, least) * (1 - count / self.of)).times(self.of)

    @property
    def rows(self) -> Estimate:
        """Return the number of examples that are left."""
        return self._sum(lambda fitted: len(fitted.examples))

    @property
    def tokens(self) -> Estimate:
        return self._sum(lambda fitted: sum(map(through_model, fitted.examples)))

    @property
    def too_long(self) -> Estimate:
        return self._sum(lambda fitted: fitted.too_long)

    @property
    def unlearned(self) -> Estimate:
        return self._sum(lambda fitted: fitted.unlearned)

    def refuse(self, data: Data) -> None:
        """Refuse what the job refuses; from a part of the rows, only if it is nearly certain. Raises BadInput."""
        number, rows = self.too_long.range[0], round(self.of)
        training_set.refuse_too_long(self.source.name, number, rows, self.report.longest_tokens, data)


@dataclass(frozen=True, slots=True)
class ExampleMaker:
    """Makes examples as the job does: with the recipe's objective, its prompts and the model's tokenizer."""

    recipe: Recipe
    objective: ObjectiveFacts[Any]
    tokenizer: Any
    asker: Asker | None

    def run(self, sources: Sequence[PreparedRows], deadline: float) -> None:
        """Make the examples of all rows, or as many of each source as time allows. Raises BadInput."""
        at = rows = tokens = 0
        while left := [prepared for prepared in sources if at < len(prepared.order)]:
            for prepared in left:
                tokens += self._block(prepared, prepared.order[at : at + BLOCK])
                rows += BLOCK
            at += BLOCK
            if time.monotonic() >= deadline and (rows >= LEAST_ROWS or tokens >= LEAST_TOKENS):
                return

    def _block(self, prepared: PreparedRows, places: Sequence[int]) -> int:
        """Make the examples of some rows, and return their tokens."""
        rows = [prepared.source.rows[place] for place in places]
        if prepared.asked:
            rows = training_set.with_prompts(rows, self.asker)
        options, most = self.recipe.objective.options, self.recipe.data.max_tokens
        examples = self.objective.examples(rows, options, self.tokenizer, most)
        prepared.examples_at.update(zip(places, examples, strict=True))
        return sum(example.tokens for of_row in examples for example in of_row)

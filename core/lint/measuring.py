"""Counts the tokens of rows: all, those that are learned, and what is left after cutting, as training does it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from finetop.core import objectives
from finetop.core.errors import FinetopError
from finetop.core.plan.lengths import CHARACTERS_PER_TOKEN, TURN_TOKENS
from finetop.core.train.rows import render
from finetop.core.train.rows.sources import Row as TrainRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.formats import Record
    from finetop.core.lint.light import LightTokenizer
    from finetop.core.lint.row import Lens, Row
    from finetop.core.prompting import Asker

OBJECTIVES = {  # that learns of rows of a kind, where no recipe names one
    "conversation": "sft",
    "text": "continued-pretraining",
    "preference": "dpo",
    "labelled": "kto",
    "prompt": "grpo",
}


class Counts(NamedTuple):
    tokens: int
    learned: int
    kept: int
    rewritten: int = 0


class Meter:
    """Measures rows with a tokenizer; without one, by their characters."""

    def __init__(
        self, lens: Lens, tokenizer: LightTokenizer | None, options: Any = None, asker: Asker | None = None
    ) -> None:
        self.lens = lens
        self.tokenizer = tokenizer
        self.options = options
        self.asker = asker

    def measure(self, rows: Sequence[Row]) -> list[Row]:
        """Give the rows with their counts; rows that can't be read have none."""
        measured = list(rows)
        by_objective: dict[str, list[int]] = {}
        for number, row in enumerate(rows):
            if row.record is None:
                continue
            if self.tokenizer is None:
                measured[number] = _with(row, self._estimated(row))
            else:
                kind = type(row.record).__name__.lower()
                by_objective.setdefault(self.lens.objective or OBJECTIVES[kind], []).append(number)
        for objective, numbers in by_objective.items():
            for number, row in zip(
                numbers, self._counted(objective, [rows[n] for n in numbers]), strict=True
            ):
                measured[number] = row
        return measured

    def _counted(self, objective: str, rows: list[Row]) -> list[Row]:
        try:
            return [
                _with(row, counts) for row, counts in zip(rows, self._examples(objective, rows), strict=True)
            ]
        except FinetopError as error:
            if len(rows) > 1:  # one of them is refused: which
                return [one for row in rows for one in self._counted(objective, [row])]
            return [replace(rows[0], refused=error.message.removeprefix(f"{rows[0].place}: "))]

    def _examples(self, objective: str, rows: list[Row]) -> list[Counts]:
        module = objectives.load(objective)
        options = self.options if self.lens.objective else module.Options()
        most = self.lens.max_tokens or 10**9
        asked = [TrainRow(row.place, self._asked(row.record)) for row in rows if row.record is not None]
        if objective in ("sft", "distill"):
            return self._conversations(asked, getattr(options, "loss", "answers"))
        return [self._sum(examples) for examples in module.examples(asked, options, self.tokenizer, most)]

    def _asked(self, record: Record) -> Record:
        """Give a row with its prompt as the model is asked it."""
        return record if self.asker is None else self.asker.asked(record)

    def _conversations(self, rows: list[TrainRow], loss: str) -> list[Counts]:
        """Count as render.tokenize labels, without a list of labels: that took 110 microseconds a row of 150 tokens."""
        assert self.tokenizer is not None
        rendered = [render.render(row.conversation, self.tokenizer, loss, row.place) for row in rows]
        encoded = self.tokenizer.inner.encode_batch([row.text for row in rendered], add_special_tokens=False)
        return [self._count(row, one.offsets) for row, one in zip(rendered, encoded, strict=True)]

    def _count(self, row: render.Rendered, offsets: list[tuple[int, int]]) -> Counts:
        most, tokens = self.lens.max_tokens, len(offsets)
        most = tokens if most is None else most
        end_of_kept = tokens if tokens <= most else most if self.lens.on_long == "truncate" else 0
        learned = kept = 0
        for start, end in row.learned:
            first = bisect_right(
                offsets, start, key=itemgetter(1)
            )  # the first token that ends behind the start
            last = bisect_left(offsets, end, first, key=itemgetter(0))
            learned += last - first
            kept += max(0, min(last, end_of_kept) - first)
        return Counts(tokens, learned, kept, row.rewritten)

    def _sum(self, examples: Sequence[Any]) -> Counts:
        tokens = learned = kept = rewritten = 0
        for example in examples:
            tokens += example.tokens
            learned += example.answer_tokens
            rewritten += getattr(example, "rewritten", 0)
            most = self.lens.max_tokens
            if most is None or example.tokens <= most:
                kept += example.answer_tokens
            elif self.lens.on_long == "truncate":
                kept += example.cut(most).answer_tokens
        return Counts(tokens, learned, kept, rewritten)

    def _estimated(self, row: Row) -> Counts:
        """Take four characters for a token, and what a chat template puts around turns."""
        tokens = sum(math.ceil(len(turn.text) / CHARACTERS_PER_TOKEN) + TURN_TOKENS for turn in row.turns)
        learned = sum(
            math.ceil(len(turn.text) / CHARACTERS_PER_TOKEN) + 1
            for turn in row.turns
            if turn.role in ("assistant", "rejected", "text")
        )
        most = self.lens.max_tokens
        if row.is_text or most is None or tokens <= most:
            return Counts(tokens, learned, learned)
        return Counts(
            tokens, learned, max(0, learned - (tokens - most)) if self.lens.on_long == "truncate" else 0
        )


def _with(row: Row, counts: Counts) -> Row:
    return replace(
        row, tokens=counts.tokens, learned=counts.learned, kept=counts.kept, rewritten=counts.rewritten
    )

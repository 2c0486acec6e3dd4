"""Counts the tokens of rows: all, those that are learned, and what is left after cutting, as training does it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec.structs import replace

from finetop.core.data import render
from finetop.core.data.sources import Row as TrainRow
from finetop.core.errors import FinetopError
from finetop.core.plugins import OBJECTIVES
from finetop.core.preflight.lint.token_counts import Counter
from finetop.core.preflight.plan.lengths import CHARACTERS_PER_TOKEN, TURN_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.data.formats import Record
    from finetop.core.data.prompts import Asker
    from finetop.core.preflight.lint.fast_tokenizer import LightTokenizer
    from finetop.core.preflight.lint.row import Lens, Row

OBJECTIVE_OF = {  # that learns of rows of a kind, where no recipe names one
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
        self.counter: Counter | None = None
        if tokenizer is not None and (counter := Counter(tokenizer.inner)).is_by_word:
            self.counter = counter
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
                is_test = row.role == "test"  # which is asked, and nothing learned of it
                learner = OBJECTIVE_OF[kind] if is_test else self.lens.objective or OBJECTIVE_OF[kind]
                by_objective.setdefault(learner, []).append(number)
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
        module = OBJECTIVES.load(objective)
        options = self.options if objective == self.lens.objective else module.Options()
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
        counted = [self._by_words(row) for row in rendered]
        whole = [row for row, counts in zip(rendered, counted, strict=True) if counts is None]
        encoded = iter(
            self.tokenizer.inner.encode_batch([row.text for row in whole], add_special_tokens=False)
        )
        return [
            self._count(row, next(encoded).offsets) if counts is None else counts
            for row, counts in zip(rendered, counted, strict=True)
        ]

    def _by_words(self, row: render.Rendered) -> Counts | None:
        """Count word by word; None where only offsets can tell which tokens are learned."""
        counter = self.counter
        if counter is None or not all(counter.is_border(row.text, at) for span in row.learned for at in span):
            return None
        tokens = end = 0
        spans = []
        for start, stop in row.learned:
            first = tokens + counter.count(row.text[end:start])
            tokens = first + counter.count(row.text[start:stop])
            spans.append((first, tokens))
            end = stop
        return self._summed(spans, tokens + counter.count(row.text[end:]), row.rewritten)

    def _count(self, row: render.Rendered, offsets: list[tuple[int, int]]) -> Counts:
        spans = []
        for start, end in row.learned:
            first = bisect_right(
                offsets, start, key=itemgetter(1)
            )  # the first token that ends behind the start
            spans.append((first, bisect_left(offsets, end, first, key=itemgetter(0))))
        return self._summed(spans, len(offsets), row.rewritten)

    def _summed(self, spans: Sequence[tuple[int, int]], tokens: int, rewritten: int) -> Counts:
        """Sum up which tokens are learned, of those before the cut as well."""
        most = self.lens.max_tokens if self.lens.max_tokens is not None else tokens
        end = tokens if tokens <= most else most if self.lens.on_long == "truncate" else 0
        learned = sum(last - first for first, last in spans)
        kept = sum(max(0, min(last, end) - first) for first, last in spans)
        return Counts(tokens, learned, kept, rewritten)

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

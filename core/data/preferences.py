"""Preferences as examples: a prompt with a better and a worse answer, or with one that is good or bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.data.examples import AnyExample, LabelledExample, PairExample
from finetop.core.data.formats import Labelled, Preference
from finetop.core.data.render import answer_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.sources import Row


def pairs(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> list[list[AnyExample]]:
    """Tokenize pairs with their prompt, by the chat template. Raises BadInput."""
    examples: list[list[AnyExample]] = []
    for row in rows:
        record = row.record
        assert isinstance(record, Preference)
        answers = (record.chosen, record.rejected)
        prompt, (chosen, rejected) = answer_ids(record.prompt, answers, tokenizer, row.place)
        examples.append([PairExample(prompt, chosen, rejected)])
    return examples


def labelled(rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> list[list[AnyExample]]:
    """Tokenize answers that are good or bad; a pair gives one of each. Raises BadInput."""
    found: list[list[AnyExample]] = []
    for row in rows:
        record = row.record
        if isinstance(record, Preference):
            answers = [(record.chosen, True), (record.rejected, False)]
        else:
            assert isinstance(record, Labelled)
            answers = [(record.answer, record.is_good)]
        examples: list[AnyExample] = []
        for answer, is_good in answers:
            prompt, (tokens,) = answer_ids(record.prompt, (answer,), tokenizer, row.place)
            examples.append(LabelledExample(prompt, tokens, is_good))
        found.append(examples)
    return found

"""Continued pretraining on texts of a domain (arXiv:2004.10964), with a loss on every token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from finetop.core.train.objectives import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is continued-pretraining."""

    packing: Annotated[
        bool, Meta(description="Pack several short texts into one sequence: faster, same loss.")
    ] = True
    end_of_text: Annotated[bool, Meta(description="Append the end-of-text token to each text.")] = True


class ContinuedPretraining(Objective[Options]):
    about = "continued pretraining on a domain's texts"
    options = Options
    rows = ("text",)

    def examples(
        self, rows: Sequence[Row], options: Options, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Cut each text into pieces of at most `max_tokens`; only a last piece of one token is dropped."""
        from finetop.core.data import text_chunks

        return text_chunks.examples(rows, tokenizer, max_tokens, end_of_text=options.end_of_text)

    def make_trainer(self, setup: Setup) -> Any:
        from finetop.core.train.trainers import language

        return language.make_trainer(setup)


PLUGIN = ContinuedPretraining()

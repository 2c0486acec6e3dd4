"""Supervised fine-tuning: learn the answers of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from finetop.core.train.objectives import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row
    from finetop.core.train.trainer_setup import Setup


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings under `objective:` when its name is sft."""

    loss: Annotated[
        Literal["answers", "all"],
        Meta(description="Tokens in the loss: answers (the assistant's), or all (the user's too)."),
    ] = "answers"
    packing: Annotated[
        bool, Meta(description="Pack several short rows into one sequence: faster, same loss.")
    ] = False
    neftune_alpha: Annotated[
        Annotated[float, Meta(gt=0, le=100)] | None,
        Meta(description="NEFTune noise on the embeddings (arXiv:2310.05914); 5 is usual; null for none."),
    ] = None


class Conversations(Objective[Any]):
    rows = ("conversation",)

    def examples(
        self, rows: Sequence[Row], options: Any, tokenizer: Tokenizer, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Render each conversation with the chat template, and label the tokens to learn. Raises BadInput."""
        from finetop.core.data import render

        rendered = [render.render(row.conversation, tokenizer, options.loss, row.place) for row in rows]
        return [[example] for example in render.tokenize(rendered, tokenizer)]


class Sft(Conversations):
    about = "learn the answers of example conversations"
    options = Options

    def make_trainer(self, setup: Setup) -> Any:
        from finetop.core.train.trainers import language

        options: Options = setup.recipe.objective.options
        return language.make_trainer(setup, neftune_alpha=options.neftune_alpha)


PLUGIN = Sft()

"""What the objectives share that learn from pairs of answers: their rows and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.plugins import Options
from finetop.core.train.objectives import Objective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.examples import AnyExample
    from finetop.core.data.sources import Row


class Pairs(Objective[Options]):
    rows = ("preference",)

    def examples(
        self, rows: Sequence[Row], options: Options, tokenizer: PreTrainedTokenizerBase, max_tokens: int
    ) -> list[list[AnyExample]]:
        """Tokenize each pair behind its prompt. Raises BadInput."""
        from finetop.core.data import preferences

        return preferences.pairs(rows, tokenizer)

"""Texts as examples: cut into pieces that fit, with every token learned; conversations are rendered by the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.data.examples import AnyExample, Example
from finetop.core.data.formats import Text
from finetop.core.data.render import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from finetop.core.data.sources import Row


def examples(
    rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, max_tokens: int, *, end_of_text: bool
) -> list[list[AnyExample]]:
    """Return the pieces of each text, in order.

    Pieces do not overlap, and each starts afresh: a token is predicted only from its own piece. A piece of one
    token would predict nothing, and is dropped.
    """
    texts = [_text(row, tokenizer) for row in rows]
    ends = [tokenizer.eos_token_id] if end_of_text and tokenizer.eos_token_id is not None else []
    begins = [tokenizer.bos_token_id] if _begins(tokenizer) else []
    examples: list[list[AnyExample]] = []
    for tokens in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
        whole = [*begins, *tokens, *ends]
        pieces = [whole[at : at + max_tokens] for at in range(0, len(whole), max_tokens)]
        examples.append([Example(piece, list(piece)) for piece in pieces if len(piece) > 1])
    return examples


def _text(row: Row, tokenizer: PreTrainedTokenizerBase) -> str:
    if isinstance(row.record, Text):
        return row.record.text
    return render(row.conversation, tokenizer, "all", row.place).text


def _begins(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether the tokenizer begins texts with its bos token."""
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]

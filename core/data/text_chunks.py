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
    """Return the pieces of each text, in order. They do not overlap: a token is predicted only from its own piece."""
    texts = [
        row.record.text
        if isinstance(row.record, Text)
        else render(row.conversation, tokenizer, "all", row.place).text
        for row in rows
    ]
    ends = [tokenizer.eos_token_id] if end_of_text and tokenizer.eos_token_id is not None else []
    begins = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    if begins and tokenizer("a")["input_ids"][:1] != begins:
        begins = []  # this tokenizer begins no text with its bos token
    examples: list[list[AnyExample]] = []
    for tokens in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]:
        whole = [*begins, *tokens, *ends]
        pieces = [whole[at : at + max_tokens] for at in range(0, len(whole), max_tokens)]
        # one token alone would predict nothing
        examples.append([Example(piece, list(piece)) for piece in pieces if len(piece) > 1])
    return examples

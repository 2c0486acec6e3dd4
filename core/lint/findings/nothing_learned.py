"""Rows of which no token is learned: the whole answer is cut off, or the chat template leaves none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.lint.tally import Sight, excerpt

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "rows from which nothing is learned"
WHY = "They take time and teach nothing: training leaves them out. Their prompts alone fill data.max_tokens."
FIX = "remove these rows"
DO = "remove the rows from which nothing is learned"
SEVERITY = "error"


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See a row that is not too long to be used, and leaves nothing to learn."""
    if row.record is None or row.refused or row.kept or not row.tokens:
        return None
    if lens.max_tokens is None or row.tokens <= lens.max_tokens:
        return [Sight("no token is learned", excerpt(row.asked), "remove")] if lens.has_tokenizer else None
    if lens.on_long == "truncate":
        return [
            Sight("the whole answer is cut off", f"{row.tokens:,} tokens: {excerpt(row.asked)}", "remove")
        ]
    return None  # dropped as too long, which is a finding of its own

"""Rows from which no token is learned: the answer is cut off, has weight 0, or the chat template leaves none of it."""

from __future__ import annotations

from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row


class NothingLearned(Rule):
    about = "rows from which nothing is learned"
    why = (
        "They take time and teach nothing: training leaves them out. Their prompts alone fill data.max_tokens, or no"
        " answer has another weight than 0."
    )
    fix = "remove these rows"
    do = "remove the rows from which nothing is learned"
    severity = "error"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        """Return a sight if the row is used but leaves nothing to learn."""
        if row.record is None or row.refused or row.kept or not row.tokens:
            return None
        if row.role != "test" and any(not turn.is_learned for turn in row.turns) and not row.learned_texts:
            return [Sight("every answer has weight 0", excerpt(row.asked), "remove")]
        if lens.max_tokens is None or row.tokens <= lens.max_tokens:
            sight = Sight("no token is learned", excerpt(row.asked), "remove")
            return [sight] if lens.has_tokenizer else None
        if lens.on_long == "truncate":
            shown = f"{row.tokens:,} tokens: {excerpt(row.asked)}"
            return [Sight("the whole answer is cut off", shown, "remove")]
        return None  # dropped as too long, which is a separate finding


PLUGIN = NothingLearned()

"""Earlier answers in conversations that the chat template rewrites, so that they can't be learned."""

from __future__ import annotations

from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row


class Rewritten(Rule):
    about = "earlier answers that are not learned"
    why = (
        "The model's chat template changes an earlier answer once the conversation continues (for"
        " example, it drops the reasoning):"
        " only the last answer of these rows is learned."
    )
    do = "split the rows at each answer, if all are to be learned"
    severity = "note"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        if not row.rewritten:
            return None
        return [Sight(f"{row.rewritten} of the answers", excerpt(row.asked))]


PLUGIN = Rewritten()

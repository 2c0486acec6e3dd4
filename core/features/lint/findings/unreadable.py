"""Lines that are not rows: not JSON, not an object, or no format that the objective reads."""

from __future__ import annotations

from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import Lens, Row


class Unreadable(Rule):
    about = "rows that can't be read"
    why = "Training stops at the first of them, with an error that names it."
    fix = "remove them"
    do = "fix the rows that can't be read, or remove them"
    severity = "error"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        """Return why a row can't be read; broken turns and empty answers are separate findings."""
        if row.fault not in ("json", "shape"):
            return None
        text = " ".join(turn.text for turn in row.turns) or ("" if row.raw is None else str(row.raw))
        kind = row.why if row.fault == "shape" else row.why.partition(":")[0]
        return [Sight(kind, f"{row.why}: {excerpt(text)}" if text else row.why, "remove")]


PLUGIN = Unreadable()

"""Answers, or plain texts, that are empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.lint.tally import Sight, excerpt

if TYPE_CHECKING:
    from finetop.core.lint.row import Lens, Row

ABOUT = "answers that are empty"
WHY = "There is nothing to learn in them: training refuses such a row, or teaches to say nothing."
FIX = "remove these rows"
SEVERITY = "error"
MARKS = frozenset("-–—_.…?*#·\"'`()[]{}<>/\\|")  # an answer of these alone says nothing
WORDS = frozenset(
    {"none", "null", "nan", "n/a", "<empty>", "[empty]", "todo", "tbd", "<noinput>", "<nooutput>"}
)


def look(row: Row, lens: Lens) -> list[Sight] | None:
    """See a row without a text to learn."""
    if row.fault == "empty":
        return [Sight("empty", f"{row.why}: {excerpt(row.asked)}", "remove")]
    if row.record is None or not row.turns or any(turn.has_calls for turn in row.turns[-1:]):
        return None
    text = row.answer.strip()
    if row.turns[-1].role not in ("assistant", "rejected", "text") or len(text) > 12:
        return None
    bare = text.replace("\u200b", "").replace("\ufeff", "").strip()
    if not bare:
        return [Sight("empty", excerpt(row.asked), "remove")]
    if len(bare) > 2 and set(bare) <= MARKS:
        return [Sight("nothing but marks", f"{excerpt(row.asked)} → {bare}")]
    if bare.lower() in WORDS:
        return [Sight("a word for nothing", f"{excerpt(row.asked)} → {bare}")]
    return None

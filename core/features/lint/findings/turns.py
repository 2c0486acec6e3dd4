"""Conversations whose turns are broken: unknown roles, no answer, two users in a row, empty or misplaced turns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from finetop.core.features.lint.findings import Rule, Sight, excerpt
from finetop.core.features.lint.row import KNOWN_ROLES, Lens, Row, Turn


class Turns(Rule):
    about = "conversations whose turns are broken"
    why = (
        "Training stops at a row that it can't read or that the chat template refuses; from the others"
        " the model learns turns that no real conversation has."
    )
    fix = "remove the rows that training refuses; leave the others"
    do = "fix the turns, or remove the rows"
    severity = "error"

    def scan(self, row: Row, lens: Lens) -> list[Sight] | None:
        shown = excerpt(" | ".join(f"{turn.role}: {turn.text[:40]}" for turn in row.turns))
        if row.fault == "turns":
            return [Sight(_broken(row), f"{row.why}: {shown}", "remove")]
        if row.refused:
            return [Sight("the chat template refuses it", f"{row.refused}: {shown}", "remove")]
        if row.record is None or row.is_text or len(row.turns) < 2:
            return None
        kind = _odd(row.turns)
        return [Sight(kind, shown)] if kind else None


def _broken(row: Row) -> str:
    """Return why training can't read the turns."""
    roles = [turn.role for turn in row.turns]
    if not roles:
        return "no turns"
    if any(role not in KNOWN_ROLES for role in roles):
        return "an unknown role"
    if "system" in roles[1:]:
        return "a system turn in the middle"
    if any(not turn.text.strip() and not turn.has_calls and turn.role != "system" for turn in row.turns):
        return "an empty turn"
    if roles[-1] != "assistant":
        return "no answer at the end"
    return "no question" if set(roles) <= {"assistant", "system"} else "a damaged turn"


def _odd(turns: Sequence[Turn]) -> str:
    """Return what is odd about readable turns."""
    for before, after in pairwise(turns):
        if before.role == after.role == "user":
            return "two turns of the user in a row"
        if before.role == after.role == "assistant" and not before.has_calls and not after.has_calls:
            return "two answers in a row"
        if after.role == "tool" and before.role not in ("tool", "assistant"):
            return "a tool's result without a call"
    first = next((turn for turn in turns if turn.role != "system"), None)
    if first is not None and first.role == "assistant":
        return "begins with an answer"
    return ""


PLUGIN = Turns()

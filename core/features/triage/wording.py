"""The wording of triage: a regression's state, and the step since which it is lost."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.features.triage.messages import CurvePoint, TriageAnswer, TriageCell, TriageRow
from finetop.core.protocol.check_result import tasks_worst_first
from finetop.core.protocol.runs import CheckBrief
from finetop.core.protocol.standing import Standing
from finetop.core.text import clean_line, counted


def counts_line(answer: TriageAnswer) -> str:
    """Return how many regressions are new, assigned, accepted and fixed."""
    if not answer.new + answer.looking + answer.accepted + answer.fixed:
        if not answer.total:
            return "No run has been checked yet."
        return f"Nothing to triage: no regression in {counted(answer.total, 'checked run')}."
    parts = [f"{answer.new:,} new"]
    parts += [f"{answer.looking:,} assigned"] if answer.looking else []
    parts += [f"{answer.accepted:,} accepted"] if answer.accepted else []
    parts += [f"{answer.fixed:,} fixed"] if answer.fixed else []
    return "   ".join(parts)


def state_words(row: TriageRow) -> str:
    """Return the state of a run's regression; for a run without one, what its verdict leaves open."""
    standing = row.standing
    if standing is not None:
        return standing_words(standing)
    if row.verdict == "no_verdict":
        return "no verdict"
    return "a real drop" if row.real_drop else ""


def standing_words(standing: Standing) -> str:
    """Return a regression's state in two or three words."""
    by = clean_line(standing.by)
    match standing.state:
        case "new":
            return "NEW"
        case "looking":
            return f"owner {by}" if by else "assigned"
        case "accepted":
            return f"accepted ({by})" if by else "accepted"
        case "fixed":
            return f"fixed by {clean_line(standing.fixed_by)}"


def settled_by(check: CheckBrief) -> str:
    """Return who accepted a regression, or which run fixed it; empty if neither."""
    if check.accepted:
        return f"accepted by {clean_line(check.accepted)}"
    return f"fixed by {clean_line(check.fixed_by)}" if check.fixed_by else ""


def settled_words(check: CheckBrief) -> str:
    """Return who accepted a regression and why: 'accepted by ana: only the voice counts'; or which run fixed it."""
    reason = f": {clean_line(check.accepted_for)}" if check.accepted and check.accepted_for else ""
    return settled_by(check) + reason


def worst_cell(cells: Sequence[TriageCell | None]) -> TriageCell | None:
    """Return the worst cell: proven losses first, then the largest drop."""
    known_cells = {str(at): cell for at, cell in enumerate(cells) if cell is not None}
    order = tasks_worst_first([[(at, cell.mark, cell.drop) for at, cell in known_cells.items()]])
    return known_cells[order[0]] if order else None


def since_words(curve: Sequence[CurvePoint]) -> str:
    """Return since which checked step it is lost: 'lost from step 400 (ok at 300)'; empty if no step shows it."""
    since: CurvePoint | None = None
    before: CurvePoint | None = None
    for at, point in enumerate(curve):
        if point.mark != "lost":
            since = None
        elif since is None:
            since, before = point, curve[at - 1] if at else None
    if since is None or len(curve) < 3:
        return ""
    reference = "the base" if before is None or before.step is None else f"{before.step:,}"
    word = "ok" if before is None or before.mark == "kept" else "open"
    return f"lost from step {since.step:,} ({word} at {reference})"

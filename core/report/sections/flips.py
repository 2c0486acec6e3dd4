"""The answers that changed: the worst lost ones, then some that were won."""

from __future__ import annotations

from finetop.core.protocol.check_result import Flip
from finetop.core.report import Block, Points, Table, cut, cut_front
from finetop.core.report.load import Told

TITLE = "Answers that changed"
LOST_SHOWN, WON_SHOWN = 20, 5


def blocks(told: Told) -> tuple[Block, ...]:
    """List the worst lost answers, then some that were won, with their questions."""
    if not told.flips:
        return ()
    asked = {(one.task, one.item): one for one in told.outcome.flips} if told.outcome is not None else {}
    lost = sorted((flip for flip in told.flips if not flip.won), key=_fall)
    won = [flip for flip in told.flips if flip.won]
    shown = [*lost[:LOST_SHOWN], *won[:WON_SHOWN]]
    rows = tuple(_flip_row(flip, asked.get((flip.task, flip.item))) for flip in shown)
    more = len(told.flips) - len(shown)
    head = ("", "task", "question", "right", "base said", "tuned said", "log p, base -> tuned")
    left_out = f"{more} more: finetop flips {told.detail.row.name}" if more else ""
    return (
        Points((f"{len(lost)} lost, {len(won)} won; the worst first.",)),
        Table(head, rows, right=(6,), long=(2, 4, 5), more=left_out),
    )


def _fall(flip: Flip) -> float:
    """Return how far an answer fell: the tuned model's log-probability of its answer minus the base's of its own."""
    if flip.base_log_prob is None or flip.tuned_log_prob is None:
        return 0.0
    return flip.tuned_log_prob - flip.base_log_prob


def _flip_row(flip: Flip, asked: Flip | None) -> tuple[str, ...]:
    return (
        "won" if flip.won else "lost",
        flip.task,
        cut_front(asked.question) if asked is not None else flip.item,
        cut(asked.gold) if asked is not None else "",
        cut(flip.base_answer),
        cut(flip.tuned_answer),
        _fell(flip),
    )


def _fell(flip: Flip) -> str:
    if flip.base_log_prob is None or flip.tuned_log_prob is None:
        return ""
    return f"{flip.base_log_prob:.1f} -> {flip.tuned_log_prob:.1f}"

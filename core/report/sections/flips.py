"""The answers that changed: the worst lost ones, then some that were won."""

from __future__ import annotations

from finetop.core.protocol.check_result import Flip
from finetop.core.report import Block, Points, Table, shortened, shortened_front
from finetop.core.report.load import RunFacts

TITLE = "Answers that changed"
LOST_SHOWN, WON_SHOWN = 20, 5


def blocks(facts: RunFacts) -> tuple[Block, ...]:
    """List the worst lost answers, then some that were won, with their questions."""
    if not facts.flips:
        return ()
    kept = () if facts.outcome is None else facts.outcome.flips
    with_question = {(flip.task, flip.item): flip for flip in kept}
    lost = sorted((flip for flip in facts.flips if not flip.won), key=_fall)
    won = [flip for flip in facts.flips if flip.won]
    shown = [*lost[:LOST_SHOWN], *won[:WON_SHOWN]]
    rows = tuple(_flip_row(flip, with_question.get((flip.task, flip.item))) for flip in shown)
    more = len(facts.flips) - len(shown)
    head = ("", "task", "question", "right", "base said", "tuned said", "log p, base -> tuned")
    left_out = f"{more} more: finetop flips {facts.detail.row.name}" if more else ""
    summary = Points((f"{len(lost)} lost, {len(won)} won; the worst first.",))
    return summary, Table(head, rows, right=(6,), long=(2, 4, 5), more=left_out)


def _fall(flip: Flip) -> float:
    """Return how far an answer fell: the tuned model's log-probability of its answer minus the base's of its own."""
    if flip.base_log_prob is None or flip.tuned_log_prob is None:
        return 0.0
    return flip.tuned_log_prob - flip.base_log_prob


def _flip_row(flip: Flip, with_question: Flip | None) -> tuple[str, ...]:
    question, gold = flip.item, ""
    if with_question is not None:
        question, gold = shortened_front(with_question.question), shortened(with_question.gold)
    fell = ""
    if flip.base_log_prob is not None and flip.tuned_log_prob is not None:
        fell = f"{flip.base_log_prob:.1f} -> {flip.tuned_log_prob:.1f}"
    answers = shortened(flip.base_answer), shortened(flip.tuned_answer)
    return "won" if flip.won else "lost", flip.task, question, gold, *answers, fell

"""The sections of a report about the check: verdict, tasks, categories, changed answers, exported files."""

from __future__ import annotations

from collections.abc import Iterable

from finetop.core.features.export import wording as exports
from finetop.core.features.report.load import RunFacts
from finetop.core.features.report.page import (
    Bar,
    Bars,
    Block,
    Points,
    Table,
    Tone,
    moment,
    shortened,
    shortened_front,
)
from finetop.core.features.triage.wording import settled_words
from finetop.core.protocol.check_result import Category, CheckResult, Flip, worst_first
from finetop.core.wording.verdicts import (
    NOT_CHECKED,
    further_lines,
    short_answer,
    standing,
    task_cells,
    verdict_line,
    word,
)

TONES: dict[str, Tone] = {"ok": "good", "regressed": "bad", "no_verdict": "open"}
LOST_SHOWN, WON_SHOWN = 20, 5
_BAR_TONES: dict[str, Tone] = {"lost": "bad", "kept": "good"}
CATEGORIES_SHOWN = 30


def verdict(facts: RunFacts) -> tuple[str, Tone, str, tuple[str, ...]]:
    """Return the verdict's word, its tone, its sentence, and how sure it is."""
    check, outcome = facts.detail.row.check, facts.outcome
    if outcome is None:
        return NOT_CHECKED, "open", "Not checked for forgetting yet.", ()
    name = word(outcome)
    sentence = verdict_line(outcome)[len(name) :].strip()
    if outcome.step is not None:
        sentence = f"{sentence.rstrip('.')}, at step {outcome.step:,}"
    settled = "" if check is None else settled_words(check)
    beside = [*outcome.claims, *(line.replace("  ", ": ", 1) for line in further_lines(outcome))]
    if settled:
        beside.insert(0, settled)
    return name, TONES[outcome.verdict], sentence, tuple(beside)


def flips(facts: RunFacts) -> tuple[Block, ...]:
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


def tasks(outcome: CheckResult | None) -> tuple[Block, ...]:
    if outcome is None or not outcome.tasks:
        return ()
    worst = worst_first(outcome)
    bars = [_bar("all tasks", outcome.drop, outcome.deciding_interval, TONES[outcome.verdict])]
    bars += [_bar(task.task, task.drop, task.interval, _BAR_TONES.get(task.mark, "open")) for task in worst]
    shown = tuple(bar for bar in bars if bar is not None)
    drawn = Bars("Change against the base, points of 100", shown, -100 * outcome.margin)
    head = ("", "task", "base", "tuned", "change", "interval", "lost", "won", "items")
    rows = [(*task_cells(task, outcome.margin)[:-1], f"{task.n:,} of {task.total:,}") for task in worst]
    table = Table(head, tuple(rows), right=(2, 3, 4, 6, 7, 8))
    return (drawn, table) if shown else (table,)


def _bar(name: str, drop: float | None, interval: tuple[float, float] | None, tone: Tone) -> Bar | None:
    if drop is None:
        return None
    low, high = (None, None) if interval is None else (-100 * interval[1], -100 * interval[0])
    return Bar(name, -100 * drop + 0.0, low, high, tone)


def categories(facts: RunFacts) -> tuple[Block, ...]:
    outcome = facts.outcome
    if outcome is None:
        return ()

    def place(kind: Category) -> tuple[int, int, str, str]:
        return kind.won - kind.lost, -kind.n, kind.task, kind.category

    kinds = sorted(outcome.categories, key=place)
    rows = [(kind.task, kind.category, str(kind.n), str(kind.lost), str(kind.won)) for kind in kinds]
    if not rows:
        return ()
    more = len(rows) - CATEGORIES_SHOWN
    left_out = f"and {more} more, which lost less" if more > 0 else ""
    head = ("task", "category", "items", "lost", "won")
    return (Table(head, tuple(rows[:CATEGORIES_SHOWN]), right=(2, 3, 4), more=left_out),)


def checks(facts: RunFacts) -> tuple[Block, ...]:
    detail = facts.detail
    if not detail.checks:
        return ()
    rows = [
        (
            "-" if check.step is None else f"{check.step:,}",
            short_answer(check, name_suite=False),
            check.suite,
            f"{check.items_used:,} of {check.items_total:,}",
            "intermediate" if check.watch else f"check {check.claim}" if check.claim else "",
            moment(check.at),
        )
        for check in detail.checks
    ]
    return (Table(("step", "verdict", "suite", "items", "standing", "at"), tuple(rows), right=(0, 3)),)


def exported(facts: RunFacts) -> tuple[Block, ...]:
    files = facts.detail.exports
    if not files:
        return ()
    rows = tuple((f"{file.step:,}", *exports.cells(file)) for file in files)
    right = (0, *(column + 1 for column in exports.RIGHT))
    lines = tuple(f"{exports.line(file)}: {exports.beside(file)}" for file in files)
    return (Table(("step", *exports.HEAD), rows, right=right), Points(lines))


def not_measured(facts: RunFacts) -> tuple[Block, ...]:
    return (Points(tuple(_lines(facts))),)


def _lines(facts: RunFacts) -> Iterable[str]:
    outcome, detail = facts.outcome, facts.detail
    if outcome is None:
        yield f"Forgetting: there is no check of this run. finetop check {detail.row.name} makes one."
    else:
        yield from (task.reason for task in outcome.tasks if task.reason)
        if left := outcome.items_total - outcome.items_used:
            yield f"{left:,} of the suite's {outcome.items_total:,} items: the verdict did not need them."
        undecided = [task.task for task in outcome.tasks if task.mark == "open"]
        if undecided:
            yield f"Tasks without a verdict of their own: {', '.join(undecided)}."
        yield f"Abilities that the suite {outcome.suite or 'of this check'} has no task for."
        if outcome.watch:
            yield f"The check is an intermediate one{standing(outcome)}."
        if outcome.noise_floor is None or not outcome.noise_floor.items:
            yield "The noise floor: how often the base differs from itself in other batches."
        if outcome.target_failed:
            yield f"The target: {outcome.target_failed}"
        elif not outcome.target:
            yield "The target: no score measures the training goal before and after."
        if outcome.drift is None:
            yield "Drift on general text at the end."
    if "eval_loss" not in facts.curves:
        yield "Loss on held-out rows of the training data."
    if len({check.step for check in detail.checks}) < 2:
        yield "Checkpoints other than the one that was checked." if detail.checks else "Any checkpoint."
    if (seed := (detail.recipe.get("train") or {}).get("seed")) is not None:
        yield f"Other seeds than {seed}: training with another seed may end elsewhere."

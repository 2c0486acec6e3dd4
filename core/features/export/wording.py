"""An exported file's verdict in words: for the command line, Triage, and reports."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.exports import NOT_ASKED, ExportedFile, ExportVerdict, TargetScores, Three
from finetop.core.text import clean_line, counted
from finetop.core.wording.units import size_word
from finetop.core.wording.verdicts import SHORT_WORDS, change, signed

HEAD = ("file", "size", "base", "tuned", "exported", "points", "verdict", "nats/token", "tokens/s")
RIGHT = (1, 2, 3, 4, 5, 7, 8)
UNPROVEN = ".unproven"
DETAIL = "  "  # begins each line of the log below "exported …"
_LOST_NAMED = 3


def verdict_words(file: ExportedFile) -> str:
    """Return the verdict and the change: 'ok -0.4', 'REGRESSED -6.1', 'NO VERDICT', 'not checked'."""
    if file.verdict is None:
        return NOT_ASKED
    word, moved = SHORT_WORDS[file.verdict.verdict], points(file.verdict)
    return f"{word} {moved}" if moved else word


def points(verdict: ExportVerdict) -> str:
    """Return the change in points against the tuned model; empty without items."""
    return "" if verdict.drop is None else change(verdict.drop, verdict.margin)


def smaller(file: ExportedFile) -> str:
    """Return the size beside the weights as trained: '2.1x smaller', '1.9x larger', 'as large'."""
    ratio = file.trained_bytes / max(1, file.bytes)
    if 0.95 < ratio < 1.05 or not file.trained_bytes:
        return "as large"
    return f"{ratio:.1f}x smaller" if ratio > 1 else f"{1 / ratio:.1f}x larger"


def line(file: ExportedFile) -> str:
    """Return a file in one line: 'q4_k_m: ok -0.4 against what was trained, 2.1x smaller'."""
    if file.verdict is None:
        return f"{file.quant}: {NOT_ASKED}, {smaller(file)}"
    what = f"{file.quant}: {verdict_words(file)} against what was trained, {smaller(file)}{_standing(file)}"
    fell = fallen_targets(file.verdict)
    return f"{what}; worse at the target: {', '.join(fell)}" if fell else what


def beside(file: ExportedFile) -> str:
    """Return what a line leaves out: scores, items, answers, what was lost; why there is no verdict."""
    verdict = file.verdict
    if verdict is None:
        return file.unasked
    if verdict.drop is None:
        return verdict.reason
    base, tuned, exported = cells_of(verdict.scores)
    parts = [f"base {base}, tuned {tuned}, exported {exported}"]
    parts.append(f"{verdict.items_used:,} of {counted(verdict.items_total, 'item')}")
    differ = f"{counted(verdict.answers_differ, 'answer')} {'differs' if verdict.answers_differ == 1 else 'differ'}"
    parts.append(f"{differ}: {verdict.lost} lost, {verdict.won} won")
    if verdict.verdict == "regressed":
        parts.append(f"lost {lost_words(verdict)}")
    if verdict.verdict == "no_verdict":
        parts.append(verdict.reason)
    parts += [target_words(metric, scores) for metric, scores in verdict.target.items()]
    return "; ".join(parts)


def of_task(file: ExportedFile, task: str) -> tuple[Three, str]:
    """Return the scores of a task, or of the whole (""), and the verdict: 'ok -0.4, 2.1x smaller'."""
    verdict = file.verdict
    if verdict is None:
        return (None, None, None), NOT_ASKED
    if not task:
        parts = (f"{verdict_words(file)}{_standing(file)}", *fallen_targets(verdict), smaller(file))
        return verdict.scores, ", ".join(parts)
    scores = next((entry for entry in verdict.tasks if entry.task == task), None)
    if scores is None:
        return (None, None, None), "not in its suite"
    return scores.scores, f"{scores.mark} {change(scores.drop)} on {counted(scores.items, 'item')}"


def fallen_targets(verdict: ExportVerdict) -> list[str]:
    """Return the shares of the target that clearly fell by the margin or more: 'rules 0.62 -> 0.21'.

    Its nats rise a little with every rounding; only what a user sees of answers is worth the first line.
    """
    fell = []
    for metric, target in verdict.target.items():
        _, tuned, exported = target.scores
        if metric in LOWER_IS_BETTER or tuned is None or exported is None:
            continue
        if target.high < 0 and tuned - exported >= verdict.margin:
            fell.append(f"{clean_line(metric)} {tuned:.2f} -> {exported:.2f}")
    return fell


def lost_words(verdict: ExportVerdict) -> str:
    """Return what a REGRESSED file lost, worst task first: 'arithmetic -12.0, facts -4.1 and 2 more'."""
    fell = [task for task in verdict.tasks if (task.drop or 0.0) > 0]
    named = ", ".join(f"{clean_line(task.task)} {change(task.drop)}" for task in fell[:_LOST_NAMED])
    return f"{named} and {len(fell) - _LOST_NAMED} more" if len(fell) > _LOST_NAMED else named


def refusal(files: Sequence[ExportedFile]) -> str:
    """Return why files were refused: each with its points and what it lost."""
    refusals = []
    for file in files:
        assert file.verdict is not None
        refusals.append(f"{file.quant} is {verdict_words(file)} (lost {lost_words(file.verdict)})")
    return f"{'; '.join(refusals)} against what was trained."


def cells(file: ExportedFile) -> tuple[str, ...]:
    """Return a file's row for a table under HEAD."""
    verdict = file.verdict
    scores = cells_of((None, None, None) if verdict is None else verdict.scores)
    word = NOT_ASKED if verdict is None else SHORT_WORDS[verdict.verdict]
    nats = "-" if file.nats is None else f"{file.nats:.4f}"
    speed = "-" if file.tokens_per_s is None else f"{file.tokens_per_s:.0f}"
    moved = "" if verdict is None else points(verdict)
    standing = _standing(file)
    return (clean_line(file.name), size_word(file.bytes), *scores, moved or "-", word + standing, nats, speed)


def cells_of(three: Three) -> tuple[str, ...]:
    """Return base, tuned and exported as decimals; '-' where not scored."""
    return tuple("-" if value is None else f"{value:.3f}" for value in three)


def target_words(metric: str, target: TargetScores) -> str:
    """Return a metric under base, tuned and file, and whether the file is clearly worse."""
    scores = " -> ".join(f"{value:.2f}" for value in target.scores if value is not None)
    is_worse = target.low > 0 if metric in LOWER_IS_BETTER else target.high < 0
    bounds = f"{signed(target.low, 0.0, digits=2)} to {signed(target.high, 0.0, digits=2)}"
    return f"{metric} {scores}{f' (worse than tuned: {bounds} at 95 %)' if is_worse else ''}"


def _standing(file: ExportedFile) -> str:
    return {"written": "", "refused": ", refused", "anyway": ", written anyway"}[file.standing]

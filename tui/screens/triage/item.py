"""One item whole: the question, its choices, what both models said and how sure, when it was lost and where else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from finetop.core.text import clean_line
from finetop.tui.line import Line, rule
from finetop.tui.text import count, cut_end, cut_middle
from finetop.tui.theme import MARKS
from finetop.tui.widgets.wrap import wrapped

if TYPE_CHECKING:
    from finetop.core.protocol.messages.triage import ItemAnswer, LostItem, TriageRow

_LABEL = 11
_KEPT = 500  # characters of an answer that a check keeps
_QUESTION_ROWS = 14


def title_line(item: LostItem, row: TriageRow, place: tuple[int, int], width: int) -> Line:
    """Say which item it is: task, kind, its place among the others."""
    at, of = place
    way = "won" if item.won else "lost"
    path = " > ".join(filter(None, (cut_end(clean_line(item.task), 20), cut_end(clean_line(item.kind), 20))))
    name = cut_middle(clean_line(row.shown_name), 24)
    return (
        (f" {path}", "bold"),
        (f" > item {count(at + 1)} of {count(of)}, {way}", ""),
        ("   in ", ""),
        (name, "bold"),
    )


def item_lines(known: ItemAnswer, width: int) -> list[Line]:
    """Write all of an item, as many rows as it needs."""
    item = known.item
    lines = [rule((("question", ""),), width, ((clean_line(item.item), "dim"), (" ", "")))]
    question = item.question or "its text was not kept: a check keeps that of the 300 surest changes"
    lines += [
        ((f" {text}", "" if item.question else "dim"),)
        for text in wrapped(question, width - 2, _QUESTION_ROWS)
    ]
    lines += [(), *_choices(known, width), *_answers(item, width), (), *_beside(known, width)]
    whole = item.tuned_answer
    if cell_len(clean_line(whole)) > _answer_width(width):
        cut = f", its first {_KEPT} characters" if len(whole) >= _KEPT else ", whole"
        lines += [(), rule((("tuned model's answer", ""), (cut, "dim")), width)]
        lines += [((f" {text}", ""),) for text in wrapped(whole, width - 2, 40)]
    return lines


def _choices(known: ItemAnswer, width: int) -> list[Line]:
    """List the choices, with who took which."""
    if not known.choices:
        return []
    item = known.item
    lines: list[Line] = []
    for at, choice in enumerate(known.choices):
        takers = [
            who
            for who, said in (("gold", item.gold), ("base", item.base_answer), ("tuned", item.tuned_answer))
            if said.strip() and said.strip() == choice.strip()
        ]
        label = "choices" if not at else ""
        text = cut_end(clean_line(choice).strip(), max(12, width - _LABEL - 24))
        taken = f"   {', '.join(takers)}" if takers else ""
        lines.append(
            ((f" {label:<{_LABEL - 1}}", "dim"), (text, "bold" if "gold" in takers else ""), (taken, "dim"))
        )
    return [*lines, ()]


def _answer_width(width: int) -> int:
    return max(16, width - _LABEL - 24)


def _answers(item: LostItem, width: int) -> list[Line]:
    """Draw gold and both answers, with log-probability and margin."""
    room = _answer_width(width)
    lines: list[Line] = [((f" {'':<{_LABEL - 1}}{'answer':<{room}}{'log p':>8}{'margin':>9}", "dim"),)]
    rows = (
        ("gold", item.gold, None, None, None),
        ("base", item.base_answer, item.base_log_prob, item.base_margin, not item.won),
        ("tuned", item.tuned_answer, item.tuned_log_prob, item.tuned_margin, item.won),
    )
    for label, said, log_prob, margin, is_better in rows:
        if label == "gold" and not said.strip():
            continue  # a rule decides there, not one answer
        text = cut_end(clean_line(said).strip() or "(nothing)", room - 2)
        mark = None if is_better is None else MARKS["finished" if is_better else "accepted"]
        numbers = f"{_signed(log_prob, '.1f'):>8}{_signed(margin, '+.1f'):>9}"
        lines.append(
            (
                (f" {label:<{_LABEL - 1}}", "dim"),
                (text + " " * (room - cell_len(text)), "bold" if label == "tuned" else ""),
                (numbers, ""),
                (f"   {mark.mark}" if mark is not None else "", ""),
            )
        )
    return lines


def _signed(value: float | None, how: str) -> str:
    return "" if value is None else format(value, how)


def _beside(known: ItemAnswer, width: int) -> list[Line]:
    """Say when it was lost, in which other runs, and how many like it."""
    lines = []
    if len(known.steps) > 2:
        marks = {True: MARKS["accepted"].mark, False: MARKS["finished"].mark}
        words = "   ".join(
            f"{'base' if step is None else count(step)} {marks[is_lost]}" for step, is_lost in known.steps
        )
        lines += _labelled("steps", words, width)
    elsewhere = sum(lost for _, lost, _ in known.methods)
    asked = sum(asked for _, _, asked in known.methods)
    if elsewhere:
        more = elsewhere - len(known.also)
        names = ", ".join(cut_middle(clean_line(name), 24) for name in known.also) + (
            f", +{more}" if more else ""
        )
        how = ", ".join(f"{lost} of {of} {clean_line(method)}" for method, lost, of in known.methods if of)
        lines += _labelled("also lost", f"{names}  ({how})", width)
    elif asked:
        others = "the other run" if asked == 1 else f"any of the {count(asked)} other runs"
        lines += _labelled(
            "also lost",
            f"not in {others} of this base that {'was' if asked == 1 else 'were'} asked it",
            width,
        )
    kind = known.of_kind
    if kind.kind and kind.n > 1:
        name = clean_line(kind.kind).replace("_", " ")
        lines += _labelled("like it", f"{kind.lost} of {kind.n} items of this kind ({name}) are lost", width)
    return lines


def _labelled(label: str, words: str, width: int) -> list[Line]:
    return [
        ((f" {label if not at else '':<{_LABEL - 1}}", "dim"), (text, ""))
        for at, text in enumerate(wrapped(words, width - _LABEL - 1, 4))
    ]

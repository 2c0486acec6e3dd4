"""The pane of the Triage screen on the cell under the cursor: verdict, interval, onset, kinds, items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len

from finetop.core.features.export import wording as exports
from finetop.core.features.triage.messages import CellAnswer, CurvePoint, TaskFacts, TriageRow
from finetop.core.features.triage.wording import since_words, standing_words
from finetop.core.protocol.check_result import Flip
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import decimals
from finetop.core.wording.verdicts import change, change_of, interval_of, outdated
from finetop.tui.text import Line, cursor_mark, cut_end, cut_middle, line_width, padded, rule, wrapped
from finetop.tui.theme import TASK_MARKS

_LABEL = 10
_EXPORTS = 3  # files shown; the report has all
_ALSO = "also in"  # the title of the column with the number of other runs that lost an item
_WIDE = 100  # terminal width from which titles are spelled out
NARROW = 72  # terminal width below which items have fewer columns
_BLOCKS = "▁▂▃▄▅▆▇█"


def pane_lines(
    row: TriageRow, task: str, cell: CellAnswer | None, *, width: int, height: int, now: float
) -> list[Line]:
    """Return the pane in `height` rows."""
    name = cut_middle(clean_line(row.shown_name), 30)
    task_words = cut_end(clean_line(task), 28) if task else "all tasks"
    title: Line = ((task_words, "bold"), (" in ", ""), (name, "bold"))
    since = since_words(cell.curve) if cell is not None else ""
    lines = [rule(title, width, ((since, ""), (" ", "")) if since else ())]
    if cell is None:
        return [*lines, (("   loading …", "dim"),)][:height]
    lines += _outdated_lines(cell, row, width)
    verdict = verdict_lines(cell.facts, row, width)
    lines += verdict
    lines += export_lines(cell, task, width)
    lines += _state_lines(row, task, width, now)
    lines += _curve_lines(cell, width)
    lines += _kind_lines(cell, task, width, are_flips_said=_has_flips(verdict))
    lines += _noise_lines(cell)
    left = height - len(lines)
    if left >= 3 and cell.first:
        lines += _items(cell, width, left)
    return lines[:height]


def _outdated_lines(cell: CellAnswer, row: TriageRow, width: int) -> list[Line]:
    words = outdated(clean_line(row.shown_name), cell.weights_now)
    rows = wrapped(words, width - 4, 2) if words else []
    return [((" ! " if not at else "   ", "amber mark"), (text, "amber")) for at, text in enumerate(rows)]


def verdict_lines(facts: TaskFacts, row: TriageRow, width: int) -> list[Line]:
    """Return the verdict of a cell, with its scores and certainty."""
    mark = TASK_MARKS.get(facts.mark)
    if mark is None or facts.drop is None:
        reason = clean_line(facts.reason).removeprefix(f"{clean_line(facts.task)}: ")
        start: Line = ((" - not measured", ""),) if facts.task else ((" ? NO VERDICT", "amber mark"),)
        return [(*start, (f"  {text}", "")) if not at else ((f"   {text}", ""),)
                for at, text in enumerate(wrapped(reason, width - 17, 2))]  # fmt: skip
    seen = row.standings.get(facts.task) or (row.standing if facts.mark == "lost" else None)
    settled = seen.state if seen is not None and seen.state in ("accepted", "fixed") else ""
    word, style = _word(facts, settled), "" if settled else mark.style
    between = "" if facts.interval is None else f" ({interval_of(facts.interval, row.margin)})"
    scores = f"{decimals(facts.base, 3)} -> {decimals(facts.tuned, 3)}"
    moved = change_of(facts.drop, None if facts.task else row.margin)
    line: Line = ((f" {mark.mark} ", style), (word, style if word != "ok" else "green"))
    line = (*line, (f"   {scores}   change {moved}{between}", ""))
    flips = f"{flips_words(facts)}, {count(facts.total - facts.n)} not asked" if facts.total > facts.n else ""
    for flips_text in (flips, flips_words(facts)):
        if flips_text and line_width(line) + len(flips_text) + 4 <= width:
            return [(*line, (f"   {flips_text}", ""))]
    return [line]


def flips_words(facts: TaskFacts) -> str:
    """Return how many items were lost and won."""
    return f"{count(facts.lost)} lost, {count(facts.won)} won of {count(facts.n)}"


def _word(facts: TaskFacts, settled: str) -> str:
    if settled:
        return settled
    if facts.mark == "lost":
        return "REGRESSED"
    if facts.mark == "kept":
        return "ok, a real drop" if facts.is_drop_proven else "ok"
    return "real drop, size open" if facts.is_drop_proven else "open"


def _labelled(label: str, text: str) -> Line:
    return ((f"   {label:<{_LABEL - 3}}", "dim"), (text, ""))


def _state_lines(row: TriageRow, task: str, width: int, now: float) -> list[Line]:
    seen = row.standings.get(task)
    if seen is None:
        return []
    state = "" if seen.state == "new" else standing_words(seen)
    if seen.at and state:
        age = now - seen.at
        since = f"since {long_span(age)}" if seen.state == "looking" else f"{long_span(age)} ago"
        state += f", {since if age >= 60 else 'just now'}"
    if seen.drop is not None and seen.state == "accepted":
        state += f" at {change(seen.drop / 100)}"
    state_text = ": ".join(filter(None, (state, clean_line(seen.reason))))
    texts = {"state": state_text, "note": seen.note}
    room = width - _LABEL - 1
    return [_labelled(key, row) for key, text in texts.items() if text for row in wrapped(text, room, 2)]


def _curve_lines(cell: CellAnswer, width: int) -> list[Line]:
    """Draw the score at the base and at each checked checkpoint, the newest that fit."""
    points = cell.curve
    hidden = len(cell.not_looked_at)
    if len(points) < 3:
        points_text = f"{counted(hidden, 'earlier checkpoint')} not checked" if hidden else ""
        return [_labelled("when", points_text)] if points_text else []
    pieces = [_point(point, points) for point in points]
    room = width - _LABEL - 1
    start, rest = pieces[0], pieces[1:]
    shown: list[str] = []
    for piece in reversed(rest):
        if cell_len("   ".join([start, "…", piece, *shown])) > room:
            shown.insert(0, "…")
            break
        shown.insert(0, piece)
    points_text = "   ".join([start, *shown])
    whole = f"{points_text}   {hidden} not checked" if hidden else points_text
    return [_labelled("when", whole if cell_len(whole) <= room else points_text)]


def _point(point: CurvePoint, points: Sequence[CurvePoint]) -> str:
    scores = [other.score for other in points if other.score is not None]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    height = 7 if point.score is None or high <= low else round((point.score - low) / (high - low) * 7)
    name = "base" if point.step is None else count(point.step)
    return f"{name} {_BLOCKS[height]} {decimals(point.score)}"


def _has_flips(verdict: list[Line]) -> bool:
    return any(" lost, " in text for line in verdict for text, _ in line)


def _kind_lines(cell: CellAnswer, task: str, width: int, *, are_flips_said: bool) -> list[Line]:
    """Return the kinds of items that lost most; for a whole run, its tasks."""
    lines = [] if are_flips_said or cell.facts.drop is None else [_labelled("flips", flips_words(cell.facts))]
    label = f"   lost by {'kind' if task else 'task'}: "
    pieces: list[str] = []
    for kind in cell.kinds:
        if not kind.lost:
            continue
        piece = f"{clean_line(kind.kind).replace('_', ' ')} {kind.lost} of {kind.n}"
        if cell_len("   ".join([label, *pieces, piece])) > width - 1:
            break
        pieces.append(piece)
    return [*lines, ((label, "dim"), ("   ".join(pieces), ""))] if pieces else lines


def _noise_lines(cell: CellAnswer) -> list[Line]:
    if not cell.floor_items:
        return []
    share = 100 * cell.floor_flips / cell.floor_items
    flips = f"{counted(cell.floor_flips, 'flip')} of {count(cell.floor_items)} ({share:.1f} points)"
    return [_labelled("noise", f"base vs itself, other batches: {flips}")]


def export_lines(cell: CellAnswer, task: str, width: int) -> list[Line]:
    """Return the newest exported files, one per row: base, tuned, exported, and the change against the tuned."""
    lines = []
    for number, file in enumerate(cell.exports[-_EXPORTS:]):
        scores, words = exports.of_task(file, task)
        base, tuned, exported = exports.cells_of(scores)
        means = f"base {base} tuned {tuned} file {exported}"
        row = f"{clean_line(file.quant):<6} {means}  {words}"
        lines.append(_labelled("" if number else "files", cut_end(row, width - _LABEL - 1)))
    return lines


def _items(cell: CellAnswer, width: int, rows: int) -> list[Line]:
    widths = item_widths(width)
    facts = cell.facts
    shown = cell.first[: rows - 1]
    others = facts.lost - len(shown)
    rest = facts.won + max(0, others)
    if rest:
        shown = cell.first[: max(1, rows - 2)]
        others = facts.lost - len(shown)
    lines = [item_head(widths, first="lost item")]
    lines += [item_line(item, widths, with_task=not facts.task) for item in shown]
    if rest and len(lines) < rows:
        more = [f"{others} more lost"] * (others > 0) + [f"{facts.won} won"] * bool(facts.won)
        lines += [((f"   {', '.join(more)}: ", "dim"), ("enter", "key"))] if more else []
    return lines


class ItemWidths(NamedTuple):
    """The widths of the item columns; without gold there are no log-probabilities either."""

    question: int
    gold: int
    answer: int
    since: str  # the title of the column with the first checked step at which an item is lost


def item_widths(width: int) -> ItemWidths:
    """Divide the width among question, gold and both answers; a narrow one has no gold or log-probabilities."""
    since = "lost by step" if width >= _WIDE else "lost by"  # nothing is known of what was not checked before
    room = width - 3 - len(since) - 1 - len(_ALSO) - 1
    if width < NARROW:
        answer = max(8, room // 4)
        return ItemWidths(room - 2 * answer, 0, answer, since)
    room -= 2 * 7
    answer = max(9, room // 4)
    gold = max(8, room // 6)
    return ItemWidths(room - gold - 2 * answer, gold, answer, since)


def item_head(widths: ItemWidths, *, first: str) -> Line:
    """Return the header row of items."""
    question, gold, answer, since = widths
    log_prob = 7 if gold else 0
    answers = f"{'base said':<{answer + log_prob}}{'tuned said':<{answer + log_prob}}"
    header = f"   {first:<{question}}{'gold' if gold else '':<{gold}}{answers} {since} {_ALSO}"
    return ((header, "dim"),)


def item_line(item: Flip, widths: ItemWidths, *, has_cursor: bool = False, with_task: bool = False) -> Line:
    """Draw one item: question, gold, both answers with log-probabilities, by which step it is lost, other runs."""
    question, gold, answer, since = widths
    text = item.question or item.item
    if with_task:
        text = f"{item.task}: {text}"
    return (
        cursor_mark(has_cursor),
        ("  ", ""),
        (_column(text, question), "bold" if has_cursor else ""),
        (_column(item.gold or "-", gold) if gold else "", ""),
        (_column(item.base_answer or "(nothing)", answer), ""),
        (f"{_log_prob(item.base_log_prob):>5}  " if gold else "", "dim"),
        (_column(item.tuned_answer or "(nothing)", answer), ""),
        (f"{_log_prob(item.tuned_log_prob):>5}  " if gold else "", "dim"),
        (f"{'-' if item.since is None else count(item.since):>{len(since) + 1}}", ""),
        (f"{'-' if item.won or not item.also else item.also:>{len(_ALSO) + 1}}", ""),
    )


def _log_prob(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _column(text: str, width: int) -> str:
    text = cut_end(clean_line(text).strip(), width - 1)
    return padded(text, width)

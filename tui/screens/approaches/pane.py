"""Text around the table of the Approaches screen: the title, the advice, an approach's runs, the next step."""

from __future__ import annotations

from itertools import groupby

from finetop.core.features.approaches import wording as words
from finetop.core.features.approaches.messages import ApproachesAnswer, ApproachRow, ComparisonBrief, RunBrief
from finetop.core.text import clean_line, counted
from finetop.tui.screens.approaches.row import letter_of
from finetop.tui.text import Line, cursor_mark, cut_end, cut_middle, leaf, paragraph, spread
from finetop.tui.theme import MARKS, StyleName
from finetop.tui.widgets.frame import next_line
from finetop.tui.widgets.scatter import Spot, scatter

ROWS_OF_A_TEXT = 12
LEAST = 4  # rows


def brief_of(answer: ApproachesAnswer) -> ComparisonBrief | None:
    """Return the entry of the comparison on screen in the list of all comparisons."""
    return next((comparison for comparison in answer.comparisons if comparison.name == answer.name), None)


def has_failed(run: RunBrief) -> bool:
    """Return True if a run ended before it was measured."""
    return not run.is_measured and run.state in ("failed", "lost", "stopped")


def title_lines(answer: ApproachesAnswer, width: int, *, of_costs: bool) -> list[Line]:
    """Return the title: the comparison, how many of its runs are measured, and the metric's direction."""
    name = cut_middle(clean_line(answer.name), max(12, width - 56))
    left: Line = ((" Approaches ", ""), (name, "bold"))
    brief = brief_of(answer)
    if brief is not None:
        left = (*left, (f"   {brief.measured} of {counted(brief.runs, 'run')} measured", ""))
        if failed := sum(has_failed(run) for row in answer.rows for run in row.runs):
            left = (*left, (f", {failed} failed", "red"))
    names = [comparison.name for comparison in answer.comparisons]
    right: Line = ()
    if len(names) > 1 and answer.name in names:
        right = ((f"comparison {names.index(answer.name) + 1} of {len(names)} ", "dim"),)
    better = "lower" if answer.lower_is_better else "higher"
    model = cut_middle(leaf(answer.model), 30)
    target = cut_middle(clean_line(answer.target), 24)
    notes = f" {model} on {target}, {better} is better"
    if of_costs and any(row.query is not None and words.is_busy(row.query) for row in answer.rows):
        notes = f" {model}; ! measured on a busy machine"
    if any(row.gap is not None and row.gap.is_open for row in answer.rows):
        notes += "; = unproven"
    return [spread(left, right, width), ((cut_end(notes, width - 1), "dim"),)]


def advice_lines(answer: ApproachesAnswer, width: int) -> list[Line]:
    """Return the advice: each topic with its sentences, wrapped."""
    if not answer.advice:
        return [((" No advice yet: it needs two measured approaches.", "dim"),)]
    lines: list[Line] = []
    for topic, texts in groupby(answer.advice, key=lambda line: line.topic):
        lines.append(((f" {clean_line(topic)}", "bold"),))
        for piece in texts:
            lines += paragraph(clean_line(piece.text), width, ROWS_OF_A_TEXT, indent=3)
    return lines


def run_lines(row: ApproachRow, chosen: int, width: int) -> list[Line]:
    """List an approach's runs with their states, or why it has none."""
    lines: list[Line] = [((cut_end(f" {clean_line(row.about)}", width - 1), "dim"),)]
    if not row.runs:
        return [*lines, ((cut_end(f" {row.state}: {clean_line(row.message)}", width - 1), ""),)]
    for at, run in enumerate(row.runs):
        mark = MARKS["finished" if run.is_measured else run.state]
        is_chosen = at == chosen % len(row.runs)
        cells = 34 if width < 100 else 48
        start: Line = (cursor_mark(is_chosen and len(row.runs) > 1), (mark.mark, mark.style))
        name = f" {cut_middle(clean_line(run.name), cells):<{cells}}"
        seed = " on new facts too" if run.learns_news else f" seed {run.seed}"
        words = cut_end(f"{seed}  {_state_words(run)}", width - cells - 4)
        lines.append((*start, (name, "bold" if is_chosen else ""), (words, "")))
    return lines


def _state_words(run: RunBrief) -> str:
    if run.is_measured:
        return "measured"
    message = clean_line(run.message)
    state = f"{run.state}, not measured yet" if run.state == "finished" and not message else run.state
    return f"{state}: {message}" if message else state


def next_words(answer: ApproachesAnswer, row: ApproachRow | None, run: str) -> Line:
    """Return the next step: the run to open, the best approach so far, and how many runs are to come."""
    brief = brief_of(answer)
    to_come = "" if brief is None or not brief.to_come else f"; {counted(brief.to_come, 'run')} to come"
    best = next((approach for approach in answer.rows if approach.is_best), None)
    level = [approach for approach in answer.rows if approach.gap is not None and approach.gap.is_open]
    best_words = ""
    if best is not None:
        others = [clean_line(approach.name) for approach in level]
        same = f" or {others[0]}" if len(others) == 1 else f" or {len(others)} others" if others else ""
        best_words = f"Best: {clean_line(best.name)}{same}"
    if row is None or not run:
        return ((f" {best_words}{to_come}", "bold"),) if best_words or to_come else ()
    name = cut_middle(clean_line(run), 26)
    if any(approach_run.name == run and has_failed(approach_run) for approach_run in row.runs):
        return next_line("enter", f"open {name}: why it failed; T there retries it")
    return next_line("enter", f"open {name}{f'. {best_words}' if best_words else ''}{to_come}")


def empty_lines(trouble: str) -> list[Line]:
    """Return the text of an empty screen: the trouble, or how to compare approaches."""
    if trouble:
        return [(), ((f"   {trouble}", "dim"),)]
    return [
        (),
        ((" No comparisons yet.", "bold"),),
        (),
        ((" A comparison puts prompt, examples, retrieval and training side by side", ""),),
        ((" on your own test, with what each costs: in Launch, C on a recipe that has", ""),),
        ((" check.target. On the command line:", ""),),
        (("   finetop approaches RECIPE", ""),),
    ]


def picture_lines(
    answer: ApproachesAnswer, chosen: ApproachRow | None, *, width: int, height: int
) -> list[Line]:
    """Draw the scatter chart in `height` rows; approaches without a position are listed below it."""
    spots: list[Spot] = []
    absent: list[str] = []
    for index, row in enumerate(answer.rows):
        letter = letter_of(answer, index)
        if row.target is None:
            continue
        if row.retained is None or row.retained.drop is None:
            absent.append(letter)
            continue
        style: StyleName = "reverse" if row is chosen else _style(row)
        spots.append(Spot(letter, -row.retained.drop, row.target.mean, style))
    if len(spots) < 2 or height < LEAST:
        return [((" The chart needs two approaches that are measured and checked.", "dim"),)]
    rows = height - 1 if absent else height
    kept = [row.retained for row in answer.rows if row.retained is not None]
    drawn = scatter(
        spots,
        width=width,
        height=rows,
        limit=next((-retained.margin for retained in kept if retained.margin is not None), None),
        x_words=lambda x: f"{x:+.1f}" if round(x, 1) else "0.0",
        lower_is_better=answer.lower_is_better,
    )
    if absent:
        drawn.append(((f" Not in the chart (not checked): {', '.join(absent)}", "dim"),))
    return drawn


def _style(row: ApproachRow) -> StyleName:
    assert row.retained is not None
    if "regressed" in row.retained.verdicts:
        return "red"
    return "bold" if row.is_best else ""

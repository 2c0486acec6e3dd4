"""Text around the list of runs: headings, the run under the cursor, the next step, the overall state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from finetop.core.errors import BadInput
from finetop.core.protocol.messages.runs import RunsAnswer
from finetop.core.protocol.run_filter import FilterFault, Sort
from finetop.core.protocol.runs import COMMAND, UNKNOWN, CheckBrief, Failed, Finished, Queued, Running, RunRow
from finetop.core.text import clean_line, count, counted
from finetop.core.wording import jobs, pulse, run_groups
from finetop.core.wording.durations import clock, long_span
from finetop.core.wording.units import decimals, metric_words, value
from finetop.core.wording.verdicts import change_of
from finetop.tui.keys import after_search
from finetop.tui.screens.runs.state import RunList
from finetop.tui.screens.shared import run_status
from finetop.tui.screens.shared.run_status import ended_at
from finetop.tui.text import Line, cut_line, cut_middle, leaf, line_width, rule, spread
from finetop.tui.theme import StyleName
from finetop.tui.widgets.frame import next_line

PANE_WORDS = 68  # cells beside a label at 80 columns
REASONS = 3  # lines on why a run is silent
WORST = 3  # least tasks named; four long names don't fit in 80 columns
CHART_FROM = 160  # terminal width from which the run's curve is drawn beside its facts
_WORDS: Mapping[str, str] = {
    "needs_you": "needs you first",
    "newest": "newest first",
    "-newest": "oldest first",
    "name": "by name",
    "-name": "by name, reversed",
    "age": "by age",
    "-age": "by age, oldest first",
}
MORE = 10  # cells for the number of unnamed tasks
SHOWN = 24  # most cells of a filter
EXAMPLE = "a word from the list (failed), loss<1.2 or tag:draft"
LEFT = 30  # cells reserved for marked runs and runs that need you


def pane_lines(row: RunRow, *, width: int, height: int, now: float, spark: str) -> list[Line]:
    """Return the pane in `height` rows: a rule with the facts, the verdict, and what it is based on."""
    name = cut_middle(clean_line(row.name), 30)
    lines = [rule(((name, "bold"),), width, ((_facts(row, now), "dim"), (" ", "")))]
    lines.append(run_status.state_sentence(row, now))
    lines += _details(row, spark, facts_width(width))
    return lines[: max(2, height)]


def facts_width(width: int) -> int:
    """Return the width of the facts in the pane; on wide terminals the run's curve gets the other half."""
    return width // 2 if width >= CHART_FROM else width


def curve_width(width: int) -> int:
    """Return the width of the curve beside the facts."""
    return width - facts_width(width) - 1


def with_curve(lines: Sequence[Line], curve: Sequence[Line], width: int) -> list[Line]:
    """Put a run's curve beside the lines of its pane, below the full-width first line."""
    left = facts_width(width)
    rows: list[Line] = [*lines[:1]]
    for line, picture in zip_longest(lines[1:], curve, fillvalue=()):
        facts = cut_line(line, left - 2)
        rows.append((*facts, (" " * (left - line_width(facts)), ""), *picture))
    return rows


def _facts(row: RunRow, now: float) -> str:
    facts = [clean_line(row.method), *([] if row.model == UNKNOWN else [cut_middle(leaf(row.model), 24)])]
    if row.objective not in ("", "sft", row.method):
        facts.insert(1, clean_line(row.objective))
    ended, ran = ended_at(row), run_status.ran_for(row)
    if ran is not None:
        facts.append(long_span(ran))
    if ended is not None:
        ago = now - ended
        facts.append(f"ended {clock(ended)}" if ago < 86400 else f"ended {long_span(ago)} ago")
    return ", ".join(facts)


def _details(row: RunRow, spark: str, width: int) -> list[Line]:
    lines: list[Line] = []
    if isinstance(row.state, Failed) and row.state.hint:
        is_printed = row.objective == COMMAND and row.state.kind in ("code", "killed")  # its own last line
        lines.append(_labelled("last" if is_printed else "fix", clean_line(row.state.hint)))
    if isinstance(row.state, Finished) and row.state.cause:
        lines.append(_labelled("ended", clean_line(row.state.cause)))
    if isinstance(row.state, Running):
        lines += [_labelled("why", spans) for spans in pulse.reasons(row.state)[:REASONS]]
    if isinstance(row.state, Running | Queued):  # for an ended run, the row above shows them
        lines += [(("   also   ", "dim"), *run_status.job_words(job)) for job in row.side_jobs]
    if row.check is not None and row.check.worst:
        lines.append(_worst(row.check, width))
    tags = clean_line(" ".join(row.tags))
    if row.note:
        lines.append(_labelled("note", f"{clean_line(row.note)}{f'   tags {tags}' if tags else ''}"))
    elif tags:
        lines.append(_labelled("tags", tags))
    target = _target(row.check) if row.check is not None else ""
    main = row.main_metric
    number = _main_number(row, spark)
    if target or number:
        spans: Line = ((target, ""),) if target else number
        both: Line = (*spans, (f"     {main} ", "dim"), *number) if target and number else ()
        spans = both if both and line_width(both) <= PANE_WORDS else spans
        lines.append(((f"   {'target' if target else main:<7}", "dim"), *spans))
    if row.alarm and row.check is not None:
        lines.append(_labelled("alarm", clean_line(row.alarm)))
    numbers = _numbers(row)
    if numbers:
        lines.append(_labelled("now" if ended_at(row) is None else "last", numbers))
    return lines


def _labelled(label: str, text: str) -> Line:
    return ((f"   {label:<7}", "dim"), (text, ""))


def _worst(check: CheckBrief, width: int) -> Line:
    """Return the tasks with the largest drops, as many as fit; only proven losses are red."""
    line: Line = (("   worst  ", "dim"),)
    number = 0
    for task in check.worst:
        style: StyleName = "red" if task.mark == "lost" else ""
        more: Line = ((f"{clean_line(task.task)} ", ""), (change_of(task.drop), style), ("  ", ""))
        if number >= WORST and line_width((*line, *more)) > width - MORE:
            break
        line, number = (*line, *more), number + 1
    others = len(check.worst) - number
    return (*line, (f"{others} more", "dim")) if others > 0 else line


def _target(check: CheckBrief) -> str:
    if check.target_failed:
        return f"failed: {clean_line(check.target_failed)}"
    pairs = [(metric_words(name), pair) for name, pair in check.target.items() if len(pair) == 2]
    return "  ".join(f"{label} {value(base, 4)} -> {value(tuned, 4)}" for label, (base, tuned) in pairs[:2])


def _main_number(row: RunRow, spark: str) -> Line:
    number = row.metrics.get(row.main_metric)
    if number is None:
        return ()
    curve: Line = ((f"{spark} ", run_status.hue(row)),) if spark else ()
    return (*curve, (value(number), "bold"))


def _numbers(row: RunRow) -> str:
    labels = {"eval_loss": "eval loss", "grad_norm": "grad norm", "learning_rate": "lr"}
    known = [key for key in labels if row.metrics.get(key) is not None]
    parts = [f"{labels[key]} {value(row.metrics[key])}" for key in known]
    drift = row.metrics.get("drift")
    if drift is not None:
        parts.append(f"drift {decimals(drift)} nats/token")
    return "   ".join(parts)


def heading_words(runs: RunList, row: RunRow) -> str:
    """Return the heading that a run is listed under, or an empty string."""
    line = runs.line
    if line.group:
        group = runs.groups.get(row.group)
        return "" if group is None else clean_line(run_groups.group_heading(line.group, group))
    return run_status.heading_of(row) if runs.has_parts else ""


def fault_words(fault: BadInput) -> str:
    """Return the error in a filter without the term, which is on screen beside it."""
    if isinstance(fault, FilterFault):
        return clean_line(fault.what)
    return clean_line(str(fault).partition(": ")[2] or str(fault))


def empty_lines(runs: RunList, home: str) -> list[Line]:
    """Return the text of an empty screen: which filter hides all runs, or how to start one."""
    if runs.line.terms and runs.answer is not None:
        return _hidden(runs.listed[0], runs.answer)
    return [
        (),
        ((f" No runs yet in {home}.", "bold"),),
        (),
        ((" A run fine-tunes a model on your data, then checks", ""),),
        ((" whether it forgot anything.", ""),),
        (),
        ((" On the command line:  ", "dim"), ("finetop demo   finetop run RECIPE", "")),
    ]


def _hidden(text: str, answer: RunsAnswer) -> list[Line]:
    """Explain that the filter hides all runs, and which of its terms hides the most."""
    no_match = f" No run matches {clean_line(text)!r}.  "
    hidden: Line = ((no_match, ""), ("esc", "key"), (" clears the filter.", ""))
    term, matching = max(answer.without, key=lambda pair: pair[1], default=("", 0))
    if matching and len(answer.without) > 1:
        more = f"{count(matching)} match without {clean_line(term)}"
    else:
        more = f"{counted(answer.total, 'run')} without it"
    return [(), hidden, ((f" {more}", "dim"),), (), ((f" Try {EXAMPLE}.", "dim"),)]


def next_lines(runs: RunList, row: RunRow | None) -> list[Line]:
    """Return the next step for the run under the cursor, or for an empty list."""
    if row is not None:
        step = run_status.next_step(row)
        return [next_line(*(after_search(step) if runs.filter else step))]
    if not runs.is_empty:
        return []
    if runs.listed[0]:
        return [next_line("esc", "clear the filter")]
    demo = next_line("enter", "run the demo: two small runs, one of which forgets")
    return [demo, next_line("n", "start your own run", before="or")]


def sort_words(sort: Sort) -> str:
    """Return a sort order in words."""
    lowest = "highest" if sort.descending else "lowest"
    return _WORDS.get(sort.word, f"{lowest} {clean_line(sort.key)} first")


def state_line(runs: RunList, width: int) -> Line:
    """Return the overall state, and the list's filter and order; a part that does not fit is dropped."""
    answer = runs.answer
    if answer is None:
        return ((" loading …", "dim"),)
    right = _order_words(runs, width - LEFT) if answer.total else ()
    marked: Line = ((f" {count(len(runs.marked))} marked  ", "bold"),) if runs.marked else ()
    need_count = count(answer.need_you) if answer.need_you else "nothing"
    needs = f" {need_count} need{'' if answer.need_you > 1 else 's'} you"
    left: Line = (*marked, (needs, "amber mark" if answer.need_you else "dim"))
    stopped = f", {clean_line(answer.stopped)}" if answer.stopped else ""
    style: StyleName = "cyan" if answer.jobs else "dim"
    running = jobs.counts(answer.jobs) or "nothing running"
    short = f"{sum(answer.jobs.values())} running" if answer.jobs else running
    queued: Line = (("   ", ""), (f"{answer.queued} queued{stopped}", "queued" if answer.queued else "dim"))
    total: Line = (("   ", ""), (f"{count(answer.total)} total", "dim"))
    rest = (*(queued if answer.queued or stopped else ()), *total)
    forms: list[Line] = [(*left, ("   ", ""), (words, style), *rest) for words in (running, short)]
    room = width - 2 - line_width(right)
    left = next((form for form in forms if line_width(form) <= room), forms[-1][:-2])
    while line_width(left) > room and len(left) > len(marked) + 1:
        left = left[:-2]
    return spread(left, right, width)


def _order_words(runs: RunList, width: int) -> Line:
    """Return filter, group and order in at most `width` cells; the order is dropped first, then the group."""
    pieces: list[Line] = []
    if runs.line.terms:
        terms = cut_middle(clean_line(" ".join(term.typed for term in runs.line.terms)), SHOWN)
        pieces.append((("/", "key"), (f" {terms}: {count(runs.pages.matching)} match", "bold")))
    if runs.pages.newcomers:
        pieces.append((("o", "key"), (f" shows {runs.pages.newcomers} new", "bold")))
    elif runs.pages.reordered:
        pieces.append((("o", "key"), (" re-sorts: the order changed", "dim")))
    if runs.line.group:
        pieces.append(((f"by {clean_line(runs.line.group)}", "bold"),))
    if not (runs.pages.newcomers or runs.pages.reordered):
        pieces.append((("o", "key"), (f" sort: {sort_words(runs.line.sort or Sort())}", "dim")))
    line: Line = ()
    for piece in pieces:
        more: Line = (*line, ("  ", ""), *piece) if line else piece
        if not line or line_width(more) <= width:
            line = more
    return (*line, (" ", ""))

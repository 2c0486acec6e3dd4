"""Draws the Compare screen from plain data: runs, recipe differences, results, samples, the scatter plot."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.features.compare import compare_runs
from finetop.core.features.compare.compare_runs import Trade
from finetop.core.features.data_versions import wording as data_versions
from finetop.core.protocol.check_result import LOWER_IS_BETTER
from finetop.core.protocol.runs import RunDetail, SampleRow
from finetop.core.text import clean_line, count
from finetop.core.wording.units import metric_words, value
from finetop.core.wording.verdicts import change_of
from finetop.tui.screens.compare.state import TABS, CompareState
from finetop.tui.screens.shared.lettered import LETTERS, style_of
from finetop.tui.screens.shared.run_status import verdict_words
from finetop.tui.text import (
    Line,
    cut_end,
    cut_line,
    cut_middle,
    distinct_names,
    labelled,
    line_width,
    paragraph,
    rule,
    spread,
    wrapped,
)
from finetop.tui.theme import StyleName
from finetop.tui.widgets.scatter import Spot, scatter

LABEL, WIDE_LABEL, WIDE = 21, 32, 110  # cells of a setting's name; the wide one from WIDE columns on
CELL = 20  # cells of a run's value in a table, more only if a value needs them
_ANSWER_ROWS = 4
_NAME = 30  # cells of a run's name
_EXAMPLE_ROWS = 3


def head_lines(state: CompareState, width: int, where: str) -> list[Line]:
    """Return the compared runs, each with its letter, and the tabs."""
    runs = state.runs
    names: Line = ((f" Compare {len(runs)} runs  ", "bold"),)
    room = max(8, (width - line_width(names)) // max(1, len(runs)) - 4)
    for number, name in enumerate(distinct_names([clean_line(run.row.name) for run in runs], room)):
        style: StyleName = "dim" if runs[number].row.name in state.hidden else style_of(number)
        letter: Line = ((LETTERS[number], "reverse" if number == state.chosen else style),)
        names = (*names, *letter, (f" {name}  ", style))
    tabs: Line = (("   ", ""),)
    for name in TABS:
        tabs = (*tabs, (f" {name} ", "reverse" if name == state.tab else ""), (" ", ""))
    right: Line = ((f"{where}   " if where else "", ""), ("tab", "key"), (" next ", "dim"))
    return [names, spread(tabs, right, width)]


def table_lines(state: CompareState, now: float) -> list[Line]:
    """Return the results and the recipe differences, one column per run; a column that does not fit is left out."""
    runs, chosen, (width, _) = state.runs, state.chosen, state.size
    label = WIDE_LABEL if width >= WIDE else LABEL
    outcomes = compare_runs.outcomes(runs, now)
    fits, shown = _columns(runs, chosen, width - label)
    results = {row.label: [_result(state, row, at) for at in shown] for row in outcomes}
    longest = max((line_width(cell) for cells in results.values() for cell in cells), default=0)
    cell = min(fits, max(CELL, longest + 2))
    head: Line = ((f" {'':<{label}}", ""), *((f" {LETTERS[at]:<{cell - 1}}", style_of(at)) for at in shown))
    left_out = len(runs) - len(shown)
    beside: Line = ((f"{left_out} more don't fit", "dim"), (" ", "")) if left_out else ()
    lines = [rule((("results, * best", ""),), width, beside), head]
    for name, cells in results.items():
        row_line: Line = ((f" {cut_end(name, label):<{label}}", ""),)
        for spans in cells:
            spans = cut_line(spans, cell - 2)
            row_line = (*row_line, (" ", ""), *spans, (" " * (cell - 1 - line_width(spans)), ""))
        lines.append(row_line)
    for why in compare_runs.why_no_best(outcomes):
        lines += paragraph(why, width, indent=3, style="bold")
    lines.append(rule((("recipe differences", ""),), width))
    differing = compare_runs.differences(compare_runs.settings_of(runs))
    if not differing:
        lines.append((("   none: same recipe, only chance or the machine differs", "dim"),))

    def difference_line(key: str, values: Sequence[str]) -> Line:
        cells = [(f" {cut_end(values[at], cell - 2):<{cell - 1}}", _style_at(at, chosen)) for at in shown]
        return ((f" {key:<{label}}", ""), *cells)

    lines += [difference_line(cut_end(setting.key, label), setting.values) for setting in differing]
    if sources := compare_runs.data_differences(runs):
        lines.append(rule((("data differences", ""),), width))
        lines += [difference_line(cut_middle(source.key, label), source.values) for source in sources]
    return lines


def _columns(runs: Sequence[RunDetail], chosen: int, width: int) -> tuple[int, list[int]]:
    """Return the most cells of a run and the runs shown: as many as fit, always with the selected run."""
    fits = max(1, (width - 1) // 12)
    shown = list(range(len(runs)))[:fits]
    if chosen not in shown:
        shown[-1] = chosen
    return max(4, (width - 1) // len(shown)), shown


def _style_at(at: int, chosen: int) -> StyleName:
    return "bold" if at == chosen else ""


def _result(state: CompareState, row: compare_runs.Outcome, at: int) -> Line:
    """Return one result of a run; the best is marked."""
    runs = state.runs
    check = runs[at].row.check
    spans: Line = ((row.cells[at], _style_at(at, state.chosen)),)
    if row.label == "retained" and check is not None:
        spans = verdict_words(check, short=True, name_suite=compare_runs.suites_differ(runs) or None)
    return (*spans, (" *", "bold")) if at in row.best else spans


def sample_lines(state: CompareState) -> list[Line]:
    """Return each run's newest answer to the same prompts; prompts that fewer runs have come last."""
    width = state.size[0]
    last = [_last_samples(run.samples) for run in state.runs]
    prompts = list(dict.fromkeys(prompt for samples in last for prompt in samples))
    if not prompts:
        return [(), (("   No samples: answers are written at each evaluation.", "dim"),)]
    prompts.sort(key=lambda prompt: -sum(prompt in samples for samples in last))
    lines: list[Line] = []
    for number, prompt in enumerate(prompts):
        lines.append(rule(((f"prompt {number + 1} of {len(prompts)}", ""),), width))
        lines += paragraph(prompt, width, 2, style="bold")
        for at, samples in enumerate(last):
            sample = samples.get(prompt)
            style = _style_at(at, state.chosen)
            label = f" {LETTERS[at]}"
            if sample is None:
                lines.append(((f"{label:<4}", style), ("(no sample)", "dim")))
                continue
            step = f"  step {count(sample.step)}"
            text = wrapped(sample.text, width - 18, _ANSWER_ROWS) or ["(nothing)"]
            for row, part in enumerate(text):
                first = (f"{label:<4}" if not row else "    ", style_of(at))
                lines.append((first, (f"{step if not row else '':<12} ", "dim"), (part, "")))
    return lines


def _last_samples(samples: Sequence[SampleRow]) -> dict[str, SampleRow]:
    newest: dict[str, SampleRow] = {}
    for sample in samples:
        if sample.prompt not in newest or newest[sample.prompt].step < sample.step:
            newest[sample.prompt] = sample
    return newest


def targets_of(runs: Sequence[RunDetail]) -> list[str]:
    """List the target metrics that any run was checked by."""
    return list(dict.fromkeys(name for run in runs if run.row.check for name in run.row.check.target))


def scatter_lines(state: CompareState) -> list[Line]:
    """Draw target score against points retained, with the Pareto front marked; explain runs that can't be placed."""
    runs, chosen, (width, height) = state.runs, state.chosen, state.size
    metrics = targets_of(runs)
    metric = metrics[state.target % len(metrics)] if metrics else ""
    trades = compare_runs.trades(runs, metric)
    if why := compare_runs.why_no_trades(runs):
        return [(), *paragraph(why, width, indent=3, style="dim")]
    if len(trades) < 2:
        rule_text = "A run is drawn once it has been checked on a target and on a suite."
        have = "Only one run has been so far." if trades else "No run has been so far."
        return [(), ((f"   {rule_text}", "dim"),), ((f"   {have}", "dim"),)]
    front = compare_runs.front(trades)
    spots = [_spot(trade, chosen, is_best=trade.run in front) for trade in trades]
    checks = [run.row.check for run in runs if run.row.check is not None]
    base = next((check.target[metric][0] for check in checks if metric in check.target), None)
    if base is not None:
        spots.append(Spot("base", 0.0, base, "dim"))
    better = "better is up and to the right"
    title = f"target, {metric_words(metric)}, against retained, points"
    picture = scatter(
        spots,
        width=width,
        height=max(4, height - 3 - len(trades)),
        limit=-checks[0].margin if checks else None,
        x_words=lambda change: change_of(-change),
        y_words=value,
        lower_is_better=metric in LOWER_IS_BETTER,
    )
    trades = sorted(trades, key=lambda trade: trade.run not in front)
    listed = [_trade_line(runs, trade, chosen, is_best=trade.run in front) for trade in trades]
    return [rule(((title, ""),), width, ((better, "dim"), (" ", ""))), *picture, (), *listed]


def _spot(trade: Trade, chosen: int, *, is_best: bool) -> Spot:
    text = f"{LETTERS[trade.run]}{'*' if is_best else ''}"
    style: StyleName = "reverse" if trade.run == chosen else style_of(trade.run)
    return Spot(text, trade.kept, trade.target, style)


def _trade_line(runs: Sequence[RunDetail], trade: Trade, chosen: int, *, is_best: bool) -> Line:
    run = runs[trade.run]
    assert run.row.check is not None
    name = cut_middle(clean_line(run.row.name), 28)
    line: Line = (
        (f" {LETTERS[trade.run]} ", style_of(trade.run)),
        (f"{name:<28} ", _style_at(trade.run, chosen)),
        (f"target {value(trade.target):>6}   ", ""),
        *verdict_words(run.row.check, short=True, name_suite=compare_runs.suites_differ(runs) or None),
    )
    return (*line, ("   Pareto front", "bold")) if is_best else line


def data_lines(state: CompareState) -> list[Line]:
    """Return what the data of two runs share, source by source, with example rows that only one of them has."""
    (at, other), width, runs = state.against, state.size[0], state.runs
    first, second = runs[at], runs[other]
    names = [f"{LETTERS[n]} {cut_middle(clean_line(runs[n].row.name), _NAME)}" for n in (at, other)]
    lines: list[Line] = [rule(((f"data of {names[0]}, and of {names[1]}", ""),), width)]
    for run, name in ((first, names[0]), (second, names[1])):
        if not run.sources:
            lines += _rows(f"{name}: {data_versions.unknown_rows(run)}", width, "", "dim")
    if not (first.sources and second.sources):
        return lines
    if data_versions.same_data([first.sources, second.sources]):
        return [*lines, *_rows(data_versions.same_line(first.sources), width)]
    differ = state.data.get((first.row.name, second.row.name))
    if differ is None:
        return [*lines, (("   comparing their rows …", "dim"),)]
    for kind, text in data_versions.differ_lines(differ, LETTERS[at], LETTERS[other], runs):
        if kind in ("-", "+"):
            letter = LETTERS[at if kind == "-" else other]
            lines += _rows(text, width, f"{letter} ", "", _EXAMPLE_ROWS)
        else:
            lines += _rows(text, width, "  " if kind else "", "dim" if kind else "bold")
    return lines


def _rows(
    text: str, width: int, mark: str = "", style: StyleName = "", rows: int | None = None
) -> list[Line]:
    label = f"  {mark}" if mark.strip() else mark
    return labelled(label, text, width, cells=1 + len(label), rows=rows, style=style)

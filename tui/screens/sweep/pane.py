"""What the Sweep screen says around its rows: which sweep, the runs of the setting under the cursor, what is next."""

from __future__ import annotations

from finetop.core.client import seed_groups, selection_curve
from finetop.core.client.seed_groups import Setting
from finetop.core.protocol.runs import Finished
from finetop.core.text import clean_line, counted
from finetop.core.wording.units import metric_words
from finetop.tui.screens.shared.run_status import forgot, mark_of
from finetop.tui.screens.sweep.row import short_key, values_of
from finetop.tui.screens.sweep.state import SweepData, best
from finetop.tui.text import (
    STEPS_WIDTH,
    Line,
    cursor_mark,
    cut_middle,
    of_steps,
    rule,
    spread,
    value,
    wrapped,
)
from finetop.tui.widgets.frame import next_line

ROWS_OF_A_SENTENCE = 4


def title_line(held: SweepData, width: int) -> Line:
    """Say which sweep, how many of its runs are done, and which of the sweeps it is."""
    name = cut_middle(clean_line(held.name), max(12, width - 48))
    left: Line = ((" Sweep ", ""), (name, "bold"))
    if held.answer is None:
        return left
    # By number: a run may be of several selectors.
    runs = {run.id: run for setting in held.settings for run in setting.runs}
    finished = sum(isinstance(run.state, Finished) for run in runs.values())
    left = (*left, (f"   {finished} of {counted(len(runs), 'run')} finished", ""))
    names = [sweep.name for sweep in held.answer.sweeps]
    if len(names) < 2 or held.name not in names:
        return left
    return spread(left, ((f"sweep {names.index(held.name) + 1} of {len(names)} ", "dim"),), width)


def pane_lines(held: SweepData, setting: Setting, *, width: int, height: int, now: float) -> list[Line]:
    """Write the runs of a setting below a rule, the chosen one marked, so many as there is room for."""
    words = ", ".join(
        f"{short_key(key)} {clean_line(text)}" for key, text in zip(held.keys, setting.values, strict=False)
    )
    title = cut_middle(words or clean_line(values_of(setting)[0]), max(10, width - 30))
    spread_words = counted(len(setting.runs), "run")
    if held.curves is None and len(setting.runs) > 1:
        spread_words += ", ± standard deviation"
    lines = [rule(((title, "bold"),), width, ((spread_words, "dim"), (" ", "")))]
    chosen = setting.runs.index(held.run_of(setting))
    room = max(1, height - 1)
    first = min(max(0, chosen - room + 1), max(0, len(setting.runs) - room))
    for at in range(first, min(len(setting.runs), first + room)):
        lines.append(_run_line(held, setting, at, is_chosen=at == chosen, width=width, now=now))
    return lines


def _run_line(held: SweepData, setting: Setting, at: int, *, is_chosen: bool, width: int, now: float) -> Line:
    row = setting.runs[at]
    mark = mark_of(row)
    cells = 28 if width < 100 else 48
    name = cut_middle(clean_line(row.name), cells)
    numbers = f" {of_steps(row.step, row.steps):>{STEPS_WIDTH}}"
    if width >= 90 or not held.metric:
        numbers += f"  {seed_groups.loss_word([row])} {value(seed_groups.loss(row)):>6}"
    if held.metric:
        numbers += f"  target {value(seed_groups.target(row)):>6}"
    is_one_of_more = is_chosen and len(setting.runs) > 1
    return (
        cursor_mark(is_one_of_more),
        (mark.mark, mark.style),
        (f" {name:<{cells}}", "bold" if is_chosen else ""),
        (f"{numbers}  ", ""),
        *forgot(row, now),
    )


def words_lines(curves: selection_curve.Curves, width: int, height: int) -> list[Line]:
    """Write what follows from the curve of selected rows, in words."""
    better = "lower" if curves.is_lower_better else "higher"
    metric = metric_words(curves.metric)
    aside: Line = ((f"{metric}, {better} is better ", "dim"),)
    lines = [rule((("findings, from these numbers only", ""),), width, aside)]
    for sentence in selection_curve.sentences(curves):
        lines += [
            ((f"{'   ' if row else ' '}{text}", ""),)
            for row, text in enumerate(wrapped(clean_line(sentence), width - 4, ROWS_OF_A_SENTENCE))
        ]
    return lines if len(lines) <= height else [*lines[: height - 1], ((" more: finetop sweep", "dim"),)]


def next_words(held: SweepData, setting: Setting | None) -> Line:
    """Say what to do next: open the best run that has not regressed, else the one that is chosen."""
    if setting is None:
        return ()
    leader = best(held)
    name = cut_middle(clean_line(held.run_of(setting).name), 24)
    if leader is None:
        return next_line("enter", f"open {name}")
    name = cut_middle(clean_line(held.run_of(leader).name), 24)
    return next_line(
        "enter" if leader is setting else "b", f"open {name}: the best target that has not regressed"
    )


def empty_lines(trouble: str) -> list[Line]:
    """Say why there is nothing to see."""
    if trouble:
        return [(), ((f"   {trouble}", "dim"),)]
    return [
        (),
        ((" No sweeps yet.", "bold"),),
        (),
        ((" A sweep is one recipe over several values of a setting, or over seeds:", ""),),
        ((" in Launch, w on a field. On the command line:", ""),),
        (("   finetop run RECIPE --sweep train.learning_rate=1e-5,2e-5 --seeds 3", ""),),
    ]

"""The pane below the form: the first row as the model sees it, the data, and the run's memory and time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len

from finetop.core.recipe.command import output_of
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import gib_of
from finetop.tui.screens.launch.form import is_command, steps_of
from finetop.tui.screens.launch.lint import lint_words
from finetop.tui.screens.launch.state import LaunchState
from finetop.tui.screens.launch.sweep import runs_of
from finetop.tui.screens.launch.view import explanation_lines
from finetop.tui.text import Line, Span, cut_end, joined, rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.plan.result import Plan, Steps
    from finetop.core.recipe.schema import Recipe
    from finetop.tui.theme import StyleName

UNCHECKED = " not checked at its end: set command.output, the folder of its model"
FIXED = 6  # rows besides the first row's: three of the field, two rules, at least one of the plan
VERDICTS: dict[str, tuple[str, StyleName, str]] = {
    "fits": ("✓", "green", "fits"),
    "tight": ("!", "amber mark", "tight, no headroom"),
    "no": ("✗", "red", "does NOT fit"),
    "unknown": ("?", "amber mark", "memory unknown"),
}


def pane_lines(state: LaunchState, width: int, height: int) -> list[Line]:
    """Return the pane in `height` rows: what is under the cursor, the first row unless a command reads it, the plan."""
    plan = plan_lines(state, width)
    planning: Line = (("planning …", "dim"), (" ", ""))
    aside = planning if state.outlook.is_asked else lint_words(state.data_lint.linted)
    plan = [rule((("plan", "dim"),), width, aside), *plan]
    if is_command(state.form):
        return [*explanation_lines(state, width), *plan]
    row, title = row_lines(state, width, max(1, height - FIXED - len(plan) + 2))
    data = data_words(state)
    first = rule(((title, "dim"),), width, ((data, "dim"), (" ", "")) if data else ())
    return [*explanation_lines(state, width), first, *row, *plan]


def row_lines(state: LaunchState, width: int, rows: int) -> tuple[list[Line], str]:
    """Return the first row and its title: rendered with the learned parts in ⟦ ⟧, else as it is in its file."""
    if state.outlook.row:
        return _wrapped_spans(_marked(state.outlook.row), width - 2, rows), "first row, rendered"
    plain = clean_line(state.preview.first)
    return _wrapped_spans([(plain, "")], width - 2, rows), "first row, as in its file"


def _marked(row: Sequence[tuple[str, bool]]) -> list[Span]:
    spans: list[Span] = []
    for text, is_learned in row:
        clean = clean_line(text.replace("\n", " "))
        spans.append((f"⟦{clean}⟧", "bold") if is_learned else (clean, ""))
    return spans


def _wrapped_spans(spans: Sequence[Span], width: int, rows: int) -> list[Line]:
    """Wrap spans into exactly `rows` rows; a long text is cut so that its first learned part is visible."""
    cells = [(letter, style) for text, style in spans for letter in text]
    room = width * rows
    learned = next((at for at, (_, style) in enumerate(cells) if style), 0)
    if len(cells) > room and learned > room // 3:
        cells = [("…", "dim"), *cells[learned - room // 3 :]]
    lines: list[Line] = []
    while cells and len(lines) < rows:
        end = used = 0
        while end < len(cells) and used + cell_len(cells[end][0]) <= width:
            used, end = used + cell_len(cells[end][0]), end + 1
        if end < len(cells):  # a word goes to the next row, unless it fills one
            blanks = (at for at in range(end, 0, -1) if cells[at - 1][0] == " ")
            end = next(blanks, end)
        lines.append(joined([(" ", ""), *cells[:end]]))
        cells = cells[max(1, end) :]
    if cells and lines:
        lines[-1] = (*lines[-1], ("…", "dim"))
    return lines + [()] * (rows - len(lines))


def data_words(state: LaunchState) -> str:
    """Summarise the data: '812 rows, 3 over 1,024 tokens dropped, longest 912'."""
    plan = state.outlook.plan
    if plan is None or plan.steps is None or state.shown_form.loaded is None:
        return ""
    steps, data = plan.steps, state.shown_form.loaded.recipe.data
    parts = [counted(steps.rows, "row")]
    if steps.too_long:
        fate = _fate(steps, data.on_long)
        parts.append(f"{count(steps.too_long)} over {count(data.max_tokens)} tokens {fate}")
    if steps.unlearned:
        parts.append(f"{count(steps.unlearned)} with nothing to learn left out")
    parts.append(f"longest {count(steps.longest)}" + ("" if steps.too_long else " tokens"))
    return ", ".join(parts)


def _fate(steps: Steps, on_long: str) -> str:
    """Return what happens to rows that are too long: cut, dropped, or refused because they are too many."""
    if on_long == "truncate":
        return "cut"
    allowed = on_long.removeprefix("error-over-").removesuffix("%")
    if allowed.isdecimal() and 100 * steps.too_long > int(allowed) * (steps.rows + steps.too_long):
        return "REFUSED"
    return "dropped"


def plan_lines(state: LaunchState, width: int) -> list[Line]:
    """Return the memory and time of the run; until they are known, its steps alone."""
    loaded, outlook = state.shown_form.loaded, state.outlook
    if loaded is None:
        return [((" shown once all settings are valid", "dim"),), ()]
    check = _check_words(loaded.recipe)
    if loaded.recipe.command is not None:
        is_checked = output_of(loaded.recipe.command) is not None
        return [
            ((" another program, started as it is", ""),),
            ((f" its output is read{check}" if is_checked else UNCHECKED, "dim"),),
        ]
    if outlook.plan is None:
        steps = steps_of(state.shown_form, state.preview.rows) if state.preview.rows else None
        batch = counted(loaded.recipe.train.batch_size * loaded.recipe.train.grad_accumulation, "row")
        steps_text = f" about {counted(steps, 'step')} of {batch}" if steps else f" steps of {batch}"
        trouble = clean_line(outlook.trouble)
        return [((steps_text + check, ""),), ((f" {cut_end(trouble, width - 2)}", "dim"),) if trouble else ()]
    return [_memory(outlook.plan, width), ((f" {_time(state, outlook.plan)}{check}", ""),)]


def _check_words(recipe: Recipe) -> str:
    general = recipe.check.general if recipe.check.at_end else None
    return (
        "" if general is None else f", then a check on {clean_line(general.suite)} (limit {general.margin:g})"
    )


def _memory(plan: Plan, width: int) -> Line:
    mark, style, verdict = VERDICTS[plan.verdict]
    size = f" {gib_of(plan.need)} GiB"
    if plan.capacity is not None:
        free = "" if plan.device == "gpu" else " free"
        size = f" {gib_of(plan.need)} of {gib_of(plan.capacity)} GiB{free}"
    line: Line = ((f" {mark} ", style), (f"{verdict}:", style if plan.verdict == "no" else ""), (size, ""))
    name = clean_line(plan.device_name)
    if plan.fix is not None:
        return (*line, (cut_end(f" on {name}; fits with {clean_line(plan.fix.text)}", width - 30), "bold"))
    return (*line, (f" on {cut_end(name, 40)}", "dim"))


def _time(state: LaunchState, plan: Plan) -> str:
    """Return the number of steps and the time; of a sweep, the time of all its runs."""
    number = runs_of(state.shown_form)
    steps = "" if plan.steps is None else counted(plan.steps.steps, "step")
    if plan.time is None:
        return steps or "time unknown: no similar run here yet"
    about = "about" if plan.time.is_measured else "perhaps"
    span = f"{about} {long_span(plan.time.seconds)}"
    if number > 1:
        whole = f"{counted(number, 'run')}: {about} {long_span(plan.time.seconds * number)} in all"
        return f"{whole}, each {span.partition(' ')[2]}"
    return ", ".join(filter(None, (steps, span)))


def code_line(state: LaunchState) -> Line:
    """Return a warning if the model runs its own Python code, else an empty line."""
    loaded = state.shown_form.loaded
    if loaded is None or not loaded.recipe.model.trust_remote_code:
        return ()
    return ((f" ✗ runs Python code that comes with {clean_line(loaded.recipe.model.id)}", "red"),)

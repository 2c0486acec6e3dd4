"""Draws the Launch screen from plain data: recipes, fields with their problems, and the next step."""

from __future__ import annotations

from collections.abc import Sequence

from finetop.core.recipe.fields import Field
from finetop.core.text import clean_line, counted
from finetop.tui.screens.launch import form as forms
from finetop.tui.screens.launch.form import Form
from finetop.tui.screens.launch.lint import errors_of
from finetop.tui.screens.launch.state import LaunchState
from finetop.tui.screens.launch.sweep import runs_of
from finetop.tui.text import CURSOR, Line, Span, cut_end, cut_middle, line_width, paragraph, rule
from finetop.tui.theme import StyleName
from finetop.tui.widgets.entry import drawn
from finetop.tui.widgets.frame import next_line

LABEL = 15  # cells of a common setting's label
KEY_LABEL, LONGEST_KEY = 24, 40  # least and most cells of a dotted key
NAMES, WIDE = (
    24,
    160,
)  # cells of the recipes' names; the terminal width from which their purposes are beside them


def recipes_width(width: int) -> int:
    """Return the cells of the part with the recipes."""
    return 18 if width < 80 else NAMES if width < WIDE else width // 2 - 10


def recipe_lines(state: LaunchState, width: int) -> tuple[list[Line], int]:
    """Return the recipes under their group headings, and the cursor's line; * marks edited ones."""
    bases, at = [state.bases[place] for place in state.bases_shown], state.bases[state.base_at]
    lines: list[Line] = []
    cursor = 0
    for index, base in enumerate(bases):
        if index == 0 or base.group != bases[index - 1].group:
            lines += [*([()] if lines else []), ((f" {base.group}", "heading"),)]
        is_here = base.key == at.key
        if is_here:
            cursor = len(lines)
        mark = " *" if base.key in state.typed_over else ""
        room = min(width, NAMES) - 3 - len(mark)
        name = cut_middle(clean_line(base.title), room)
        gutter = _cursor(is_here, is_active=state.part == "recipes")
        row: Line = (gutter, (f" {name}", "bold" if is_here else ""))
        row = (*row, (mark, "bold")) if mark else row
        if width > NAMES:  # room for what each recipe is for
            blank = " " * (NAMES - line_width(row))
            row = (*row, (blank + cut_end(clean_line(base.about), width - NAMES - 1), "dim"))
        lines.append(row)
    return lines, cursor


def _cursor(is_here: bool, *, is_active: bool) -> Span:
    return (CURSOR if is_active else ("▸", "bold")) if is_here else (" ", "")


def field_lines(state: LaunchState, width: int) -> tuple[list[Line], int]:
    """Return the settings, one line each, and the cursor's line."""
    form, fields = state.shown_form, state.fields
    title = cut_middle(clean_line(form.base.title), width - 4)
    number = forms.changes(form)
    title = f"{title} *  {number} changed" if number else title
    lines: list[Line] = [((f"  {title}", "bold"),)]
    if state.field is not None:  # else the pane shows it in full
        about_text = cut_end(clean_line(forms.about(form)), max(0, width - line_width(((title, ""),)) - 5))
        lines = [(*lines[0], (f"  {about_text}", "dim"))]
    is_key = state.all_settings or state.searched_settings
    label_width = max(KEY_LABEL, min(LONGEST_KEY, width - 44)) if is_key else LABEL
    cursor = 0
    for label, field in fields:
        if field is state.field:
            cursor = len(lines)
        lines.append(_field_line(state, label, field, width, label_width))
    if not fields and state.searched_settings:
        lines.append((("   no setting has that name", "dim"),))
    if fields and not state.all_settings and not state.searched_settings:
        lines.append(((f"   {len(form.settings) - len(fields)} more settings: ", "dim"), ("v", "key")))
    return lines, cursor


def _field_line(state: LaunchState, label: str, field: Field, width: int, label_width: int) -> Line:
    is_here = field is state.field
    most = 50 if width >= 100 else 30
    value_width = max(12, min(most, width - label_width - 24))
    aside = _aside(state, field, width - label_width - value_width - 5)
    room = value_width if aside else width - label_width - 4
    typed = state.entry if is_here else None
    value = _value(state.shown_form, field, room) if typed is None else drawn(typed, room)
    name: Span = (f" {cut_middle(label, label_width - 1):<{label_width}}", "bold" if is_here else "dim")
    gap = " " * max(2, value_width + 2 - line_width(value))
    return ((" ", ""), _cursor(is_here, is_active=True), name, *value, (gap, ""), *aside)


def _value(form: Form, field: Field, width: int) -> Line:
    style: StyleName = "bold" if field.key in form.edits else ""
    if forms.problem_at(form, field.key):
        style = "red"
    text = forms.value_of(form, field.key)
    if field.key == "data.train" and (sources := forms.sources_in_words(form)):
        text = sources[0] if len(sources) == 1 else f"{len(sources)} sources: {'; '.join(sources)}"
    return ((cut_middle(clean_line(text), width), style),)


def _aside(state: LaunchState, field: Field, width: int) -> Line:
    form = state.shown_form
    problem = forms.problem_at(form, field.key)
    if problem is not None:
        return ((cut_end(clean_line(problem.short), width), "red"),)
    if field.key == "data.train" and state.preview.rows:
        about_rows = "about " if state.preview.is_estimate else ""
        return (("✓", "green"), (f" {about_rows}{counted(state.preview.rows, 'row')}", ""))
    if field.key in form.sweeps:
        values = form.edits.get(field.key, "").count(",") + 1
        return ((cut_end(f"sweep: {counted(values, 'value')}", width), "bold"),)
    if field.key in form.edits and field.key != "name":
        before = clean_line(forms.shown_value(form, field.key))
        return ((cut_end(f"recipe: {before or 'none'}", width), "dim"),)
    return ()


def explanation_lines(state: LaunchState, width: int) -> list[Line]:
    """Describe in three rows what the cursor is on: a setting with its problem, or a recipe."""
    form, field = state.shown_form, state.field
    if field is not None:
        problem = forms.problem_at(form, field.key)
        allowed = f"a path, or {field.type}" if field.key == "data.train" else field.type
        kind: Line = ((cut_end(allowed, width // 2), "dim"), (" ", ""))
        detail: Line = ((f" {clean_line(problem.whole)}", "red"),) if problem else ()
        if field.key == "data.train" and not problem:
            detail = ((cut_end(clean_line(f" {'   '.join(forms.sources_in_words(form))}"), width), "dim"),)
        if state.names:
            detail = ((" ", ""), (cut_end(clean_line("  ".join(state.names)), width - 2), "bold"))
        return [rule(((field.key, "bold"),), width, kind), ((f" {clean_line(field.about)}", ""),), detail]
    shown = {entry.key for _, entry in state.fields}
    hidden = [problem for problem in form.problems if forms.field_of(form, problem.key) not in shown]
    about_lines = paragraph(clean_line(forms.about(form)), width, 2)
    trouble: list[Line] = [((f" ✗ {clean_line(problem.whole)}", "red"),) for problem in hidden[:1]]
    both = [*about_lines[: 2 - len(trouble)], *trouble, (), ()][:2]
    return [rule((("about", "dim"),), width), *both]


def next_words(state: LaunchState) -> Line:
    """Return the next step: fix the first wrong setting or the data, else queue the run."""
    form, errors = state.shown_form, errors_of(state.data_lint.linted)
    read_all = f"read the data findings: {counted(errors, 'error')}"
    if not form.problems:
        number = runs_of(form)
        runs = f"{counted(number, 'run')} of " if number > 1 else ""
        if errors:
            return next_line("L", f"{read_all}; R queues it anyway")
        return next_line("R", f"queue {runs}{clean_line(forms.value_of(form, 'name'))}")
    first = forms.field_of(form, form.problems[0].key)
    if errors and form.loaded is not None and first == "data.train":
        return next_line("L", read_all)  # the data was refused: lint lists every bad row
    if not forms.is_known(form, first):
        return ((f" ✗ {clean_line(form.base.title)} can't be used: fix the file", "red"),)
    labels = {field.key: label for label, field in state.fields}
    wrong = dict.fromkeys(forms.field_of(form, problem.key) for problem in form.problems)
    listed = ", ".join(labels.get(key, key) for key in wrong)
    is_there = state.field is not None and state.field.key == first
    return next_line("enter" if is_there else "R", f"fix {counted(len(wrong), 'setting')}: {listed}")


def scrolled(lines: list[Line], cursor: int, height: int, place: str) -> list[Line]:
    """Return the lines around the cursor; if some are hidden, `place` is written below."""
    if len(lines) <= height:
        return lines
    height = max(1, height - 1)
    first = min(max(0, cursor - height // 2), len(lines) - height)
    return [*lines[first : first + height], ((f"   {place}", "dim"),)]


def in_border(left_width: int, *, has_cursor: bool) -> Line:
    """Return the titles of the two parts in the upper border, the active one highlighted."""
    first: StyleName = "accent" if has_cursor else "dim"
    second: StyleName = "dim" if has_cursor else "accent"
    fill = "─" * (left_width - len(" recipe "))
    return ((" recipe ", first), (f"{fill}┬", "faint"), (" settings", second))


def beside(left: Sequence[Line], right: Sequence[Line], left_width: int, height: int) -> list[Line]:
    """Put two blocks of lines side by side with a rule between them."""
    rows: list[Line] = []
    for y in range(height):
        cell = left[y] if y < len(left) else ()
        blank = " " * (left_width - line_width(cell))
        rows.append((*cell, (blank, ""), ("│", "faint"), *(right[y] if y < len(right) else ())))
    return rows

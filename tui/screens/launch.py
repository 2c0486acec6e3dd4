"""The Launch screen: pick a recipe, set what matters, see what is wrong beside each field, queue it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Literal

from finetop.core import protocol
from finetop.core.errors import FinetopError
from finetop.core.recipe.sources import list_builtin
from finetop.core.text import clean_line
from finetop.tui.host import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.screens.launch_form import (
    Base,
    Form,
    builtin_base,
    checked,
    edited,
    file_base,
    open_form,
    owner,
    problem_at,
    recipe_files,
    run_base,
    source_of,
    steps_of,
    train_path,
    value_of,
    visible,
)
from finetop.tui.screens.launch_preview import NOTHING, Preview, look_at
from finetop.tui.widgets.entry import Entry, drawn, entry_of, inserted, typed
from finetop.tui.widgets.frame import Answer, Bottom, Top, next_line
from finetop.tui.widgets.lines import Line, Lines, line_width, rule
from finetop.tui.words import count, counted, cut_end, cut_middle
from textual import work
from textual.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from finetop.core.recipe.fields import Field
    from textual import events
    from textual.app import ComposeResult

PAUSE_S = 0.3  # errors show when typing pauses for so long
LABEL = 15  # cells

EDIT = Key("enter", "enter", "edit", "enter", "edit the field; on a recipe: go to its settings")
QUEUE = Key("R", "R", "queue it", "queue", "queue the run", "finetop run RECIPE --set KEY=VALUE")
PART = Key("tab,shift+tab,left,right,h", "tab", "recipes, settings", "part", "recipes or settings")
ALL = Key("v", "v", "all settings", "view", "all settings, or those that matter most", "finetop methods")
UNDO = Key("u", "u", "undo field", "undo", "take the field back to what the recipe says")
BACK = Key("escape", "esc", "back", "back", "back to the runs; the form stays as it is")
MOVES = (
    Key("j,down", "↓ j", "", "move(1)", "next recipe or field"),
    Key("k,up", "↑ k", "", "move(-1)", "recipe or field before"),
    Key("g,home", "g", "", "move(-999)", "first"),
    Key("G,end", "G", "", "move(999)", "last"),
)
KEYS = (EDIT, QUEUE, PART, ALL, UNDO, BACK, *MOVES)
WHILE_TYPING = (
    Key("enter", "enter", "done", "enter", ""),
    Key("up", "↑↓", "other field", "move(1)", ""),
    Key("ctrl+u", "ctrl+u", "clear", "", ""),
)


class LaunchScreen(Screen[None], inherit_bindings=False):
    """Recipes at the left, settings of the one under the cursor at the right, what they mean below."""

    CSS_PATH = "launch.tcss"
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Launch"

    def __init__(self) -> None:
        super().__init__()
        self.bases: list[Base] = []
        self.own_from = 0  # bases from here on are the user's files
        self.form: Form | None = None
        self.base_at = 0
        self.field_at = 0
        self.part: Literal["recipes", "settings"] = "recipes"
        self.all_settings = False
        self.entry: Entry | None = None  # the field that is being typed
        self.preview: Preview = NOTHING
        self._previewed: str | None = None
        self._typed = 0

    def compose(self) -> ComposeResult:
        yield Top("Launch")
        yield Lines(id="form")
        yield Lines(id="pane")
        yield Bottom()

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return KEYS

    def on_mount(self) -> None:
        folder = host_of(self).folder
        self.bases = [builtin_base(recipe.name, recipe.about, folder) for recipe in list_builtin()]
        self.base_at = next((i for i, base in enumerate(self.bases) if base.title == "lora"), 0)
        self.own_from = len(self.bases)
        for path in recipe_files(folder):
            try:
                self.bases.append(file_base(path))
            except FinetopError as error:
                self.bases.append(Base(path.name, str(error), "", folder))
        self._open_base()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def fields(self) -> tuple[tuple[str, Field], ...]:
        return visible(self.form, all_settings=self.all_settings) if self.form is not None else ()

    @property
    def key(self) -> str:
        """The setting under the cursor."""
        fields = self.fields
        return fields[self.field_at][1].key if self.field_at < len(fields) else ""

    def redraw(self) -> None:
        """Write everything again."""
        if self.form is None:
            return
        width, height = self.query_one("#form").size
        left_width = 18 if width < 80 else 24
        left, left_at = self._recipe_lines(left_width)
        right, right_at = self._field_lines(width - left_width - 2, self.form)
        left, right = _scrolled(left, left_at, height), _scrolled(right, right_at, height)
        rows: list[Line] = []
        for y in range(height):
            cell = left[y] if y < len(left) else ()
            blank = " " * (left_width - line_width(cell))
            rows.append((*cell, (blank, ""), ("│", "dim"), *(right[y] if y < len(right) else ())))
        self.query_one("#form", Lines).show(rows)
        self.query_one("#pane", Lines).show(self._pane_lines(self.form, width))
        bottom = self.query_one(Bottom)
        bottom.is_typed_above = self.entry is not None
        bottom.offer([self._next_line(self.form)], self._footer_keys())

    def _recipe_lines(self, width: int) -> tuple[list[Line], int]:
        lines: list[Line] = [((" Recipes", "dim"),)]
        cursor = 0
        for index, base in enumerate(self.bases):
            if index == self.own_from:
                lines += [(), ((" Yours", "dim"),)]
            is_here = index == self.base_at
            if is_here:
                cursor = len(lines)
            name = cut_middle(clean_line(base.title), width - 3)
            lines.append((self._cursor(is_here, "recipes"), (f" {name}", "bold" if is_here else "")))
        return lines, cursor

    def _cursor(self, is_here: bool, part: str) -> tuple[str, Literal["reverse", "bold", ""]]:
        if not is_here:
            return (" ", "")
        return ("▸", "reverse") if part == self.part else ("▸", "bold")

    def _field_lines(self, width: int, form: Form) -> tuple[list[Line], int]:
        about = cut_end(clean_line(form.base.about), max(0, width - len(form.base.title) - 5))
        lines: list[Line] = [((f"  {clean_line(form.base.title)}", "bold"), (f"  {about}", "dim"))]
        fields = self.fields
        label_width = LABEL if not self.all_settings else min(24, max(len(label) for label, _ in fields) + 1)
        cursor = 0
        for index, (label, field) in enumerate(fields):
            is_here = index == self.field_at
            if is_here:
                cursor = len(lines)
            lines.append(self._field_line(form, label, field, is_here=is_here, widths=(width, label_width)))
        if not self.all_settings:
            others = len(form.settings) - len(fields)
            lines.append(((f"   {others} more settings: ", "dim"), ("v", "bold")))
        return lines, cursor

    def _field_line(self, form: Form, label: str, field: Field, *, is_here: bool, widths: tuple[int, int]) -> Line:
        width, label_width = widths
        problem = problem_at(form, field.key)
        here = is_here and self.part == "settings"
        start: Line = (
            (" ", ""),
            self._cursor(is_here and here, "settings"),
            (f" {cut_middle(label, label_width - 1):<{label_width}}", "bold" if here else ""),
        )
        value_width = max(12, min(26, width - label_width - 22))
        if here and self.entry is not None:
            value: Line = drawn(self.entry, value_width)
        else:
            text = clean_line(value_of(form, field.key))
            style: Literal["red", "bold", ""] = "red" if problem else "bold" if field.key in form.edits else ""
            value = ((cut_middle(text, value_width), style),)
        gap = " " * max(2, value_width + 2 - line_width(value))
        return (*start, *value, (gap, ""), *self._aside(form, field, width - label_width - value_width - 5))

    def _aside(self, form: Form, field: Field, width: int) -> Line:
        """Say beside a field what is wrong with it, or what is worth knowing."""
        problem = problem_at(form, field.key)
        if problem is not None:
            return ((cut_end(clean_line(problem.short), width), "red"),)
        if field.key == "data.train" and self.preview.rows:
            about = "about " if self.preview.is_estimate else ""
            return (("✓", "green"), (f" {about}{counted(self.preview.rows, 'row')}", ""))
        if field.key in form.edits and field.key != "name":
            before = value_of(Form(form.base, before=form.before), field.key)
            return ((cut_end(f"recipe: {before or 'none'}", width), "dim"),)
        return ()

    def _pane_lines(self, form: Form, width: int) -> list[Line]:
        """Explain the field under the cursor, show the first row, and say how long the run is."""
        lines: list[Line] = []
        if self.part == "settings" and self.key:
            field = dict((entry.key, entry) for _, entry in self.fields)[self.key]
            problem = problem_at(form, self.key)
            lines.append(rule(((self.key, "bold"),), width, ((cut_end(field.type, width // 2), "dim"), (" ", ""))))
            lines.append(((f" {clean_line(field.about)}", ""),))
            lines.append(((f" {clean_line(problem.whole)}", "red"),) if problem else ())
        else:
            lines.append(rule(((form.base.title, "bold"),), width))
            lines.append(((f" {clean_line(form.base.about)}", ""),))
            others = [problem for problem in form.problems if owner(form, problem.key) not in self._keys_shown()]
            lines.append(((f" ✗ {clean_line(others[0].whole)}", "red"),) if others else ())
        lines.append(rule((("first row", "dim"),), width))
        lines.append(((f" {cut_end(clean_line(self.preview.first), width - 2)}", ""),))
        lines.append(rule((("plan", "dim"),), width))
        lines.append(self._plan_line(form))
        return lines

    def _plan_line(self, form: Form) -> Line:
        if form.loaded is None:
            return ((" known when nothing is left to mend", "dim"),)
        recipe = form.loaded.recipe
        if recipe.model.trust_remote_code:
            return ((f" ✗ runs Python code that comes with {clean_line(recipe.model.id)}", "red"),)
        rows = recipe.train.batch_size * recipe.train.grad_accumulation
        steps = steps_of(form, self.preview.rows) if self.preview.rows else None
        words = f" about {counted(steps, 'step')} of {counted(rows, 'row')}" if steps else f" steps of {counted(rows, 'row')}"
        if recipe.check.at_end and recipe.check.general is not None:
            words += f", then a check on {clean_line(recipe.check.general.suite)} (limit {recipe.check.general.margin:g})"
        return ((words, ""),)

    def _keys_shown(self) -> set[str]:
        return {field.key for _, field in self.fields}

    def _next_line(self, form: Form) -> Line:
        if form.problems:
            first = clean_line(owner(form, form.problems[0].key)) or "the recipe"
            label = next((label for label, field in self.fields if field.key == first), first)
            mend = counted(len(form.problems), "setting")
            if self.part == "settings" and self.key == first:
                return ((" next  ", "bold"), ("enter", "bold"), (f"  set {label}; {mend} to mend", ""))
            return next_line("R", f"go to {label}: {mend} to mend")
        return next_line("R", f"queue {clean_line(value_of(form, 'name'))}")

    def _footer_keys(self) -> Sequence[Key]:
        if self.entry is not None:
            return WHILE_TYPING
        if self.part == "recipes":
            return (Key("enter", "enter", "settings", "enter", ""), QUEUE, ALL, BACK)
        return (EDIT, QUEUE, ALL, UNDO, Key("tab", "tab", "recipes", "part", ""), BACK)

    # --- filling --------------------------------------------------------------------------------------

    def _open_base(self) -> None:
        """Show the recipe under the cursor; what was typed stays typed."""
        edits = dict(self.form.edits) if self.form is not None else {}
        self.form = open_form(self.bases[self.base_at], edits)
        self.field_at = min(self.field_at, max(0, len(self.fields) - 1))
        self._after_check()

    async def fill_from_run(self, run: str) -> None:
        """Fill the form with the settings of a run."""
        host = host_of(self)
        try:
            detail = await host.ask(protocol.GetRun(run))
        except FinetopError as error:
            host.say(str(error), "red")
            return
        base = run_base(clean_line(run), detail.recipe, host.folder)
        self.bases = [base, *(other for other in self.bases if not other.title.startswith("as "))]
        self.own_from = next((i for i, other in enumerate(self.bases) if other.title.endswith((".yaml", ".yml"))), len(self.bases))
        self.form, self.base_at, self.field_at, self.part = open_form(base), 0, 0, "settings"
        self._after_check()

    def _check(self) -> None:
        if self.form is not None:
            self.form = checked(self.form)
            self._after_check()

    def _after_check(self) -> None:
        path = train_path(self.form) if self.form is not None else None
        if path != self._previewed:
            self._previewed, self.preview = path, NOTHING
            if path is not None:
                self._look_at(path)
        self.redraw()

    @work(exclusive=True)
    async def _look_at(self, path: str) -> None:
        preview = await asyncio.to_thread(look_at, path)
        if path == self._previewed:
            self.preview = preview
            self.redraw()

    # --- typing ---------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """While a field is typed, letters are text; keys that do not edit end it."""
        if self.entry is None:
            return
        entry = typed(self.entry, event.key, event.character)
        if entry is not None:
            self._take(entry)
        elif event.key in ("enter", "escape"):
            self._end_typing()
        elif event.key in ("up", "down", "tab"):
            self._end_typing()
            self.action_move(-1 if event.key == "up" else 1)
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self.entry is not None:
            event.stop()
            self._take(inserted(self.entry, event.text))

    def _take(self, entry: Entry) -> None:
        assert self.form is not None
        changed = self.entry is not None and self.entry.text != entry.text
        self.entry = entry
        if changed:
            self.form = edited(self.form, self.key, entry.text)
            self._typed += 1
            at = self._typed
            self.set_timer(PAUSE_S, lambda: self._check() if at == self._typed else None)
        self.redraw()

    def _end_typing(self) -> None:
        self.entry = None
        self._typed += 1
        self._check()

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        if self.part == "recipes":
            at = min(max(0, self.base_at + rows), len(self.bases) - 1)
            if at != self.base_at:
                self.base_at = at
                self._open_base()
        else:
            self.field_at = min(max(0, self.field_at + rows), max(0, len(self.fields) - 1))
            self.redraw()

    def action_part(self) -> None:
        self.part = "settings" if self.part == "recipes" else "recipes"
        self.redraw()

    def action_enter(self) -> None:
        """Go to the settings, and there edit the one under the cursor."""
        if self.part == "recipes":
            self.part = "settings"
            self._go_to_first_problem()
        elif self.form is not None and self.key:
            self.entry = entry_of(value_of(self.form, self.key))
        self.redraw()

    def action_view(self) -> None:
        key = self.key
        self.all_settings = not self.all_settings
        self._put_cursor_on(key)
        self.redraw()

    def action_undo(self) -> None:
        if self.form is not None and self.part == "settings":
            self.form = edited(self.form, self.key, None)
            self._check()

    def action_back(self) -> None:
        host_of(self).show_runs()

    def action_queue(self) -> None:
        """Queue the run; refused while something is to mend, with the cursor on the first."""
        self._check()
        if self.form is None:
            return
        if self.form.loaded is None:
            self.part = "settings"
            self._go_to_first_problem()
            self.redraw()
            host_of(self).say(f"not queued: {self.form.problems[0].whole}", "red")
            return
        model = self.form.loaded.recipe.model
        if model.trust_remote_code:
            words: Line = ((f" Run Python code that comes with {clean_line(model.id)}?", "red"),)
            self.query_one(Bottom).ask(words, [Answer("y", "I have read it", self._submit)], leave="don't")
            return
        self._submit()

    def _go_to_first_problem(self) -> None:
        if self.form is None or not self.form.problems:
            return
        key = owner(self.form, self.form.problems[0].key)
        if key not in self._keys_shown():
            self.all_settings = True
        self._put_cursor_on(key)

    def _put_cursor_on(self, key: str) -> None:
        keys = [field.key for _, field in self.fields]
        self.field_at = keys.index(key) if key in keys else 0

    @work
    async def _submit(self) -> None:
        if self.form is None or self.form.loaded is None:
            return
        host, loaded = host_of(self), self.form.loaded
        try:
            answer = await host.ask(protocol.Submit(loaded.resolved, source_of(self.form), loaded.recipe.name))
        except FinetopError as error:
            host.say(str(error), "red")
            return
        host.show_runs(answer.name)
        host.say(f"{answer.name} is queued, place {count(answer.place)}.")


def _scrolled(lines: list[Line], cursor: int, height: int) -> list[Line]:
    """Give the part of the lines in which the cursor is."""
    if len(lines) <= height:
        return lines
    first = min(max(0, cursor - height // 2), len(lines) - height)
    return lines[first : first + height]

"""The Launch screen: pick a recipe, set what matters, see problems beside each field, queue the run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any

from textual import events, work
from textual.app import ComposeResult
from textual.css.query import NoMatches

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.recipe.load import Loaded
from finetop.core.text import clean_line
from finetop.tui.app_interface import files_are_here, host_of, show_refusals
from finetop.tui.keys import MATCH, MATCHES, NO_MATCH, NO_SEARCH, PAGES, Key, rows_of
from finetop.tui.paths import completed
from finetop.tui.screens.launch import form as forms
from finetop.tui.screens.launch.form import Base, Form
from finetop.tui.screens.launch.lint import LintScreen
from finetop.tui.screens.launch.pane import code_line, pane_lines
from finetop.tui.screens.launch.plan_preview import NOTHING, preview_of
from finetop.tui.screens.launch.recipe_file import command_of
from finetop.tui.screens.launch.search import search, to_match
from finetop.tui.screens.launch.state import LaunchState
from finetop.tui.screens.launch.submit import ask_before, ask_comparison, queue_form, write_recipe
from finetop.tui.screens.launch.sweep import checked_all, swept
from finetop.tui.screens.launch.view import (
    beside,
    field_lines,
    in_border,
    next_words,
    recipe_lines,
    recipes_width,
    scrolled,
)
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.entry import Entry, entry_of, inserted, typed
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines

PAUSE_S = 0.3  # pause in typing before errors are shown
TALL = 34  # rows of the terminal

EDIT = Key("enter", "edit", "enter", "edit the field; on a recipe: go to its settings")
QUEUE = Key(
    "R", "queue it", "queue", "queue the run, or the whole sweep", "finetop run RECIPE --set KEY=VALUE"
)
_EACH_VALUE = "one run for each of several values of this field"
SWEEP = Key("w", "sweep", "sweep", _EACH_VALUE, "finetop run RECIPE --sweep KEY=V,V")
_SIDE_BY_SIDE = "compare prompting, retrieval and training on check.target (asks)"
APPROACHES = Key("C", "compare approaches", "approaches", _SIDE_BY_SIDE, "finetop approaches RECIPE")
WRITE = Key("e", "write file", "write", "write the recipe to a file", "finetop show RUN --recipe")
PART = Key("tab,shift+tab,left,right,h", "recipes, settings", "part", "switch between recipes and settings")
ALL = Key("v", "all settings", "view", "all settings, or the most common", "finetop methods")
SEARCH = Key("slash", "search", "search", "find a recipe or a setting", "finetop methods")
UNDO = Key("u", "reset field", "undo", "reset the field to the recipe's value")
LINT = Key("L", "data", "lint", "findings in the data: duplicates, leaks, damage", "finetop lint RECIPE")
BACK = Key("escape", "back", "back", "back to Runs; the form is kept")
MOVES = (
    Key("j,down", "", "move(1)", "next recipe or field"),
    Key("k,up", "", "move(-1)", "previous recipe or field"),
    Key("g,home", "", "move(-999)", "first"),
    Key("G,end", "", "move(999)", "last"),
    *PAGES,
)
KEYS = (EDIT, QUEUE, SWEEP, APPROACHES, WRITE, PART, ALL, SEARCH, *MATCHES, UNDO, LINT, BACK, *MOVES)
_SETTINGS = Key("", "settings", "enter", sign="enter")
_RECIPES = Key("", "recipes", "part", sign="tab")
_COMPLETE = Key("tab", "complete")
WHILE_TYPING = (
    Key("enter", "done", "enter"),
    Key("up", "other field", "move(1)", sign="↑↓"),
    Key("ctrl+u", "clear"),
)


class LaunchScreen(AppScreen[None], inherit_bindings=False):
    """Recipes on the left, settings of the selected one on the right, explanations below."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Launch"
    state: LaunchState

    def __init__(self) -> None:
        super().__init__()
        self._previewed: str | None = None
        self._typed = 0

    def compose(self) -> ComposeResult:
        yield Top("Launch")
        yield Lines(id="form", box="whole")
        yield Lines(id="pane", box="whole")
        yield Bottom()

    def to_run(self) -> str:
        return command_of(self.state.form)

    def on_mount(self) -> None:
        folder, bases = host_of(self).folder, list[Base]()
        for path in forms.recipe_files(folder):
            try:
                bases.append(forms.file_base(path))
            except FinetopError as error:
                bases.append(Base(path.name, str(error), "", folder))
        first, *others = forms.builtin_bases(folder)
        form = forms.open_form(first, files_are_here=files_are_here(host_of(self)))
        self.state = LaunchState(form, [*bases, first, *others], len(bases))
        self._after_check()

    def on_resize(self) -> None:
        self.set_class(self.size.height >= TALL, "-tall")
        self.call_after_refresh(self.redraw)

    # --- what is seen ---------------------------------------------------------------------------------

    def redraw(self) -> None:
        state = self.state
        form, pane = self.query_one("#form", Lines), self.query_one("#pane", Lines)
        width, height = form.room
        left_width = recipes_width(self.size.width)
        title = [in_border(left_width, has_cursor=state.part == "recipes")] if form.box else []
        height -= len(title)
        left, right = recipe_lines(state, left_width), field_lines(state, width - left_width - 2)
        recipes = scrolled(*left, height, f"{state.base_at + 1} of {len(state.bases)}")
        settings = scrolled(*right, height, f"{state.field_at + 1} of {len(state.fields)}")
        form.show([*title, *beside(recipes, settings, left_width, height)])
        pane.show(pane_lines(state, pane.room.width, pane.room.height))
        bottom = self.bottom
        bottom.is_typed_above = state.entry is not None
        bottom.offer([*filter(None, [code_line(state)]), next_words(state)], footer_keys(state))

    # --- filling --------------------------------------------------------------------------------------

    def _open_base(self) -> None:
        """Show the selected recipe with its edits; the data typed last fills a recipe that names none."""
        state = self.state
        base = state.bases[state.base_at]
        edited_before = state.typed_over.get(base.key)
        if edited_before is not None:
            state.form = checked_all(edited_before)
        else:
            form = forms.open_form(base, files_are_here=files_are_here(host_of(self)))
            needs_data = forms.is_known(form, "data.train") and not forms.shown_value(form, "data.train")
            if state.data and needs_data:
                form = checked_all(forms.edited(form, "data.train", state.data))
            state.form = form
        state.keep_cursor_in()
        self._after_check()

    def go_to_base(self, at: int) -> None:
        if at != self.state.base_at:
            self.state.base_at = at
            self._open_base()
        else:
            self.redraw()

    async def fill_from_run(self, run: str, settings: Mapping[str, Any] | None = None) -> None:
        """Fill the form with a run's settings, overridden by `settings`; the cursor goes to the first of those."""
        host = host_of(self)
        with show_refusals(host):
            detail = await host.ask(GetRun(run))
            base = forms.run_base(clean_line(run), detail.recipe, host.folder)
            self.state.bases = [base, *(other for other in self.state.bases if other.group != base.group)]
            edits = {key: str(value) for key, value in (settings or {}).items()}
            self.state.typed_over.pop(base.key, None)
            self.state.form = forms.open_form(base, edits, files_are_here=files_are_here(host_of(self)))
            self.state.base_at, self.state.field_at, self.state.part = 0, 0, "settings"
            for key in list(edits)[:1]:
                self.state.show_setting(key)
            self._after_check()

    def show_recipe(self, name: str) -> None:
        state = self.state
        state.part = "recipes"
        state.base_at = next((at for at, base in enumerate(state.bases) if base.title == name), state.base_at)
        self._open_base()

    def _check(self) -> None:
        self.state.form = checked_all(self.state.form)
        self._after_check()

    def _after_check(self) -> None:
        state = self.state
        path, loaded = forms.train_path(state.form), state.form.loaded
        # The preview of the form's data may stay while another setting is being fixed.
        if path != self._previewed and (loaded is not None or not forms.value_of(state.form, "data.train")):
            self._previewed, state.preview = path, NOTHING
            if path is not None:
                self._look_at(path)
        if loaded is not None and not state.ahead.is_of(loaded.resolved):
            self._look_ahead(loaded)
        self.redraw()

    @work(exclusive=True, group="outlook")
    async def _look_ahead(self, loaded: Loaded) -> None:
        """Plan, then lint the data; both end when the recipe changes."""
        host = host_of(self)
        ahead, data_lint = self.state.ahead, self.state.data_lint
        for findings_of in (ahead.find(loaded, host), data_lint.find(loaded.resolved, host.homes)):
            async with aclosing(findings_of) as findings:
                async for _ in findings:
                    with suppress(NoMatches):  # the screen is being taken down
                        self.redraw()

    @work(exclusive=True)
    async def _look_at(self, path: str) -> None:
        preview = await asyncio.to_thread(preview_of, path)
        if path == self._previewed:
            self.state.preview = preview
            self.redraw()

    # --- typing ---------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Edit the field being typed; keys that do not edit end it."""
        if self.state.entry is None:
            return
        entry = typed(self.state.entry, event.key, event.character)
        self.state.names = ()
        if entry is not None:
            self._enter(entry)
        elif event.key == "tab" and files_are_here(host_of(self)) and self.state.types_path:
            self._complete(self.state.entry.text)
        elif event.key == "enter":
            self._end_typing()
        elif event.key == "escape":
            self._leave_typing()
        elif event.key in ("up", "down", "tab"):
            self._end_typing()
            self.action_move(-1 if event.key == "up" else 1)
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self.state.entry is not None:
            event.stop()
            self._enter(inserted(self.state.entry, event.text))

    def _enter(self, entry: Entry) -> None:
        changed = self.state.entry is not None and self.state.entry.text != entry.text
        self.state.entry = entry
        if changed:
            self.state.change(forms.edited(self.state.form, self.state.key, entry.text))
            self._typed += 1
            at = self._typed
            self.set_timer(PAUSE_S, lambda: self._check() if at == self._typed else None)
        self.redraw()

    def _complete(self, text: str) -> None:
        longer, self.state.names = completed(text, host_of(self).folder)
        self._enter(entry_of(longer))

    def _leave_typing(self) -> None:
        """End typing; a text that can't be used gives way to the one before."""
        key, before = self.state.key, self.state.before
        typed_text = "" if self.state.entry is None else self.state.entry.text
        self._end_typing()
        if typed_text != before and forms.problem_at(self.state.form, key) is not None:
            self.state.change(forms.edited(self.state.form, key, before))
            self._check()
            host_of(self).say(f"{key} is as before: {clean_line(typed_text) or 'nothing'} can't be used.")

    def _end_typing(self) -> None:
        self.state.entry = None
        self._typed += 1
        self._check()

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        if self.state.part == "recipes":
            shown = self.state.bases_shown
            here = shown.index(self.state.base_at) if self.state.base_at in shown else 0
            if shown:
                self.go_to_base(shown[min(max(0, here + rows), len(shown) - 1)])
        else:
            self.state.field_at += rows
            self.state.keep_cursor_in()
            self.redraw()

    def action_part(self) -> None:
        self.state.part = "settings" if self.state.part == "recipes" and self.state.fields else "recipes"
        self.redraw()

    def action_enter(self) -> None:
        """Go to the settings, or edit the one under the cursor."""
        if self.state.part == "recipes" and self.state.fields:
            self.state.part = "settings"
            self._go_to_first_problem()
        elif self.state.key:
            self.state.before = forms.value_of(self.state.form, self.state.key)
            self.state.entry = entry_of(self.state.before)
        self.redraw()

    def action_view(self) -> None:
        key = self.state.key
        self.state.all_settings = not self.state.all_settings
        self.state.put_cursor_on(key)
        self.redraw()

    def action_search(self) -> None:
        search(self)

    def action_match(self, direction: int) -> None:
        if not self.state.sought:
            host_of(self).say(NO_SEARCH)
        elif not to_match(self, direction):
            host_of(self).say(NO_MATCH)

    def action_page(self, pages: float) -> None:
        self.action_move(rows_of(pages, self.query_one("#form", Lines).room.height))

    def action_undo(self) -> None:
        form, key = self.state.form, self.state.key
        if self.state.part != "settings":
            host_of(self).say("u undoes a setting; tab goes to the settings.")
        elif key in (*form.edits, *form.sweeps):
            self.state.change(forms.edited(swept(form, key, is_swept=False), key, None))
            self._check()
        else:
            host_of(self).say("nothing to reset: it has the recipe's value.")

    def action_sweep(self) -> None:
        """Turn the field under the cursor into a sweep, and edit its values."""
        host, key = host_of(self), self.state.key
        if key in ("", "name"):
            host.say("w sweeps the setting under the cursor: go to one first, e.g. the learning rate.")
            return
        self.state.change(swept(self.state.form, key, is_swept=True))
        self.state.before = value = forms.value_of(self.state.form, key)
        self._enter(entry_of(value if "," in value else f"{value}, "))

    def action_write(self) -> None:
        self._check()
        write_recipe(self, self.state.form)

    def action_lint(self) -> None:
        linted, loaded = self.state.data_lint.linted, self.state.form.loaded
        if linted.report is not None:
            name = clean_line(forms.value_of(self.state.form, "name"))
            self.app.push_screen(LintScreen(name, linted.report))
        else:
            message = "the data check is still running: press L again when it is done."
            if forms.is_command(self.state.form):
                message = "the command reads its own data: nothing to check here."
            elif loaded is None or not loaded.recipe.data.train:
                message = "no data yet: set data."
            elif not files_are_here(host_of(self)):
                message = "the data is on another machine: finetop lint checks it there."
            host_of(self).say(clean_line(linted.trouble) or message)

    def action_back(self) -> None:
        host_of(self).show_runs()

    def action_queue(self) -> None:
        """Queue the run; while a setting is wrong, refuse and go to it."""
        if (form := self._valid_form()) is not None:
            host = host_of(self)
            ask_before(self, form, lambda home: self.run_worker(queue_form(host, form, home)))

    def action_approaches(self) -> None:
        """Queue a comparison of approaches from the form, after confirming the number of runs."""
        form = self._valid_form()
        if form is not None and form.sweeps:
            host_of(self).say("a comparison can't be swept; u undoes the sweep.")
        elif form is not None:
            ask_before(self, form, lambda home: self.run_worker(ask_comparison(self, form, home)))

    def _valid_form(self) -> Form | None:
        """Return the form if all settings are valid; else report the problems, go to the first and return None."""
        self._check()
        form = self.state.shown_form
        if not form.problems and form.loaded is not None:
            return form
        self._go_to_first_problem()
        self.redraw()
        wrong = "; ".join(f"{problem.key}: {problem.short}" for problem in form.problems)
        if form.loaded is not None:  # found in the files: already full sentences that name their place
            wrong = form.problems[0].whole.removesuffix(".")
        host_of(self).say(f"not queued: {wrong}.", "red")
        return None

    def _go_to_first_problem(self) -> None:
        problems = self.state.shown_form.problems
        if not problems:
            return
        key = forms.field_of(self.state.form, problems[0].key)
        if forms.is_known(self.state.form, key):
            self.state.part = "settings"
            self.state.show_setting(key)


def footer_keys(state: LaunchState) -> Sequence[Key]:
    """Return the keys for what the cursor is on, the most used first."""
    if state.entry is not None:
        return (_COMPLETE, *WHILE_TYPING) if state.types_path else WHILE_TYPING
    loaded = state.form.loaded
    compare = (APPROACHES,) if loaded is not None and loaded.recipe.check.target is not None else ()
    search = (MATCH, SEARCH) if state.sought else (SEARCH,)
    if state.part == "recipes":
        return (_SETTINGS, QUEUE, *compare, *search, WRITE, ALL, BACK)
    return (EDIT, QUEUE, SWEEP, *compare, *search, UNDO, _RECIPES, WRITE, ALL, BACK)

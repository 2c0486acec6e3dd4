"""The Launch screen: pick a recipe, set what matters, see what is wrong beside each field, queue it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.css.query import NoMatches
from textual.screen import Screen

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.recipe.load import Loaded
from finetop.core.text import clean_line
from finetop.tui.app_interface import files_are_here, host_of, refusals_said
from finetop.tui.keys import NO_MATCH, NO_SEARCH, bindings, rows_of
from finetop.tui.paths import completed
from finetop.tui.screens.launch.form import (
    IMPORTANT,
    Base,
    Form,
    builtin_bases,
    edited,
    file_base,
    is_known,
    is_path,
    matching,
    open_form,
    owner,
    recipe_files,
    run_base,
    shown_value,
    train_path,
    value_of,
)
from finetop.tui.screens.launch.keys import KEYS, footer_keys
from finetop.tui.screens.launch.lint import DataLint, LintScreen
from finetop.tui.screens.launch.pane import code_line, pane_lines
from finetop.tui.screens.launch.plan_preview import NOTHING, Ahead, Preview, look_at, with_found
from finetop.tui.screens.launch.recipe_file import command_of
from finetop.tui.screens.launch.search import search, to_match
from finetop.tui.screens.launch.submit import ask_before, ask_comparison, queue_form, write_recipe
from finetop.tui.screens.launch.sweep import checked_all, swept
from finetop.tui.screens.launch.view import (
    Part,
    View,
    beside,
    field_lines,
    in_border,
    next_words,
    recipe_lines,
    scrolled,
)
from finetop.tui.widgets.entry import Entry, entry_of, inserted, typed
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines

PAUSE_S = 0.3  # errors show when typing pauses for so long
TALL = 34  # rows of the terminal


class LaunchScreen(Screen[None], inherit_bindings=False):
    """Recipes at the left, settings of the one under the cursor at the right, what they mean below."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Launch"
    form: Form

    def __init__(self) -> None:
        super().__init__()
        self.bases: list[Base] = []
        self.base_at = 0
        self.field_at = 0
        self.part: Part = "recipes"
        self.all_settings = False
        self.entry: Entry | None = None  # the field that is being typed
        self.preview: Preview = NOTHING
        self._previewed: str | None = None
        self.ahead = Ahead()
        self.data_lint = DataLint()
        self._typed = 0
        self.searched = ""  # of recipes or settings, while that is typed
        self.sought = ""  # the last of it: n goes on to the next of these
        self._typed_over: dict[tuple[str, str], Form] = {}  # the edited form of each recipe
        self._data = ""  # the training data that was typed last
        self._names: tuple[str, ...] = ()  # with which the path that is typed may go on

    def compose(self) -> ComposeResult:
        yield Top("Launch")
        yield Lines(id="form", box="whole")
        yield Lines(id="pane", box="whole")
        yield Bottom()

    def to_run(self) -> str:
        """Return the command that queues the form."""
        return command_of(self.form)

    def on_mount(self) -> None:
        folder = host_of(self).folder
        for path in recipe_files(folder):
            try:
                self.bases.append(file_base(path))
            except FinetopError as error:
                self.bases.append(Base(path.name, str(error), "", folder))
        self.base_at = len(self.bases)  # the first of those that come with finetop
        self.bases += builtin_bases(folder)
        self.form = open_form(self.bases[self.base_at], files_are_here=files_are_here(host_of(self)))
        self._after_check()

    def on_resize(self) -> None:
        self.set_class(self.size.height >= TALL, "-tall")
        self.call_after_refresh(self.redraw)

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        """What is seen, as plain data."""
        return View(
            self._form_with_found(),
            self.part,
            self.field_at,
            self.all_settings,
            self.entry,
            self.preview,
            self.ahead.outlook,
            self.data_lint.linted,
            self.searched if self.part == "settings" else "",
            self._names,
        )

    def _form_with_found(self) -> Form:
        """Return the form, with what was found out ahead of just what it says."""
        loaded = self.form.loaded
        if loaded is None or not self.ahead.is_of(loaded.resolved):
            return self.form
        return with_found(self.form, self.ahead.outlook)

    @property
    def key(self) -> str:
        """The setting under the cursor."""
        field = self.view.field
        return field.key if field is not None else ""

    @property
    def bases_shown(self) -> Sequence[int]:
        """The places of the recipes in view: while they are searched those that match."""
        is_searched = self.part == "recipes" and bool(self.searched.strip())
        return matching(self.bases, self.searched) if is_searched else range(len(self.bases))

    def redraw(self) -> None:
        """Write everything again."""
        view = self.view
        form, pane = self.query_one("#form", Lines), self.query_one("#pane", Lines)
        width, height = form.room
        left_width = 18 if width < 80 else 24
        has_cursor = self.part == "recipes"
        title = [in_border(left_width, has_cursor=has_cursor)] if form.box else []
        height -= len(title)
        left = recipe_lines(
            [self.bases[at] for at in self.bases_shown],
            self.bases[self.base_at],
            has_cursor=has_cursor,
            width=left_width,
            edited=self._typed_over,
        )
        right = field_lines(view, width - left_width - 2)
        at_recipe, at_field = (
            f"{at + 1} of {number}"
            for at, number in ((self.base_at, len(self.bases)), (self.field_at, len(view.fields)))
        )
        rows = beside(
            scrolled(*left, height, at_recipe), scrolled(*right, height, at_field), left_width, height
        )
        form.show([*title, *rows])
        pane.show(pane_lines(view, pane.room.width, pane.room.height))
        bottom = self.query_one(Bottom)
        bottom.is_typed_above = self.entry is not None
        has_target = self.form.loaded is not None and self.form.loaded.recipe.check.target is not None
        bottom.offer(
            [*filter(None, [code_line(view)]), next_words(view)],
            footer_keys(
                self.part,
                is_typing=self.entry is not None,
                is_path=self.entry is not None and is_path(self.key, self.entry.text),
                has_target=has_target,
                has_search=bool(self.sought),
            ),
        )

    # --- filling --------------------------------------------------------------------------------------

    def _open_base(self) -> None:
        """Show the recipe under the cursor, with what was typed over it; data goes along to one that names none."""
        base = self.bases[self.base_at]
        edited_before = self._typed_over.get(base.key)
        if edited_before is not None:
            self.form = checked_all(edited_before)
        else:
            self.form = open_form(base, files_are_here=files_are_here(host_of(self)))
            if self._data and is_known(self.form, "data.train") and not shown_value(self.form, "data.train"):
                self.form = checked_all(edited(self.form, "data.train", self._data))
        self._keep_cursor_in()
        self._after_check()

    def go_to_base(self, at: int) -> None:
        """Put the cursor on a recipe, and show it."""
        if at != self.base_at:
            self.base_at = at
            self._open_base()
        else:
            self.redraw()

    def _change(self, form: Form) -> None:
        """Take in a form that was edited, and keep it for when the cursor comes back to its recipe."""
        if form.edits.get("data.train", "") != self.form.edits.get("data.train", ""):
            self._data = form.edits.get("data.train", "")
        self.form = form
        if form.edits or form.sweeps:
            self._typed_over[form.base.key] = form
        else:
            self._typed_over.pop(form.base.key, None)

    async def fill_from_run(self, run: str, settings: Mapping[str, Any] | None = None) -> None:
        """Fill the form with the settings of a run; `settings` are laid over them, with the cursor on the first."""
        host = host_of(self)
        with refusals_said(host):
            detail = await host.ask(GetRun(run))
            base = run_base(clean_line(run), detail.recipe, host.folder)
            self.bases = [base, *(other for other in self.bases if other.group != base.group)]
            edits = {key: str(value) for key, value in (settings or {}).items()}
            self._typed_over.pop(base.key, None)
            self.form = open_form(base, edits, files_are_here=files_are_here(host_of(self)))
            self.base_at, self.field_at, self.part = 0, 0, "settings"
            for key in list(edits)[:1]:
                self.all_settings = self.all_settings or key not in IMPORTANT
                self.put_cursor_on(key)
            self._after_check()

    def show_recipe(self, name: str) -> None:
        """Put the cursor on a recipe, and start from it."""
        self.part = "recipes"
        self.base_at = next((at for at, base in enumerate(self.bases) if base.title == name), self.base_at)
        self._open_base()

    def _check(self) -> None:
        self.form = checked_all(self.form)
        self._after_check()

    def _after_check(self) -> None:
        path, loaded = train_path(self.form), self.form.loaded
        # What was seen of the data that the form names may stay while something else is fixed.
        if path != self._previewed and (loaded is not None or not value_of(self.form, "data.train")):
            self._previewed, self.preview = path, NOTHING
            if path is not None:
                self._look_at(path)
        if loaded is not None and not self.ahead.is_of(loaded.resolved):
            self._look_ahead(loaded)
        self.redraw()

    @work(exclusive=True, group="outlook")
    async def _look_ahead(self, loaded: Loaded) -> None:
        """Plan, then lint the data; both end when the recipe changes."""
        host = host_of(self)
        for findings_of in (self.ahead.find(loaded, host), self.data_lint.find(loaded.resolved, host.homes)):
            async with aclosing(findings_of) as findings:
                async for _ in findings:
                    with suppress(NoMatches):  # the screen is being taken down
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
        self._names = ()
        if entry is not None:
            self._take(entry)
        elif event.key == "tab" and files_are_here(host_of(self)) and is_path(self.key, self.entry.text):
            self._complete(self.entry.text)
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
        changed = self.entry is not None and self.entry.text != entry.text
        self.entry = entry
        if changed:
            self._change(edited(self.form, self.key, entry.text))
            self._typed += 1
            at = self._typed
            self.set_timer(PAUSE_S, lambda: self._check() if at == self._typed else None)
        self.redraw()

    def _complete(self, text: str) -> None:
        """Write a path on as far as it is plain how; else show how it may go on, or that it can't."""
        longer, self._names = completed(text, host_of(self).folder)
        self._take(entry_of(longer))

    def _end_typing(self) -> None:
        self.entry = None
        self._typed += 1
        self._check()

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        if self.part == "recipes":
            shown = self.bases_shown
            here = shown.index(self.base_at) if self.base_at in shown else 0
            if shown:
                self.go_to_base(shown[min(max(0, here + rows), len(shown) - 1)])
        else:
            self.field_at += rows
            self._keep_cursor_in()
            self.redraw()

    def action_part(self) -> None:
        self.part = "settings" if self.part == "recipes" and self.view.fields else "recipes"
        self.redraw()

    def action_enter(self) -> None:
        """Go to the settings, and there edit the one under the cursor."""
        if self.part == "recipes" and self.view.fields:
            self.part = "settings"
            self._go_to_first_problem()
        elif self.key:
            self.entry = entry_of(value_of(self.form, self.key))
        self.redraw()

    def action_view(self) -> None:
        key = self.key
        self.all_settings = not self.all_settings
        self.put_cursor_on(key)
        self.redraw()

    def action_search(self) -> None:
        search(self)

    def action_match(self, direction: int) -> None:
        if not self.sought:
            host_of(self).say(NO_SEARCH)
        elif not to_match(self, direction):
            host_of(self).say(NO_MATCH)

    def action_page(self, pages: float) -> None:
        self.action_move(rows_of(pages, self.query_one("#form", Lines).room.height))

    def action_undo(self) -> None:
        if self.part != "settings":
            host_of(self).say("u undoes a setting; tab goes to the settings.")
        elif self.key in (*self.form.edits, *self.form.sweeps):
            self._change(edited(swept(self.form, self.key, is_swept=False), self.key, None))
            self._check()
        else:
            host_of(self).say("nothing to reset: it has the recipe's value.")

    def action_sweep(self) -> None:
        """Let the field under the cursor hold several values, and type them."""
        if self.key in ("", "name"):
            host_of(self).say(
                "w sweeps the setting under the cursor: go to one first, e.g. the learning rate."
            )
            return
        self._change(swept(self.form, self.key, is_swept=True))
        value = value_of(self.form, self.key)
        self._take(entry_of(value if "," in value else f"{value}, "))

    def action_write(self) -> None:
        """Write the recipe as a file; one that is there is asked about by name."""
        self._check()
        write_recipe(self.query_one(Bottom), host_of(self), self.form)

    def action_lint(self) -> None:
        """Read what was found in the data."""
        linted, loaded = self.data_lint.linted, self.form.loaded
        if linted.report is not None:
            self.app.push_screen(LintScreen(clean_line(value_of(self.form, "name")), linted.report))
        else:
            words = "the data check is still running: press L again when it is done."
            if loaded is None or not loaded.recipe.data.train:
                words = "no data yet: set data."
            host_of(self).say(clean_line(linted.trouble) or words)

    def action_back(self) -> None:
        host_of(self).show_runs()

    def action_queue(self) -> None:
        """Queue the run; refused while a setting is wrong, with the cursor on the first."""
        if (form := self._valid_form()) is not None:
            host = host_of(self)
            ask_before(
                self.query_one(Bottom), host, form, lambda home: self.run_worker(queue_form(host, form, home))
            )

    def action_approaches(self) -> None:
        """Queue a comparison of approaches on what the form says, after asking with how many runs."""
        form = self._valid_form()
        if form is not None and form.sweeps:
            host_of(self).say("a comparison can't be swept; u undoes the sweep.")
        elif form is not None:
            bottom, host, start = self.query_one(Bottom), host_of(self), self.run_worker
            ask_before(
                bottom, host, form, lambda home: start(ask_comparison(bottom, host, start, form, home))
            )

    def _valid_form(self) -> Form | None:
        """Return the form if all settings are valid; else say which is not, and go there."""
        self._check()
        form = self._form_with_found()
        if not form.problems and form.loaded is not None:
            return form
        self._go_to_first_problem()
        self.redraw()
        wrong = "; ".join(f"{problem.key}: {problem.short}" for problem in form.problems)
        if form.loaded is not None:  # found in the files: whole sentences, with their place
            wrong = form.problems[0].whole.removesuffix(".")
        host_of(self).say(f"not queued: {wrong}.", "red")
        return None

    def _go_to_first_problem(self) -> None:
        problems = self._form_with_found().problems
        if not problems:
            return
        key = owner(self.form, problems[0].key)
        if is_known(self.form, key):
            self.part = "settings"
            self.all_settings = self.all_settings or key not in IMPORTANT
            self.put_cursor_on(key)

    def _keep_cursor_in(self) -> None:
        self.field_at = min(max(0, self.field_at), max(0, len(self.view.fields) - 1))

    def put_cursor_on(self, key: str) -> None:
        """Put the cursor on a setting; on the first where that is not shown."""
        keys = [field.key for _, field in self.view.fields]
        self.field_at = keys.index(key) if key in keys else 0

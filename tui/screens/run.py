"""The Run screen: one run live. Curves and log, samples, settings, the check of what it forgot."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.css.query import NoMatches
from textual.screen import Screen

from finetop.core import protocol
from finetop.core.check.telling.result import worst_first
from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.text import clean_line
from finetop.tui.host import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.messages import StoreChanged
from finetop.tui.orders import pause_or_go_on, said
from finetop.tui.run.alarms import alarm_lines
from finetop.tui.run.ask import Order, can_end, kill_question, short_name, stop_question
from finetop.tui.run.check import check_lines, no_check_lines
from finetop.tui.run.flips import answer_lines
from finetop.tui.run.head import TABS, Slow, Tab, head_lines, slowly, tabs_line
from finetop.tui.run.held import (
    Checked,
    Held,
    load_checks,
    load_curves,
    load_detail,
    load_log,
    load_sparks,
    log_job,
)
from finetop.tui.run.keys import KEYS, footer_keys, next_of
from finetop.tui.run.metrics import (
    SPARK,
    Board,
    Layout,
    charted,
    has_failed,
    layout_of,
    metrics_lines,
    numbered,
    series_of,
    wanted_keys,
)
from finetop.tui.run.numbers import drift_limit
from finetop.tui.run.recipe import recipe_lines
from finetop.tui.run.samples import sample_lines
from finetop.tui.run.steps import newest_first, step_lines
from finetop.tui.run.zoom import Axis, Shown, moved, smoother, stretch, zoomed
from finetop.tui.widgets import log
from finetop.tui.widgets.axis import Scale, x_end
from finetop.tui.widgets.chart import View, columns_of, fitted, plot_width
from finetop.tui.widgets.frame import Bottom, Question, Top, next_line
from finetop.tui.widgets.lines import Line, Lines, rule
from finetop.tui.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult

    from finetop.core.check.deciding.verdict import TaskResult
    from finetop.core.run import RunDetail, RunRow


class RunScreen(Screen[None], inherit_bindings=False):
    """One run. Everything is drawn from what is held; keys draw at once, then ask for what is missing."""

    CSS_PATH = "run.tcss"
    BINDINGS: ClassVar = bindings(KEYS)
    TITLE = "Run"

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run
        self.held = Held()
        self.tab: Tab = "metrics"
        self.shown = Shown()  # of the charts
        self.tops: dict[Tab, int] = {}  # the first row in view of the long tabs
        self.log_first: int | None = None  # None: follow the end
        self.chosen_job: int | None = None
        self.all_samples = False
        self.task_at = 0
        self.check_at = 0
        self.step_at = 0
        self.is_reading = False  # whole answers of a task
        self._scales: dict[tuple[object, ...], Scale] = {}
        self._slow: Slow | None = None
        self._trouble = ""
        self._wake = asyncio.Event()

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="head")
        yield Lines(id="body")
        yield Bottom()

    def keys(self) -> tuple[Key, ...]:
        """All keys of this screen, for the help."""
        return KEYS

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def detail(self) -> RunDetail | None:
        return self.held.detail

    @property
    def body_size(self) -> tuple[int, int]:
        size = self.query_one("#body").size
        return size.width, size.height

    @property
    def checked(self) -> Checked | None:
        """The check that is shown."""
        checks = self.held.checks
        return checks[min(self.check_at, len(checks) - 1)] if checks else None

    @property
    def tasks(self) -> Sequence[TaskResult]:
        """The tasks of the check that is shown, as its table has them."""
        return worst_first(self.checked.outcome) if self.checked is not None else ()

    def _layout(self, row: RunRow) -> Layout:
        width, height = self.body_size
        return layout_of(width, height, is_over=has_failed(row))

    def _axis(self, row: RunRow) -> Axis:
        return Axis(x_end(row.step, row.steps), row.step, plot_width(self._layout(row).chart_width))

    def redraw(self) -> None:
        """Write everything again from what is held."""
        host, detail = host_of(self), self.detail
        head, body = self.query_one("#head", Lines), self.query_one("#body", Lines)
        width = self.size.width
        if detail is None:
            words = self._trouble or "asking the supervisor …"
            head.show((((f"   {clean_line(self.run)}", "bold"),), ((f"   {words}", "dim"),)))
            body.show(())
        else:
            self._slow = slowly(self._slow, detail.row, host.now())
            lines, where = self._body_lines(detail)
            tabs = tabs_line(self.tab, detail.row, width, where)
            head.show((*head_lines(detail, self._slow, width, host.now()), tabs))
            body.show(lines)
        bottom = self.query_one(Bottom)
        keys = footer_keys(detail, self.tab, is_zoomed=self.shown != Shown(), is_reading=self.is_reading)
        step = () if detail is None else (next_line(*self._next(detail)),)
        bottom.offer(step, keys)

    def _next(self, detail: RunDetail) -> tuple[str, str]:
        return (
            ("esc", "back to the table of tasks")
            if self.is_reading
            else next_of(detail, self.tab, self.step_at)
        )

    def _body_lines(self, detail: RunDetail) -> tuple[list[Line], str]:
        """Write the tab that is open; and what part of it is seen, where it is longer than its room."""
        width, height = self.body_size
        match self.tab:
            case "metrics":
                return metrics_lines(self._board(detail), width, height), ""
            case "log":
                return self._log_lines(detail, width, height), ""
            case "samples":
                return self._part(sample_lines(detail.samples, width, all_steps=self.all_samples))
            case "recipe":
                return self._part(recipe_lines(detail, width))
            case "check":
                return self._check_lines(detail, width, height)
            case "steps":
                above = alarm_lines(detail, width)
                lines = [*above, *step_lines(detail, self.step_at)]
                return self._part(lines, keep=len(above) + self.step_at + 1)

    def _board(self, detail: RunDetail) -> Board:
        held, shown, row = self.held, self.shown, detail.row
        view = View(held.first, held.last, row.step, shown.cursor, shown.smoothing, shown.is_log)
        is_current = (held.first, held.last) == stretch(shown, self._axis(row))
        scales: dict[str, Scale] = {}
        for key in charted(row, self._layout(row)):
            limit = drift_limit(detail.recipe) if key == "drift" else None
            name = (key, shown.zoom, shown.smoothing, shown.is_log)
            scale = fitted(
                self._scales.get(name) if is_current else None, series_of(key, held.curves), view, limit
            )
            if scale is not None:
                scales[key] = scale
                if is_current:
                    self._scales[name] = scale
        return Board(detail, held.curves, scales, held.sparks, view, held.tail, host_of(self).look.ascii)

    def _log_lines(self, detail: RunDetail, width: int, height: int) -> list[Line]:
        job = log_job(detail, self.chosen_job)
        if job is None:
            return [(), (("   No log yet: nothing has run.", "dim"),)]
        at = f", from line {count(self.log_first + 1)}" if self.log_first is not None else ", newest last"
        other: Line = (("v", "bold"), (" other job's", "dim")) if len(detail.jobs) > 1 else ()
        title = rule(((f"log of job {job.id}, {clean_line(job.verb)}{at}", ""),), width, other)
        return [title, *log.view(self.held.tail, width, height - 1, self.log_first)]

    def _check_lines(self, detail: RunDetail, width: int, height: int) -> tuple[list[Line], str]:
        checked = self.checked
        if checked is None:
            if not detail.checks:
                return no_check_lines(detail.row), ""
            words = "its result can't be read" if self.held.checks_asked else "asking for the result …"
            return [(), ((f"   {words}", "dim"),)], ""
        if self.is_reading and self.tasks:
            task = self.tasks[min(self.task_at, len(self.tasks) - 1)]
            return self._part(answer_lines(checked.outcome, task, detail.row.name, width))
        place = (self.held.checks.index(checked) + 1, len(self.held.checks))
        lines = check_lines(
            checked.outcome,
            detail,
            check_id=checked.check_id,
            at=checked.at,
            place=place,
            cursor=self.task_at,
            width=width,
            height=height,
        )
        return lines, ""

    def _part(self, lines: list[Line], keep: int | None = None) -> tuple[list[Line], str]:
        """Cut a long tab to its room, from where it was scrolled to; `keep` is a row that must be in view."""
        height = self.body_size[1]
        last = max(0, len(lines) - height)
        top = min(self.tops.get(self.tab, 0), last)
        if keep is not None:
            top = min(max(top, keep - height + 1), keep)
        self.tops[self.tab] = top
        where = f"{top + 1}-{min(len(lines), top + height)} of {len(lines)}" if last else ""
        return lines[top : top + height], where

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.redraw()
        self._wake.set()
        self._load_for_ever()

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)
        self._wake.set()

    def on_screen_resume(self) -> None:
        self._wake.set()

    @on(StoreChanged)
    def _store_changed(self) -> None:
        self._wake.set()

    @work
    async def _load_for_ever(self) -> None:
        """Ask for what the open tab needs, one thing after the other; what changes meanwhile is asked for once."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._load()
                self._trouble = ""
            except NoSupervisor:
                continue  # the app says so on its own row, and a StoreChanged comes when it is back
            except FinetopError as error:
                self._trouble = clean_line(str(error))
                if self.detail is not None:
                    host_of(self).say(self._trouble, "red")
            except NoMatches:
                return  # an answer came while the screen is taken down
            if self.is_attached and self.query("#head"):
                self.redraw()

    async def _load(self) -> None:
        host, held = host_of(self), self.held
        is_new = held.detail is None
        await load_detail(host, held, self.run)
        assert held.detail is not None
        if not is_new:
            self.redraw()  # how it stands is seen before the curves have come
        if self.tab == "metrics":
            row, layout = held.detail.row, self._layout(held.detail.row)
            first, last = stretch(self.shown, self._axis(row))
            keys = wanted_keys(charted(row, layout))
            await load_curves(host, held, keys, first, last, columns_of(layout.chart_width))
            await load_sparks(host, held, numbered(row, layout), SPARK)
        if self.tab in ("metrics", "log"):
            await load_log(host, held, log_job(held.detail, self.chosen_job if self.tab == "log" else None))
        if self.tab == "check":
            await load_checks(host, held)

    # --- keys -----------------------------------------------------------------------------------------

    def _open_tab(self, tab: Tab) -> None:
        self.tab = tab
        self.is_reading = False
        self.redraw()
        self._wake.set()

    def action_tab(self, by: int) -> None:
        self._open_tab(TABS[(TABS.index(self.tab) + by) % len(TABS)])

    def action_log(self) -> None:
        self._open_tab("log")

    def action_remedies(self) -> None:
        host_of(self).open_remedies(self.run)

    def action_steps(self) -> None:
        self._open_tab("steps")

    def action_open(self) -> None:
        """Go one level deeper: to what matters most, then to whole answers."""
        detail = self.detail
        if detail is None:
            return
        if self.tab == "check":
            if self.tasks and not self.is_reading:
                self.is_reading = True
                self.tops.pop("check", None)
                self.redraw()
        elif has_failed(detail.row):
            self._open_tab("log")
        else:
            self._open_tab("check")

    def action_back(self) -> None:
        if self.is_reading:
            self.is_reading = False
            self.redraw()
        else:
            self.dismiss()

    def action_view(self) -> None:
        """Turn the view: the check before, another job's log, all samples."""
        detail = self.detail
        if detail is None:
            return
        if self.tab == "check" and self.held.checks:
            self.check_at = (self.check_at + 1) % len(self.held.checks)
            self.task_at, self.is_reading = 0, False
        elif self.tab == "samples":
            self.all_samples = not self.all_samples
        elif self.tab == "log" and detail.jobs:
            ids = [job.id for job in detail.jobs]
            shown = log_job(detail, self.chosen_job)
            self.chosen_job = ids[(ids.index(shown.id) + 1) % len(ids)] if shown is not None else ids[0]
            self.log_first = None
            self._wake.set()
        self.redraw()

    def action_move(self, rows: int) -> None:
        if self.tab == "log":
            self.log_first = log.scrolled(self.held.tail, self.log_first, rows, self.body_size[1] - 1)
        elif self.tab == "check" and not self.is_reading:
            self.task_at = min(max(0, self.task_at + rows), max(0, len(self.tasks) - 1))
        elif self.tab == "steps" and self.detail is not None:
            self.step_at = min(max(0, self.step_at + rows), max(0, len(self.detail.checkpoints) - 1))
        else:
            self.tops[self.tab] = max(0, self.tops.get(self.tab, 0) + rows)
        self.redraw()

    def action_page(self, direction: int) -> None:
        self.action_move(direction * max(1, self.body_size[1] - 2))

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * 1_000_000)

    def action_cursor(self, cells: int) -> None:
        if self.detail is not None:
            self._show(moved(self.shown, self._axis(self.detail.row), cells))

    def action_zoom(self, direction: int) -> None:
        if self.detail is not None:
            self._show(zoomed(self.shown, self._axis(self.detail.row), direction))

    def action_all(self) -> None:
        self._show(replace(self.shown, cursor=None, zoom=None))

    def action_log_scale(self) -> None:
        self._show(replace(self.shown, is_log=not self.shown.is_log))

    def action_smooth(self) -> None:
        self._show(smoother(self.shown))

    def _show(self, shown: Shown) -> None:
        """Look at the charts another way; they are on their tab alone."""
        if self.tab != "metrics":
            return
        if shown.zoom != self.shown.zoom:
            self._scales.clear()
            self._wake.set()
        self.shown = shown
        self.redraw()

    def action_triage(self) -> None:
        """Go to Triage, with the cursor on this run if it was checked."""
        host_of(self).open_triage(self.detail.row.name if self.detail is not None else "")

    def action_new(self) -> None:
        if self.detail is not None:
            host_of(self).open_launch(from_run=self.detail.row.name)

    def action_check(self) -> None:
        """Queue a check: of the checkpoint under the cursor on its tab, else of the newest."""
        if self.detail is None:
            return
        step = None
        if self.tab == "steps" and self.detail.checkpoints:
            step = newest_first(self.detail)[min(self.step_at, len(self.detail.checkpoints) - 1)].step
        self._do(protocol.Check(self.detail.row.name, step))

    def action_stop(self) -> None:
        self._ask(stop_question)

    def action_kill(self) -> None:
        self._ask(kill_question)

    def action_pause(self) -> None:
        if self.detail is None:
            return
        order = pause_or_go_on(self.detail.row)
        if order is not None:
            self._do(order)
        else:
            host_of(self).say(f"{short_name(self.detail.row)} has ended: nothing to pause.")

    def action_retry(self) -> None:
        if self.detail is not None:
            self._do(protocol.Retry(self.detail.row.name))

    def _ask(self, question_of: Callable[[RunDetail, Callable[[Order], object]], Question]) -> None:
        if self.detail is None:
            return
        if not can_end(self.detail.row):
            host_of(self).say(f"{short_name(self.detail.row)} has ended: nothing to stop.")
            return
        question = question_of(self.detail, self._do)
        self.query_one(Bottom).ask(question.words, question.answers, leave=question.leave)

    @work
    async def _do(self, ask: protocol.Ask) -> None:
        """Ask the supervisor to act on the run, and say what came of it."""
        host = host_of(self)
        try:
            answer = await host.ask(ask)
        except FinetopError as error:
            host.say(str(error), "red")
            return
        host.say(said(answer))

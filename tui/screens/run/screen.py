"""The Run screen: one run live, with its curves, log, samples, settings and checks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from textual import on, work
from textual.app import ComposeResult

from finetop.core.features.chat.messages import ChatSide
from finetop.core.protocol.messages.queue import Retry
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import RunDetail
from finetop.core.text import clean_line, count
from finetop.tui.app_interface import ChatStart, host_of, show_refusals
from finetop.tui.keys import NO_MATCH, NO_MORE, NO_SEARCH, rows_of
from finetop.tui.save import Sheet
from finetop.tui.screens.run.grid import metrics_line
from finetop.tui.screens.run.head import OF_CHARTS, TABS, Slow, Tab, head_lines, tabs_line, updated_slow
from finetop.tui.screens.run.keys import KEYS, footer_keys, next_of
from finetop.tui.screens.run.log_tab import go_to_step, load_near, search_line, start_search, to_hit
from finetop.tui.screens.run.outside import ask_to_open
from finetop.tui.screens.run.tabs import body_lines
from finetop.tui.screens.run.view_state import PAGE, ViewState
from finetop.tui.screens.run.zoom import Shown, moved, with_fit_toggled, zoomed
from finetop.tui.screens.shared import run_actions
from finetop.tui.screens.shared.check_action import check
from finetop.tui.screens.shared.fix import fix_of
from finetop.tui.screens.shared.run_actions import QuestionOf, pause_or_go_on, send, short_name
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import LoadedScreen
from finetop.tui.widgets.pointed_lines import PointedLines

SCROLLED: tuple[Tab, ...] = ("log", "samples", "recipe", "system")  # tabs without a cursor
FOLLOW_S = 0.15  # the cursor rests this long before the log is read there


class RunScreen(LoadedScreen, inherit_bindings=False):
    """One run, drawn from the data held here; keys redraw at once and then load what is missing."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Run"

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run
        self.state = ViewState()
        self._slow: Slow | None = None

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="head")
        yield PointedLines(id="body")
        yield Bottom()

    async def to_save(self) -> Sheet:
        return self.state.sheet()

    def to_copy(self) -> str:
        return self.run

    def to_fill(self) -> dict[str, str]:
        return {"RUN": self.run, "STEP": "" if self._step is None else str(self._step)}

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def detail(self) -> RunDetail | None:
        return self.state.held.detail

    @property
    def _step(self) -> int | None:
        """The checkpoint step under the cursor of the steps tab."""
        if self.detail is None or self.state.tab != "steps":
            return None
        chosen = self.state.chosen_step
        return None if chosen is None else chosen.step

    def _measure(self) -> None:
        size = self.query_one("#body").size
        self.state.size = (size.width, size.height)

    def redraw(self) -> None:
        host, detail = host_of(self), self.detail
        head, body = self.query_one("#head", Lines), self.query_one("#body", Lines)
        width = self.size.width
        self._measure()
        if detail is None:
            text = self._trouble or "loading …"
            head.show((((f"   {clean_line(self.run)}", "bold"),), ((f"   {text}", "dim"),)))
            body.show(())
        else:
            self._slow = updated_slow(self._slow, detail.row, host.now())
            lines, where = body_lines(self.state, only_ascii=host.look.ascii)
            tabs = tabs_line(self.state.tab, detail.row, width, where)
            head.show((*head_lines(detail, self._slow, width, host.now()), tabs))
            body.show(lines)
        step = () if detail is None else (next_line(*next_of(self.state)),)
        self.bottom.offer(step, footer_keys(self.state))

    @property
    def has_shown(self) -> bool:
        return self.detail is not None

    # --- what happens ---------------------------------------------------------------------------------

    async def _load(self) -> None:
        self._measure()
        await self.state.load(host_of(self), self.run, self.redraw_soon)
        self.redraw()

    # --- keys -----------------------------------------------------------------------------------------

    def _open_tab(self, tab: Tab) -> None:
        if tab == self.state.tab:
            host_of(self).say(f"already on the {tab} tab.")
        if self.state.tab == "log" and tab in OF_CHARTS and self.detail is not None:
            self.state.follow_log()
        self.state.tab = tab
        self.state.is_reading = False
        self.look_anew()

    def action_tab(self, by: int) -> None:
        self._open_tab(TABS[(TABS.index(self.state.tab) + by) % len(TABS)])

    def action_log(self) -> None:
        """Open the log at the step under the charts' cursor, or at its end."""
        go_to_step(self.state.log, self.state.step if self.state.tab in OF_CHARTS else None)
        self._open_tab("log")

    def action_search(self) -> None:
        """Filter the metrics by name; on any other tab, search the log."""
        if self.state.tab == "metrics":
            keys = lambda: self.state.metric_keys  # noqa: E731
            metrics_line(self.bottom, self.state.grid, keys, self.look_anew, self._search_log)
            return
        if self.state.tab != "log":
            self.action_log()
        search_line(self.bottom, self.state.log, self.look_anew)

    def _search_log(self, text: str) -> None:
        self.action_log()
        start_search(self.state.log, text)
        self.look_anew()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `n` to a new run while there is no search."""
        return self.state.has_search if action == "match" else True

    def action_match(self, direction: int) -> None:
        """Go to the next match in the log, or to the next chart."""
        if self.state.tab == "log":
            self.action_hit(direction)
        else:
            self.action_move(direction)

    def action_hit(self, direction: int) -> None:
        if self.state.tab == "log":
            if not to_hit(self.state.log, direction, goes_round=True):
                has_search = self.state.log.search is not None
                host_of(self).say(NO_MATCH if has_search else NO_SEARCH)
            self.look_anew()
        else:
            host_of(self).say(NO_SEARCH)

    def action_remedies(self) -> None:
        host_of(self).open_remedies(self.run)

    def action_chat(self) -> None:
        """Chat with the run, on the steps tab with the checkpoint under the cursor."""
        step = self._step
        model = None if step is None else ChatSide(f"step {count(step)}", "checkpoint", step=step)
        host_of(self).open_chat(self.run, ChatStart(model))

    def action_steps(self) -> None:
        self._open_tab("steps")

    def action_open(self) -> None:
        """Go one level deeper: the check or log, then full answers; or the chart under the cursor full screen."""
        state = self.state
        if self.detail is None:
            return
        if state.tab == "check":
            if state.tasks and not state.is_reading:
                state.is_reading = True
                state.tops.pop("check", None)
                self.redraw()
        elif state.tab == "steps" and (relative := state.chosen_relative) is not None:
            host_of(self).open_run(relative.name)
        elif state.metric is not None:
            self.action_full()
        else:
            self._open_tab("log" if state.has_failed else "check")

    def action_back(self) -> None:
        if self.state.go_back():
            self.look_anew()
        else:
            self.dismiss()

    def action_view(self) -> None:
        if self.detail is None:
            return
        views = {"check": len(self.state.held.checks), "log": len(self.detail.jobs), "steps": 1, "system": 1}
        if views.get(self.state.tab, 2) < 2:
            host_of(self).say(f"nothing to switch to on the {self.state.tab} tab.")
            return
        self.state.turn_view()
        self.look_anew()

    def _has_no_charts(self) -> bool:
        """Return True if the tab has no charts, after reporting where they are."""
        is_without = self.state.tab not in OF_CHARTS
        if is_without:
            host_of(self).say(f"charts are on {' and '.join(OF_CHARTS)} (tab).")
        return is_without

    def action_move(self, rows: int) -> None:
        if self.state.tab in SCROLLED and not self.state.is_longer:
            host_of(self).say(NO_MORE)
        elif self.detail is not None:
            self.state.move(rows)
            self.redraw()
            if self.state.tab in ("metrics", "log"):  # other tabs hold all of their data already
                self._wake.set()

    def action_page(self, pages: float) -> None:
        is_grid = self.state.tab == "metrics"
        page = PAGE if pages > 0 else -PAGE  # a page of charts can't be halved
        self.action_move(page if is_grid else rows_of(pages, self.state.size[1]))

    def action_full(self) -> None:
        if self.detail is None or self._has_no_charts():
            return
        if self.state.turn_full():
            self._show(replace(self.state.shown, cursor=None))
            self._wake.set()
        else:
            host_of(self).say("no chart to show full screen.")

    def action_event(self, direction: int) -> None:
        if self.detail is None or (self.state.tab != "log" and self._has_no_charts()):
            return
        if not self.state.to_event(direction):
            host_of(self).say("no more alarms, checks or checkpoints in that direction.")
        self.look_anew()
        self._follow()

    @work(exclusive=True, group="log")
    async def _follow(self) -> None:
        """Read the log at the charts' cursor once the cursor rests."""
        await asyncio.sleep(FOLLOW_S)
        step, detail = self.state.step, self.detail
        if step is not None and detail is not None and self.state.tab == "metrics":
            with show_refusals(host_of(self)):
                await load_near(host_of(self), detail, self.state.near, step)
            self.redraw()

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * 1_000_000)

    def action_cursor(self, cells: int) -> None:
        if self.detail is not None and self.state.tab == "samples":
            self.state.turn_pair(cells)
            self.redraw()
        elif self.detail is not None:
            self._show(moved(self.state.shown, self.state.axis, cells))

    def action_zoom(self, direction: int) -> None:
        if self.detail is not None:
            self._show(zoomed(self.state.shown, self.state.axis, direction))

    def action_all(self) -> None:
        self._show(replace(self.state.shown, cursor=None, zoom=None))

    def action_axis(self) -> None:
        if self.detail is not None and not self._has_no_charts():
            self.state.turn_axis()
            self.look_anew()

    def action_fit(self) -> None:
        """End the x axis at the current step, or at the planned end."""
        if self.detail is not None:
            self._show(with_fit_toggled(self.state.shown, self.state.whole_axis))

    def action_log_scale(self) -> None:
        if self.detail is not None:
            self._show(self.state.grid.turn_scale(self.state.metric_keys, self.state.shown))

    def action_smooth(self) -> None:
        if self.detail is not None:
            self._show(self.state.grid.smooth(self.state.metric_keys, self.state.shown))

    def _show(self, shown: Shown) -> None:
        if self._has_no_charts():
            return
        before, self.state.shown = self.state.shown, shown
        if (shown.zoom, shown.is_fit) != (before.zoom, before.is_fit):
            self.state.scales.clear()
            self._wake.set()
        self.redraw()
        if shown.cursor != before.cursor:
            self._follow()

    @on(PointedLines.Pointed)
    @on(PointedLines.Dragged)
    @on(PointedLines.Wheel)
    def _use_mouse(self, event: PointedLines.Used) -> None:
        if self.detail is None:
            return
        shown = self.state.pointed_at(event)
        if shown is not None:
            self._show(shown)
        elif isinstance(event, PointedLines.Wheel) and self.state.tab != "metrics":
            self.action_move(-3 * event.direction)

    def action_triage(self) -> None:
        """Open Triage, with the cursor on this run if it was checked."""
        host_of(self).open_triage(self.detail.row.name if self.detail is not None else "")

    def action_folder(self) -> None:
        """Open the run's folder in another program; if it is on another machine, copy its path."""
        host = host_of(self)
        if self.detail is None:
            return
        home = host.homes[0]
        folder = home.root / self.detail.folder
        if len(host.homes) > 1 or home.link is not None:
            host.copy_text(str(folder))
            return
        newest = self.detail.jobs[-1].folder if self.detail.jobs else ""
        ask_to_open(self.bottom, folder, newest, host.copy_text)

    def action_new(self) -> None:
        if self.detail is not None:
            row = self.detail.row
            host_of(self).open_launch(from_run=row.name, settings=fix_of(row))

    def action_check(self) -> None:
        """Check the checkpoint under the cursor, else the newest, or continue a check with more items."""
        if self.detail is not None:
            row = self.detail.row
            again = row.check is not None and bool(row.check.target_failed)
            self.run_worker(check(self, row.name, self._step, again=again))

    def action_stop(self) -> None:
        self._ask(run_actions.stop_question)

    def action_kill(self) -> None:
        self._ask(run_actions.kill_question)

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
            self._do(Retry(self.detail.row.name))

    def _ask(self, question_of: QuestionOf) -> None:
        if self.detail is None:
            return
        if not self.detail.row.is_under_way:
            host_of(self).say(f"{short_name(self.detail.row)} has ended: nothing to stop.")
            return
        self.put(question_of(self.detail, self._do))

    def _do(self, request: Ask) -> None:
        self.run_worker(send(host_of(self), request))

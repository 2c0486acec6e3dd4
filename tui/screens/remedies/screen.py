"""The Remedies screen: fixes for a run that forgot, without retraining; all scored alike, the best one confirmed."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult

from finetop.core.features.chat.messages import ChatSide
from finetop.core.features.export.messages import Export
from finetop.core.features.remedies import wording as remedies
from finetop.core.features.remedies.messages import Remedies, RemediesAnswer, Remedy, RetrainingRow
from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import RemedyRow
from finetop.core.runtime.files import given_path
from finetop.core.text import clean_line
from finetop.tui.app_interface import ChatStart, files_are_here, host_of, show_refusals
from finetop.tui.keys import Key, moves, rows_of
from finetop.tui.paths import completed
from finetop.tui.save import Sheet
from finetop.tui.screens.remedies import pane
from finetop.tui.screens.remedies.row import head_line, remedy_line, retraining_line
from finetop.tui.screens.remedies.state import RemediesState
from finetop.tui.screens.shared.run_actions import ask_to_end, send
from finetop.tui.text import Line, cut_end, in_view
from finetop.tui.widgets.frame import Answer, Bottom, Top
from finetop.tui.widgets.lines import Lines, set_height
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table

OPEN = Key("enter", "details", "open", "details", "finetop remedy RUN --list --json")
_TRY = "try it, or the marked ones; retrain with its settings"
RUN = Key("R", "try it", "run", _TRY, "finetop remedy RUN [--only NAME]")
_EXPORT_COMMAND = "finetop export RUN --remedy NAME --to DIR"
EXPORT = Key("E", "export", "export", "export it as a full model, verified", _EXPORT_COMMAND)
MARK = Key("space", "mark", "mark", "mark, to try several at once")
STOP = Key("S", "stop", "stop", "stop trying (asks); scores so far are kept", "finetop stop RUN")
SORT = Key("o", "sort", "sort", "sort by gain kept, or in the default order")
METRIC = Key("v", "metric", "view", "next metric of the target")
CHAT = Key("C", "chat", "chat", "chat with its model, side by side with the base", "finetop chat RUN")
COMPARE = Key("c", "compare", "compare", "compare with the retrained runs", "finetop compare RUN RUN")
BACK = Key("escape", "back", "back", "back one level")
MOVES = moves("remedy")
KEYS = (OPEN, RUN, EXPORT, CHAT, MARK, STOP, SORT, METRIC, COMPARE, BACK, *MOVES)
EXPORTABLE = ("ok", "regressed", "no_verdict")  # verdicts of scored remedies
_TRAIN = Key("", "retrain", "run", sign="R")
_SCROLL = Key("", "scroll", sign="↑↓")
LOW = 22  # rows of the terminal; smaller ones show no chart


class RemediesScreen(ListScreen, inherit_bindings=False):
    """The remedies of one run. Rows keep their places while scores arrive; `o` sorts."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Remedies"
    LEAST_S: ClassVar = 0.5

    def __init__(self, run: str) -> None:
        super().__init__()
        self.state = RemediesState(run)

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="title", box="top")
        yield Lines(id="head", box="sides")
        yield Table(self.draw_row, self.draw_heading, id="remedies", box="low")
        yield Lines(id="whole", box="low")
        yield Lines(id="picture", box="whole")
        yield Lines(id="best")
        yield Bottom()

    def to_copy(self) -> str:
        return self.state.run

    def to_fill(self) -> dict[str, str]:
        """Return the values for a command's placeholders; E exports the best remedy."""
        best = self.state.answer.best if self.state.answer is not None else ""
        return {"RUN": self.state.run, "NAME": best}

    async def to_save(self) -> Sheet:
        from finetop.tui.save.tables import remedies

        return remedies(self.state.answer)

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def at(self) -> RemedyRow | RetrainingRow | None:
        cursor, rows = self.query_one(Table).cursor, self.state.rows
        return rows[cursor][1] if cursor < len(rows) else None

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        letter, row = self.state.rows[index]
        if isinstance(row, RetrainingRow):
            return retraining_line(row, letter, has_cursor=has_cursor, width=width)
        return remedy_line(self.state, row, letter, has_cursor=has_cursor, width=width)

    def draw_heading(self, index: int) -> str:
        retrains = isinstance(self.state.rows[index][1], RetrainingRow)
        return "needs training" if retrains else "without training"

    def redraw(self) -> None:
        answer, width = self.state.shown, self.query_one("#title", Lines).room.width
        self.set_class(self.state.is_reading, "-reading")
        title, picture = self.query_one("#title", Lines), self.query_one("#picture", Lines)
        if answer is None:
            title.show((((f" Remedies for {clean_line(self.state.run)}", ""),),))
            self.query_one("#best", Lines).show((((f"   {self._trouble or 'loading …'}", "dim"),),))
            self.bottom.offer([], footer_keys(self.state, None))
            return
        title.show(pane.title_lines(answer, width))
        self.query_one("#head", Lines).show((head_line(answer, width),))
        self.query_one(Table).show(len(self.state.rows))
        picture.show(pane.picture_lines(answer, width=width, height=picture.room.height))
        best = self.query_one("#best", Lines)
        lines = pane.best_lines(answer, width)
        set_height(best, len(lines))
        best.show(lines)
        if self.state.is_reading and self.at is not None and not isinstance(self.at, RetrainingRow):
            whole = self.query_one("#whole", Lines)
            lines, first = pane.detail_lines(answer, self.at, width), max(0, self.state.first)
            self.state.first, lines, where = in_view(lines, first, whole.room.height)
            self.state.is_longer = bool(where)
            whole.show(lines)
        self.show_pane()

    def show_pane(self) -> None:
        if self.state.answer is not None:
            self.bottom.offer(pane.next_lines(self.state.answer, self.at), footer_keys(self.state, self.at))

    @property
    def has_shown(self) -> bool:
        return self.state.answer is not None

    # --- what happens ---------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.set_class(self.size.height < LOW, "-low")

    async def _load_list(self, run: str) -> bool:
        self.state.answer = await host_of(self).ask(Remedies(self.state.run))
        return True

    # --- keys -----------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        if self.state.is_reading:
            self.state.first += rows
            self.redraw()
        else:
            super().action_move(rows)

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * 1_000_000)

    def action_page(self, pages: float) -> None:
        if self.state.is_reading:
            self.action_move(rows_of(pages, self.query_one("#whole", Lines).room.height))
        else:
            super().action_page(pages)

    def action_open(self) -> None:
        """Show the details of a remedy; of one that retrains, open its settings in Launch."""
        if isinstance(self.at, RetrainingRow):
            self.action_run()
        elif self.at is not None:
            self.state.is_reading, self.state.first = True, 0
            self.redraw()

    def action_back(self) -> None:
        if self.state.is_reading:
            self.state.is_reading = False
            self.redraw()
        else:
            super().action_back()

    def action_sort(self) -> None:
        """Sort by verdict and gain; a second press restores the default order."""
        answer = self.state.answer
        if answer is None:
            return
        name = self.at.name if self.at is not None else ""
        worth = {"ok": 0, "no_verdict": 1, "regressed": 2}
        ranked = sorted(answer.rows, key=lambda row: (worth.get(row.verdict, 3), -(row.gain or 0.0)))
        self.state.order = [] if self.state.order else [row.name for row in ranked]
        names = [row.name for _, row in self.state.rows]
        self.query_one(Table).show(len(names), names.index(name) if name in names else 0)
        self.redraw()

    def action_view(self) -> None:
        answer = self.state.answer
        if answer is not None and answer.base:
            metrics = list(dict.fromkeys([answer.metric, *answer.base]))
            self.state.metric = metrics[(metrics.index(self.state.shown_metric) + 1) % len(metrics)]
            self.redraw()
            self.query_one(Table).refresh_rows()

    @work
    async def action_compare(self) -> None:
        """Compare the run with its retrained runs, found by the names that R gives them."""
        host, answer = host_of(self), self.state.answer
        if answer is None:
            return
        own_name = answer.run.rpartition(":")[2]
        begins = tuple(f"{own_name}-{retraining.name}" for retraining in answer.retrainings)
        with show_refusals(host):
            listed: RunsAnswer = await host.ask(Runs(filter=f"{own_name}-"))
            again = [row.name for row in listed.rows if row.name.rpartition(":")[2].startswith(begins)]
            if again:
                host.open_compare([answer.run, *again])
            else:
                host.say("no retrained run yet: R on a row that needs training starts one.")

    def action_mark(self) -> None:
        row = self.at
        if row is None:
            return
        if isinstance(row, RetrainingRow) or row.why_not:
            why = row.why_not or "it retrains the run; R opens Launch with its settings"
            host_of(self).say(f"can't mark it: {why}.")
            return
        self.state.marked ^= {row.name}
        self.query_one(Table).refresh_rows()
        self.action_move(1)

    def action_run(self) -> None:
        """Try the marked remedies, the one under the cursor, or all; open Launch for one that retrains."""
        row, answer = self.at, self.state.answer
        if row is None or answer is None:
            return
        if self.state.marked:
            self._try(sorted(self.state.marked))
        elif isinstance(row, RemedyRow):
            self._ask_which(answer, row)
        elif row.why_not:
            self._do_advised(answer, row)
        else:
            self._train_again(row)

    def _ask_which(self, answer: RemediesAnswer, row: RemedyRow) -> None:
        """Try one remedy; if others are untried too, ask whether to try all."""
        left = remedies.left(answer)
        this_one = Answer("y", "this one", lambda: self._try([row.name]))
        all_left = Answer("a", f"all {len(left)}", lambda: self._try(left))
        if row.why_not and not left:
            self._do_advised(answer, row)
        elif not left or left == [row.name]:
            self._try([row.name])
        else:
            question = f" Try {cut_end(clean_line(row.label), 24)}, or all {len(left)} remaining?"
            if row.why_not:
                question = f" Try the {len(left)} available?"
            price = remedies.price(answer).strip(": ").partition(",")[0]
            answers = [all_left] if row.why_not else [this_one, all_left]
            self.bottom.ask(((question, "bold"), (f"  {price}", "")), answers, leave="cancel")

    def _do_advised(self, answer: RemediesAnswer, row: RemedyRow | RetrainingRow) -> None:
        """Do the advised next step if the remedy under the cursor can't be used; else report why it can't."""
        step = remedies.next_step(answer)
        again = next((retraining for retraining in answer.retrainings if retraining.name == step.name), None)
        if step.do == "confirm":
            self._try([step.name])
        elif step.do == "retrain" and again is not None:
            self._train_again(again)
        else:
            host_of(self).say(f"{clean_line(row.label)}: {clean_line(row.why_not)}.")

    def _train_again(self, row: RetrainingRow) -> None:
        if row.why_not:
            host_of(self).say(f"{clean_line(row.label)}: {clean_line(row.why_not)}.")
            return
        name = f"{self.state.run.rpartition(':')[2]}-{row.name}"
        host_of(self).open_launch(from_run=self.state.run, settings={**row.settings, "name": name})

    def action_chat(self) -> None:
        """Chat with the model of the remedy under the cursor; of one without a model, with the run."""
        row = self.at
        model = None
        if isinstance(row, RemedyRow) and row.verdict in EXPORTABLE:
            model = ChatSide(row.label, "checkpoint", step=row.step, remedy=row.name)
        host_of(self).open_chat(self.state.run, ChatStart(model))

    def action_export(self) -> None:
        """Ask where to export the model of the remedy under the cursor, else of the best."""
        answer = self.state.answer
        if answer is None:
            return
        best = next((remedy for remedy in answer.rows if remedy.name == answer.best), None)
        at = self.at if isinstance(self.at, RemedyRow) else None
        row = at if at is not None and at.verdict in EXPORTABLE else best or at
        if row is None:
            return
        if row.verdict not in EXPORTABLE:
            host_of(self).say("try it first: only scored remedies can be exported.")
            return
        name = answer.run.rpartition(":")[2]
        export = partial(Export, self.state.run, step=answer.step, remedy=row.name)
        host = host_of(self)
        is_here = files_are_here(host)

        def done(text: str, is_kept: bool) -> None:
            with show_refusals(host):
                if is_kept:
                    target = host.folder / given_path(text.strip()) if is_here else text.strip()
                    self._do(export(str(target)))

        self.bottom.ask_text(
            f"export {row.label} to",
            str(host.folder / f"{name}-{row.name}"),
            done=done,
            keep="export",
            leave="cancel",
            complete=(lambda text: completed(text, host.folder)) if is_here else None,
        )

    @work
    async def action_stop(self) -> None:
        host = host_of(self)
        if self.state.answer is None or not self.state.answer.is_under_way:
            host.say("no remedy is running.")
            return
        await ask_to_end(self, self.state.run, self._do)

    def _try(self, names: list[str]) -> None:
        self.state.marked = set()
        self._do(Remedy(self.state.run, self.state.answer.step if self.state.answer else None, names))

    @work
    async def _do(self, request: Ask) -> None:
        if await send(host_of(self), request):
            self.refresh_soon(at_once=True)


# --- the footer ------------------------------------------------------------------------------------------


def footer_keys(state: RemediesState, at: RemedyRow | RetrainingRow | None) -> tuple[Key, ...]:
    """Return the keys of what the cursor is on."""
    answer = state.answer
    if answer is None:
        return (BACK,)
    if state.is_reading:
        return (_SCROLL, BACK) if state.is_longer else (BACK,)
    metric = (METRIC,) if len(answer.base) > 1 else ()
    if answer.is_under_way:
        return (OPEN, STOP, SORT, *metric, BACK)
    if isinstance(at, RetrainingRow):
        return (_TRAIN, COMPARE, BACK)
    export = (EXPORT, CHAT) if at is not None and at.verdict in EXPORTABLE else ()
    return (OPEN, *export, RUN, MARK, SORT, *metric, BACK, COMPARE)

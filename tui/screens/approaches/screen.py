"""The Approaches screen: prompt, examples, retrieval and training side by side, their costs, and the advice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from textual.app import ComposeResult

from finetop.core.features.approaches.messages import Approaches, ApproachesAnswer, ApproachRow
from finetop.core.features.compare import compare_runs
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, PAGES, Key, rows_of
from finetop.tui.save import Sheet
from finetop.tui.screens.approaches import pane
from finetop.tui.screens.approaches.row import Drawn, approach_line, columns_of, head_line, letter_of
from finetop.tui.text import Line, in_view, rule
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines, set_height
from finetop.tui.widgets.list_screen import TALL, ListScreen
from finetop.tui.widgets.scatter import scatter_rule, scatter_title
from finetop.tui.widgets.table import Table

Part = Literal["advice", "picture", "runs"]  # what is below the table
PARTS: tuple[Part, ...] = ("advice", "picture", "runs")
OPEN = Key("enter", "open it", "open", "open the selected run", "finetop show RUN")
APPROACH = Key("j,down", "approach", "move(1)", "next approach", sign="↑↓")
VIEW = Key("v", "costs", "view", "scores or costs")
PART = Key("tab", "advice, chart, runs", "part(1)", "below the table: advice, chart or runs")
PART_BEFORE = Key("shift+tab", "", "part(-1)", "previous part")
RUN = Key("right", "run", "choose(1)", "next run of the approach (another seed)", sign="←→")
RUN_BEFORE = Key("left,h", "", "choose(-1)", "previous run")
PAGE = Key("pagedown", "more", "page(1)", "scroll down in the advice")
COMPARE = Key("c", "compare", "compare", "compare a run of each approach", "finetop compare RUN RUN")
OTHER = Key("right_square_bracket", "other", "other(1)", "next comparison", "finetop approaches", sign="[ ]")
OTHER_BEFORE = Key("left_square_bracket", "", "other(-1)", "previous comparison")
MOVES = (
    Key("k,up", "", "move(-1)", "previous approach"),
    Key("pageup", "", "page(-1)", "scroll up in the advice"),
    *PAGES[2:],
    Key("g,home", "", "move(-1000)", "first approach"),
    Key("G,end", "", "move(1000)", "last approach"),
)
KEYS = (
    *(OPEN, APPROACH, VIEW, PART, PART_BEFORE, RUN, RUN_BEFORE, PAGE, COMPARE, OTHER, OTHER_BEFORE, BACK),
    *MOVES,
)
_SCORES = Key("", "scores", sign="v")


@dataclass
class ApproachesState:
    """A comparison, and how the user looks at it."""

    comparison: str
    answer: ApproachesAnswer | None = None
    part: Part = "advice"
    of_costs: bool = False
    chosen: dict[str, int] = field(default_factory=dict)  # by approach: the index of its selected run
    first: int = 0  # first advice row in view
    has_more: bool = False


class ApproachesScreen(ListScreen, inherit_bindings=False):
    """One comparison; the newest if no name is given."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Approaches"

    def __init__(self, comparison: str = "") -> None:
        super().__init__()
        self.state = ApproachesState(comparison)
        self._columns: list[Drawn] = []
        self._was_answered = False

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="title")
        yield Lines(id="head")
        yield Table(self.draw_row, id="approaches")
        yield Lines(id="picture")
        yield Lines(id="part")
        yield Bottom()

    async def to_save(self) -> Sheet:
        from finetop.tui.save import Sheet, tables

        return Sheet("approaches") if self.state.answer is None else tables.approaches(self.state.answer)

    def to_copy(self) -> str:
        return self.run

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def at(self) -> ApproachRow | None:
        rows = [] if self.state.answer is None else self.state.answer.rows
        cursor = self.query_one(Table).cursor
        return rows[cursor] if cursor < len(rows) else None

    @property
    def run(self) -> str:
        """The selected run of the approach under the cursor; empty if it has none."""
        row = self.at
        return _run_of(row, self.state.chosen) if row is not None else ""

    @property
    def is_tall(self) -> bool:
        return self.size.height >= TALL

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        assert self.state.answer is not None
        row, letter = self.state.answer.rows[index], letter_of(self.state.answer, index)
        return approach_line(row, self._columns, letter, has_cursor=has_cursor, width=width)

    def redraw(self) -> None:
        answer, width = self.state.answer, self.size.width
        self.set_class(answer is None, "-empty")
        title = self.query_one("#title", Lines)
        if answer is None:
            title.show((((" Approaches", "bold"),),))
            text = self._trouble or ("" if self._was_answered else "loading …")
            self.query_one("#part", Lines).show(pane.empty_lines(text))
            self.bottom.offer((), footer_keys(self.state, None))
            return
        self._columns = columns_of(answer, width, of_costs=self.state.of_costs)
        title.show(pane.title_lines(answer, width, of_costs=self.state.of_costs))
        self.query_one("#head", Lines).show((head_line(self._columns),))
        table = self.query_one(Table)
        rows = max(1, min(len(answer.rows), self.size.height - 14))
        set_height(table, rows)
        table.show(len(answer.rows))
        self.show_pane()

    def show_pane(self) -> None:
        answer, width = self.state.answer, self.size.width
        if answer is None:
            return
        picture = self.query_one("#picture", Lines)
        if self.is_tall:
            height = picture.size.height - 1
            drawn = pane.picture_lines(answer, self.at, width=width, height=height)
            picture.show([scatter_rule(answer.metric, width), *drawn])
        self._show_part(answer, width)
        row = self.at
        self.bottom.offer((pane.next_words(answer, row, self.run),), footer_keys(self.state, row))

    def _show_part(self, answer: ApproachesAnswer, width: int) -> None:
        part = self.query_one("#part", Lines)
        height = max(1, part.size.height - 1)
        row = self.at
        self.state.has_more = False
        where = ""
        match self.state.part:
            case "picture" if not self.is_tall:
                title = scatter_title(answer.metric)
                lines = pane.picture_lines(answer, row, width=width, height=height)
            case "runs" if row is not None:
                title = f"runs of {row.name}"
                chosen = next((at for at, run in enumerate(row.runs) if run.name == self.run), 0)
                lines = pane.run_lines(row, chosen, width)
                first = max(0, chosen % max(1, len(row.runs)) + 2 - height)
                lines = lines[first:]
            case _:
                title = "advice, from these numbers only"
                first = max(0, self.state.first)
                self.state.first, lines, where = in_view(pane.advice_lines(answer, width), first, height)
                self.state.has_more = bool(where)
        part.show([rule(((title, ""),), width, ((f"{where} ", "dim"),) if where else ()), *lines])

    @property
    def has_shown(self) -> bool:
        return self.state.answer is not None

    # --- what happens ---------------------------------------------------------------------------------

    async def _load_list(self, run: str) -> bool:
        host, name = host_of(self), self.state.comparison
        if not name:
            comparisons: ApproachesAnswer = await host.ask(Approaches())
            self._was_answered = True
            if not comparisons.comparisons:
                return True
            name = self.state.comparison = comparisons.comparisons[0].name
        answer: ApproachesAnswer = await host.ask(Approaches(name))
        if name != self.state.comparison:
            return False
        row = self.at  # the cursor stays on this approach if the order changes
        self.state.answer = answer
        names = [approach.name for approach in answer.rows]
        if row is not None and row.name in names:
            self.query_one(Table).show(len(names), names.index(row.name))
        return True

    # --- keys -----------------------------------------------------------------------------------------

    def action_page(self, pages: float) -> None:
        """Scroll the advice; on the other parts, move in the table."""
        if self.state.part != "advice":
            super().action_page(pages)
            return
        self.state.first += rows_of(pages, self.query_one("#part").size.height)
        self.show_pane()

    def action_view(self) -> None:
        self.state.of_costs = not self.state.of_costs
        self.redraw()

    def action_part(self, by: int) -> None:
        parts = [part for part in PARTS if part != "picture" or not self.is_tall]
        at = parts.index(self.state.part) if self.state.part in parts else 0
        self.state.part = parts[(at + by) % len(parts)]
        self.show_pane()

    def action_choose(self, by: int) -> None:
        row = self.at
        if row is None or not row.runs:
            return
        names = [run.name for run in row.runs]
        if len(names) == 1 and self.state.part == "runs":
            host_of(self).say(f"{row.name} has one run.")
            return
        self.state.chosen[row.name] = (names.index(self.run) + by) % len(names)
        self.state.part = "runs"
        self.show_pane()

    def action_open(self) -> None:
        if self.run:
            host_of(self).open_run(self.run)
        elif self.at is not None:
            host_of(self).say(f"{self.at.name} has no run.")

    def action_compare(self) -> None:
        rows = [] if self.state.answer is None else self.state.answer.rows
        runs = [run for run in (_run_of(row, self.state.chosen) for row in rows) if run]
        if len(runs) < 2:
            host_of(self).say("a comparison needs at least two runs.")
            return
        host_of(self).open_compare(runs[: compare_runs.MOST_RUNS])

    def action_other(self, by: int) -> None:
        if self.state.answer is None:
            return  # not loaded yet, so there may be others
        names = [comparison.name for comparison in self.state.answer.comparisons]
        if len(names) < 2:
            host_of(self).say("no other comparison.")
            return
        at = names.index(self.state.comparison) if self.state.comparison in names else -1
        self.state.comparison = names[(at + by) % len(names)]
        self.state.first = 0
        self.load_anew()


def _run_of(row: ApproachRow, chosen: dict[str, int]) -> str:
    """Return an approach's selected run, else its first failed one, else its first; empty if it has none."""
    if not row.runs:
        return ""
    failed = next((at for at, run in enumerate(row.runs) if pane.has_failed(run)), 0)
    return row.runs[chosen.get(row.name, failed) % len(row.runs)].name


def footer_keys(state: ApproachesState, row: ApproachRow | None) -> tuple[Key, ...]:
    """Return the footer keys that apply now."""
    rows = 0 if state.answer is None else len(state.answer.rows)
    others = 0 if state.answer is None else len(state.answer.comparisons)
    runs = 0 if row is None else len(row.runs)
    keys = (
        (OPEN, runs > 0),
        (_SCORES if state.of_costs else VIEW, rows > 0),
        (PART, rows > 0),
        (PAGE, state.has_more),
        (RUN, runs > 1),
        (APPROACH, rows > 1),
        (COMPARE, rows > 1),
        (OTHER, others > 1),
        (BACK, True),
    )
    return tuple(key for key, is_of_use in keys if is_of_use)

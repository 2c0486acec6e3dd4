"""The Sweep screen: mean and spread over seeds of each setting of a sweep, with a chart."""

from __future__ import annotations

from textual.app import ComposeResult

from finetop.core.features.compare import compare_runs
from finetop.core.features.sweeps import seed_groups, selection_curve
from finetop.core.features.sweeps.seed_groups import Setting
from finetop.core.protocol.messages.runs import Sweeps, SweepsAnswer
from finetop.core.protocol.runs import Finished
from finetop.core.text import clean_line, counted
from finetop.core.wording.units import metric_words, value
from finetop.tui.app_interface import host_of
from finetop.tui.keys import BACK, PAGES, Key
from finetop.tui.save import Sheet
from finetop.tui.screens.shared.run_status import forgot, mark_of
from finetop.tui.screens.sweep import row as rows
from finetop.tui.screens.sweep.picture import letters, picture_lines
from finetop.tui.screens.sweep.state import SweepData, best
from finetop.tui.text import STEPS_WIDTH, Line, cursor_mark, cut_middle, of_steps, rule, spread, wrapped
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.list_screen import ListScreen
from finetop.tui.widgets.table import Table

ROWS_OF_A_SENTENCE = 4
LOW = 22  # rows of the terminal; smaller ones show no chart
BEST = Key(
    "b", "best", "best", "open the run with the best target that has not regressed", "finetop sweep NAME"
)
OPEN = Key("enter", "open it", "open", "open the selected run", "finetop show RUN")
SETTING = Key("j,down", "setting", "move(1)", "next setting", sign="↑↓")
RUN = Key("right", "seed", "choose(1)", "next run of the setting (another seed)", sign="←→")
RUN_BEFORE = Key("left,h", "", "choose(-1)", "previous run")
PART = Key("tab", "findings", "part", "the runs of the setting, or the findings of the curve")
COMPARE = Key("c", "compare", "compare", "compare the runs of this setting", "finetop compare RUN RUN")
SORT = Key("o", "sort", "sort", "best target first, or in queue order")
SWEEP = Key(
    "right_square_bracket", "other", "sweep(1)", "next sweep, newest first", "finetop sweep", sign="[ ]"
)
SWEEP_BEFORE = Key("left_square_bracket", "", "sweep(-1)", "previous sweep")
MOVES = (
    Key("k,up", "", "move(-1)", "previous setting"),
    *PAGES,
    Key("g,home", "", "move(-1000000)", "first setting"),
    Key("G,end", "", "move(1000000)", "last setting"),
)
KEYS = (OPEN, BEST, SETTING, RUN, RUN_BEFORE, PART, COMPARE, SORT, SWEEP, SWEEP_BEFORE, BACK, *MOVES)


class SweepScreen(ListScreen, inherit_bindings=False):
    """One sweep; the newest if no name is given. Rows keep their places while runs go on; `o` sorts."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Sweep"

    def __init__(self, sweep: str = "") -> None:
        super().__init__()
        self.held = SweepData(sweep)
        self.has_words = False  # the findings of a curve are shown instead of the chart
        self._columns: list[rows.Drawn] = []
        self._curve_widths = rows.CurveWidths(0, False, False)  # used instead for a selection curve
        self._letters: list[str] = []
        self._was_answered = False

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="title")
        yield Lines(id="head")
        yield Table(self.draw_row, id="settings")
        yield Lines(id="picture")
        yield Lines(id="pane")
        yield Bottom()

    async def to_save(self) -> Sheet:
        from finetop.tui.save import tables

        return tables.sweep(self.held.name, self.held.keys, self.held.settings)

    def to_copy(self) -> str:
        return "" if self.at is None else self.held.run_of(self.at).name

    # --- what is seen ---------------------------------------------------------------------------------

    @property
    def at(self) -> Setting | None:
        cursor = self.query_one(Table).cursor
        return self.held.settings[cursor] if cursor < len(self.held.settings) else None

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        letter = self._letters[index] if index < len(self._letters) else ""
        setting, now = self.held.settings[index], host_of(self).now()
        cell = self.held.cell_of(setting)
        if cell is not None:
            widths = self._curve_widths
            return rows.cell_line(cell, setting.runs, widths, letter, has_cursor=has_cursor, now=now)
        return rows.setting_line(setting, self._columns, letter, has_cursor=has_cursor, width=width, now=now)

    def redraw(self) -> None:
        held, width = self.held, self.size.width
        title, head = self.query_one("#title", Lines), self.query_one("#head", Lines)
        self.set_class(not held.settings, "-empty")
        if not held.settings:
            title.show(((((" Sweep", "bold"),)),))
            text = self._trouble or ("" if self._was_answered else "loading …")
            self.query_one("#pane", Lines).show(empty_lines(text))
            self.bottom.offer((), footer_keys(held, None))
            return
        if held.curves is None:
            self._columns = rows.columns_of(width, held.keys, held.settings)
            head.show((rows.head_line(self._columns),))
        else:
            self._curve_widths = rows.curve_widths_of(width, held.curves)
            head.show((rows.curve_head_line(self._curve_widths),))
        self._letters = letters(held)
        title.show((title_line(held, width),))
        self.query_one(Table).show(len(held.settings))
        self.show_pane()

    def show_pane(self) -> None:
        held, width, setting = self.held, self.size.width, self.at
        picture, pane = self.query_one("#picture", Lines), self.query_one("#pane", Lines)
        self.set_class(self.has_words and held.curves is not None, "-words")
        picture.show(picture_lines(held, setting, width=width, height=picture.size.height))
        if self.has_words and held.curves is not None:
            pane.show(words_lines(held.curves, width, pane.size.height))
        elif setting is not None:
            now = host_of(self).now()
            pane.show(pane_lines(held, setting, width=width, height=pane.size.height, now=now))
        self.bottom.offer((next_words(held, setting),), footer_keys(held, setting))

    @property
    def has_shown(self) -> bool:
        return bool(self.held.settings)

    # --- what happens ---------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self.set_class(self.size.height < LOW, "-low")

    async def _load_list(self, run: str) -> bool:
        held, host = self.held, host_of(self)
        if not held.name:
            sweeps: SweepsAnswer = await host.ask(Sweeps())
            self._was_answered = True
            if not sweeps.sweeps:
                return True
            held.name = sweeps.sweeps[0].name
        answer: SweepsAnswer = await host.ask(Sweeps(held.name))
        if held is not self.held:
            return False
        held.update(answer)
        return True

    # --- keys -----------------------------------------------------------------------------------------

    def action_choose(self, by: int) -> None:
        if self.at is not None:
            self.held.choose(self.at, by)
            self.show_pane()

    def action_part(self) -> None:
        if self.held.curves is None:
            host_of(self).say("tab is for selection curves: finetop select RECIPE --curve.")
            return
        self.has_words = not self.has_words
        self.show_pane()

    def action_open(self) -> None:
        if self.at is not None:
            host_of(self).open_run(self.held.run_of(self.at).name)

    def action_best(self) -> None:
        leader = best(self.held)
        if leader is None:
            host_of(self).say(
                "no best yet: it needs two settings, and a run with a target that has not regressed."
            )
        else:
            host_of(self).open_run(leader.name)

    def action_compare(self) -> None:
        """Compare the runs of the setting under the cursor, or one run of each setting if it has a single run."""
        if self.at is None:
            return
        names = [run.name for run in self.at.runs]
        if len(names) < 2:
            names = [self.held.run_of(setting).name for setting in self.held.settings]
        if len(names) < 2:
            host_of(self).say("a comparison needs at least two runs.")
            return
        host_of(self).open_compare(names)
        if len(names) > compare_runs.MOST_RUNS:
            host_of(self).say(f"comparing the first {compare_runs.MOST_RUNS} of {len(names)}.")

    def action_sort(self) -> None:
        setting = self.at
        self.held.sort()
        if setting is not None:
            values = [other.values for other in self.held.settings]
            self.query_one(Table).show(len(values), values.index(setting.values))
        self.redraw()

    def action_sweep(self, by: int) -> None:
        answer = self.held.answer
        if answer is None:
            return  # not loaded yet, so there may be others
        if len(answer.sweeps) < 2:
            host_of(self).say("no other sweep.")
            return
        names = [sweep.name for sweep in answer.sweeps]
        at = names.index(self.held.name) if self.held.name in names else -1
        self.held = SweepData(names[(at + by) % len(names)])
        self.query_one(Table).show(0, 0)
        self.load_anew()


def footer_keys(held: SweepData, setting: Setting | None) -> tuple[Key, ...]:
    """Return the footer keys that apply now."""
    settings, is_curve = len(held.settings), held.curves is not None
    runs = 0 if setting is None else len(setting.runs)
    keys = (
        (OPEN, runs > 0),
        (BEST, settings > 1 and not is_curve),
        (SETTING, settings > 1),
        (PART, is_curve),
        (RUN, runs > 1),
        (COMPARE, runs > 1),
        (SORT, settings > 1),
        (SWEEP, held.answer is not None and len(held.answer.sweeps) > 1),
        (BACK, True),
    )
    return tuple(key for key, is_of_use in keys if is_of_use)


# --- what is said around the table -----------------------------------------------------------------------


def title_line(held: SweepData, width: int) -> Line:
    """Return the title: the sweep, how many of its runs have finished, and its place among the sweeps."""
    name = cut_middle(clean_line(held.name), max(12, width - 48))
    left: Line = ((" Sweep ", ""), (name, "bold"))
    if held.answer is None:
        return left
    # By run number: several selectors can share a run.
    runs = {run.id: run for setting in held.settings for run in setting.runs}
    finished = sum(isinstance(run.state, Finished) for run in runs.values())
    left = (*left, (f"   {finished} of {counted(len(runs), 'run')} finished", ""))
    names = [sweep.name for sweep in held.answer.sweeps]
    if len(names) < 2 or held.name not in names:
        return left
    return spread(left, ((f"sweep {names.index(held.name) + 1} of {len(names)} ", "dim"),), width)


def pane_lines(held: SweepData, setting: Setting, *, width: int, height: int, now: float) -> list[Line]:
    """Return a setting's runs below a rule, the selected one marked, as many as fit."""
    pairs = zip(held.keys, setting.values, strict=False)
    words = ", ".join(f"{rows.short_key(key)} {clean_line(text)}" for key, text in pairs)
    title = cut_middle(words or clean_line(setting.runs[0].name), max(10, width - 30))
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
        numbers += f"  {seed_groups.loss_label([row])} {value(seed_groups.loss(row)):>6}"
    if held.metric:
        numbers += f"  target {value(seed_groups.target(row)):>6}"
    line: Line = (cursor_mark(is_chosen and len(setting.runs) > 1), (mark.mark, mark.style))
    line = (*line, (f" {name:<{cells}}", "bold" if is_chosen else ""))
    return (*line, (f"{numbers}  ", ""), *forgot(row, now))


def words_lines(curves: selection_curve.Curves, width: int, height: int) -> list[Line]:
    """Return the findings from the curve of selected rows."""
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
    """Return the next step: open the best run that has not regressed, else the selected one."""
    if setting is None:
        return ()
    leader = best(held)
    chosen = held.run_of(setting)
    name = cut_middle(clean_line((leader or chosen).name), 24)
    if leader is None:
        return next_line("enter", f"open {name}")
    key = "enter" if leader is chosen else "b"
    return next_line(key, f"open {name}: the best target that has not regressed")


def empty_lines(trouble: str) -> list[Line]:
    """Return the text of an empty screen: the trouble, or how to start a sweep."""
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

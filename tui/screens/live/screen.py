"""The Live screen: a tile for each run in training and for each other running job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.geometry import Size

from finetop.core.errors import NoSupervisor
from finetop.core.protocol import job_kinds
from finetop.core.protocol.messages.queue import LiveRow, Queue, QueueAnswer
from finetop.core.protocol.messages.runs import Runs, RunsAnswer
from finetop.core.protocol.runs import Running, RunRow
from finetop.core.text import clean_line, count
from finetop.core.wording import jobs
from finetop.core.wording.durations import long_span
from finetop.core.wording.units import value
from finetop.tui.app_interface import ChatStart, Host, host_of
from finetop.tui.keys import BACK, PAGES, Key, rows_of
from finetop.tui.screens.queue.state import Entry
from finetop.tui.screens.runs.overlay import Overlay, curve_lines
from finetop.tui.screens.shared.run_status import forgot, mark_of
from finetop.tui.screens.shared.sparklines import Sparklines
from finetop.tui.text import Line, Span, cut_line, cut_middle, leaf, line_width, rule
from finetop.tui.theme import MARKS, Mark
from finetop.tui.widgets.bar import share_bar
from finetop.tui.widgets.frame import Bottom, Top, next_line
from finetop.tui.widgets.lines import Lines
from finetop.tui.widgets.loaded_screen import LoadedScreen

LEAST, BETWEEN = 38, 1  # least cells of a tile, and cells between two
ROWS = 5  # rows of a tile, including a blank one
CHARTED, TALLEST = 12, 20  # rows of a tile that draws its curve as a chart, where all tiles have room for one
FLATTEST = 8  # cells of such a tile's width to one of its rows, at most
SPARK = 16  # columns of its curve

OPEN = Key("enter", "open", "open", "open the run", "finetop open RUN")
MOVES = (
    Key("left,h", "other tile", "move(-1)", "previous tile", sign="←→↑↓"),
    Key("right,l", "", "move(1)", "next tile"),
    Key("k,up", "", "row(-1)", "one row up"),
    Key("j,down", "", "row(1)", "one row down"),
    *PAGES,
    Key("g,home", "", "ends(-1)", "first tile"),
    Key("G,end", "", "ends(1)", "last tile"),
)
MOST = 48  # runs


class LiveScreen(LoadedScreen, inherit_bindings=False):
    """Reloads the running jobs when the store changes, and the curves of the tiles."""

    DEFAULT_CSS = "LiveScreen { overflow: hidden; #state { height: 2; } #tiles { height: 1fr; } }"
    KEYS = (OPEN, *MOVES, BACK)
    TITLE = "Live"

    def __init__(self) -> None:
        super().__init__()
        self.tiles: Sequence[RunRow | Entry] = ()
        self.at = 0
        self._sparklines = Sparklines(SPARK)
        self._curves: dict[int, Overlay] = {}  # by run number
        self._was_answered = False

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="state")
        yield Lines(id="tiles")
        yield Bottom()

    @property
    def has_shown(self) -> bool:
        return bool(self.tiles)

    @property
    def tile(self) -> RunRow | Entry | None:
        return self.tiles[self.at] if self.at < len(self.tiles) else None

    def to_copy(self) -> str:
        return "" if self.tile is None else self.tile.name

    async def _load(self) -> None:
        host, at = host_of(self), None if self.tile is None else _key(self.tile)
        answer: RunsAnswer = await host.ask(Runs("state:running", "newest", 0, MOST))
        self.tiles, self._was_answered = [*answer.rows, *await _side_jobs(host)], True
        keys = [_key(tile) for tile in self.tiles]
        self.at = keys.index(at) if at in keys else min(self.at, max(0, len(keys) - 1))
        self.redraw()
        is_far = any(home.link is not None for home in host.homes)
        shape = self._shape
        for row in answer.rows:
            if shape.is_charted and row.step and not is_far:
                curve = self._curves.setdefault(row.id, Overlay())
                is_new = await curve.load(host.ask, [row], shape.cells - 2, host.now())
            else:
                is_new = await self._sparklines.load(host.ask, row, host.now(), is_far=is_far)
            if is_new:
                self.redraw()

    @property
    def _shape(self) -> Shape:
        return shape_of(len(self.tiles), self.query_one("#tiles").size)

    def _drawn(self, at: int, shape: Shape) -> list[Line]:
        tile, has_cursor, host = self.tiles[at], at == self.at, host_of(self)
        if isinstance(tile, Entry):
            return job_lines(tile, width=shape.cells, has_cursor=has_cursor)
        spark = self._sparklines.drawn.get(tile.id, "")
        lines = tile_lines(tile, spark, width=shape.cells, now=host.now(), has_cursor=has_cursor)
        if shape.is_charted and tile.id in self._curves:
            size = (shape.cells - 2, shape.rows - len(lines))
            chart = curve_lines(self._curves[tile.id], tile, size, host.look)
            lines = [*lines[:2], *lines[3:], *((("  ", ""), *line) for line in chart)] if chart else lines
        return lines

    def redraw(self) -> None:
        state, tiles, bottom = self.query_one("#state", Lines), self.query_one("#tiles", Lines), self.bottom
        if not self.tiles:
            text = "Nothing is running." if self._was_answered else self._trouble or "loading …"
            state.show((((f" {text}", "bold"),),))
            tiles.show(())
            bottom.offer((next_line("esc", "back to Runs"),), (BACK,))
            return
        shape = self._shape
        columns = shape.columns
        drawn = [self._drawn(at, shape) for at in range(len(self.tiles))]
        fit = max(1, tiles.size.height // shape.rows)  # rows of tiles
        first = max(0, self.at // columns - fit + 1)
        tiles.show(laid_out(drawn[first * columns : (first + fit) * columns], shape))
        hidden = len(self.tiles) - min(len(self.tiles) - first * columns, fit * columns)
        more = f"   {self.at + 1} of {len(self.tiles)}" if hidden else ""
        running = jobs.counts(Counter(map(_verb, self.tiles)))
        state.show((((f" {running}", "bold"), (more, "dim")),))
        job = f"the {job_kinds.of(self.tile.row.what).word} of " if isinstance(self.tile, Entry) else ""
        bottom.offer((next_line("enter", f"watch {job}{self.to_copy()}"),), self.KEYS)

    def action_move(self, by: int) -> None:
        self.at = min(max(0, self.at + by), max(0, len(self.tiles) - 1))
        self.redraw()

    def action_row(self, by: int) -> None:
        self.action_move(by * self._shape.columns)

    def action_page(self, pages: float) -> None:
        shape, height = self._shape, self.query_one("#tiles").size.height
        self.action_move(rows_of(pages, height // shape.rows + 2) * shape.columns)

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * len(self.tiles))

    def action_open(self) -> None:
        tile = self.tile
        if tile is None:
            return
        match job_kinds.of(tile.row.what).screen if isinstance(tile, Entry) else "":
            case "remedies":
                host_of(self).open_remedies(tile.name)
            case "chat":
                host_of(self).open_chat(tile.name, ChatStart(joins=True))
            case _:
                host_of(self).open_run(tile.name)


async def _side_jobs(host: Host) -> list[Entry]:
    side_jobs = []
    for home in host.homes:
        try:
            queue: QueueAnswer = await host.ask_on(home, Queue())
        except NoSupervisor:
            continue
        label = home.label if len(host.homes) > 1 else ""
        side_jobs += [Entry(label, row) for row in queue.live if not job_kinds.of(row.what).makes_a_run]
    return side_jobs


def _key(tile: RunRow | Entry) -> tuple[str, str]:
    return tile.name, _verb(tile)


def _verb(tile: RunRow | Entry) -> str:
    return tile.row.what if isinstance(tile, Entry) else tile.made_by


# --- tiles -----------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """How tiles are laid out: how many beside each other, and the cells and rows of each."""

    columns: int
    cells: int
    rows: int

    @property
    def is_charted(self) -> bool:
        return self.rows > ROWS


def shape_of(number: int, size: Size) -> Shape:
    """Return the layout of some tiles: as few columns as give all of them a chart that is not flat, else small ones."""
    most = max(1, (size.width + BETWEEN) // (LEAST + BETWEEN))
    for columns in range(1, most + 1):
        cells = (size.width + BETWEEN) // columns - BETWEEN
        rows = min(TALLEST, size.height // max(1, -(-number // columns)))
        if rows >= CHARTED and cells <= FLATTEST * rows:
            return Shape(columns, cells, rows)
    return Shape(most, (size.width + BETWEEN) // most - BETWEEN, ROWS)


def tile_lines(row: RunRow, spark: str, *, width: int, now: float, has_cursor: bool) -> list[Line]:
    """Draw a run: its name, progress, curve, whether it forgot, and its GPU."""
    number = row.metrics.get(row.main_metric)
    how, gpu = clean_line(row.tuned(leaf(row.model))), _gpu(row)
    curve: Line = ((f"  {how}", "dim"),)
    if number is not None:
        curve = ((f"  {row.main_metric} ", "dim"), (value(number), "bold"), (f"  {spark}", "cyan"))
        gpu = gpu or how
    facts: Line = ((f"  {gpu}  ", "dim"), *(forgot(row, now) if row.step else ()))
    title = _title(mark_of(row), row.name, width, has_cursor=has_cursor)
    return [cut_line(line, width) for line in (title, _progress(row, width), curve, facts)]


def _title(mark: Mark, name: str, width: int, *, has_cursor: bool) -> Line:
    name = cut_middle(clean_line(name), width - 8)
    cursor: Span = ("▸" if has_cursor else " ", "key")
    return rule((cursor, (f"{mark.mark} ", mark.style), (name, "key" if has_cursor else "bold")), width)


def job_lines(job: Entry, *, width: int, has_cursor: bool) -> list[Line]:
    """Draw a job that makes no run, such as a check: its run, progress, phase, speed and place."""
    row = job.row
    assert isinstance(row, LiveRow)
    state = row.state
    mark = MARKS["alarm"] if state.pulse else MARKS["running"]
    done, _, left = jobs.job(row.what, state, row.tried, room=width - 3).partition(", ")
    share = jobs.share(state, row.tried)
    room = width - len(done) - len(left) - 5
    bar: Line = share_bar(share, room, "cyan") if share is not None and room >= 4 else ()
    name, _, counted = jobs.phase(state).partition(", ")
    counted = counted if row.tried is not None else ""
    facts = ", ".join(filter(None, (counted, jobs.speed(state), clean_line(row.on))))
    lines: list[Line] = [
        _title(mark, job.name, width, has_cursor=has_cursor),
        ((f"  {done} ", ""), *bar, (f" {left}", "bold")),
        ((f"  {name}" if name not in done else "", "dim"),),
        ((f"  {facts}", "dim"),),
    ]
    return [cut_line(line, width) for line in lines]


def _progress(row: RunRow, width: int) -> Line:
    state = row.state
    if not row.step or not row.steps:
        words = jobs.phase(state) if isinstance(state, Running) else ""
        return ((f"  {words}", ""),)
    left = "" if row.left_s is None else f" {long_span(row.left_s)} left"
    steps = f"  {count(row.step)} of {count(row.steps)} "
    room = width - len(steps) - len(left) - 1
    if room < 4:
        return ((steps, ""), (left, "bold"))
    return ((steps, ""), *share_bar(row.step / row.steps, room, "cyan"), (left, "bold"))


def _gpu(row: RunRow) -> str:
    words = [row.gpus] if row.gpus else []
    if (busy := row.metrics.get("gpu_util")) is not None:
        words = [f"{row.gpus} at {busy:.0f} %" if row.gpus else f"GPU {busy:.0f} %"]
    if (memory := row.metrics.get("memory_gib")) is not None:
        words.append(f"{memory:.1f} GiB")
    if (speed := row.metrics.get("tokens_per_s")) is not None:
        words.append(f"{speed:,.0f} tok/s")
    return ", ".join(words[:2])


def laid_out(tiles: Sequence[Sequence[Line]], shape: Shape) -> list[Line]:
    """Lay tiles out in columns of equal width."""
    lines: list[Line] = []
    for first in range(0, len(tiles), shape.columns):
        beside = tiles[first : first + shape.columns]
        for y in range(shape.rows):
            line: Line = ()
            for tile in beside:
                cell = tile[y] if y < len(tile) else ()
                line = (*line, *cell, (" " * (shape.cells - line_width(cell) + BETWEEN), ""))
            lines.append(line)
    return lines

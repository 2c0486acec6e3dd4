"""Draws a run as one row of a list; wider terminals show more columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from rich.cells import cell_len

from finetop.core.client.remote.merge_runs import bare
from finetop.core.protocol.run_columns import cell as chosen_cell, is_word, word_of
from finetop.core.protocol.run_filter import is_metric
from finetop.core.protocol.runs import COMMAND, IMPORTED, WATCHED, RunRow
from finetop.core.text import clean_line
from finetop.core.wording.durations import short_span
from finetop.core.wording.units import value
from finetop.tui.screens.runs.state import RunList, time_title
from finetop.tui.screens.shared.run_status import ended_at, forgot, hue, left_of, mark_of, runs_now
from finetop.tui.text import (
    STEPS_WIDTH,
    Line,
    cursor_mark,
    cut_end,
    cut_line,
    cut_middle,
    leaf,
    line_width,
    of_steps,
)
from finetop.tui.theme import MARKS, StyleName

Sparks = dict[int, str]  # run number -> its loss as blocks
EXTRA = 100  # columns shown from this terminal width on give way to chosen ones
NUMBER_WIDTH, TITLE, LOSS_WIDTH = 6, 16, 6
WORD_WIDTHS = {"tags": 14, "note": 24, "model": 16}
ANSWER, TIME = "did it forget?", "time"
ANSWER_WIDTH, ANSWER_WIDEST = 22, 32  # cells on an 80-column terminal, and before other columns grow
WIDEST_NAME, BOTH_TIMES = 40, 126


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, its width, and the terminal width that shows it."""

    title: str
    width: int
    side: Literal["left", "right"]
    from_width: int
    cell: Callable[[RunRow, float, Sparks], str]
    gap: int = 2
    beside_hosts: int = 0  # least terminal width beside hosts, if not from_width plus their column
    key: str = ""  # the key of a chosen column
    style: StyleName | None = ""  # None: the hue of the run
    widest: int = 0  # its most cells on a wide terminal


def _how(row: RunRow, now: float, sparks: Sparks) -> str:
    if row.maker.of_others:  # its method is known once its output is
        return {COMMAND: "cmd", WATCHED: "watch"}.get(row.method, row.method)
    return row.method if row.objective in ("sft", IMPORTED) else row.objective


def _loss(row: RunRow, now: float, sparks: Sparks) -> str:
    number = row.metrics.get(row.main_metric)
    if number is not None and row.main_metric == "reward":
        texts = (f"r {number:.{digits}f}" for digits in (2, 1, 0))
        return next((text for text in texts if len(text) <= LOSS_WIDTH), "-")
    return value(number) if row.main_metric in row.metrics else ""


def _left(row: RunRow, now: float, sparks: Sparks) -> str:
    left_s = left_of(row)
    return "" if left_s is None else short_span(left_s)


def _age(row: RunRow, now: float, sparks: Sparks) -> str:
    return "" if (ended := ended_at(row)) is None else short_span(now - ended)


def _time(row: RunRow, now: float, sparks: Sparks) -> str:
    """Return the time left or the age, for terminals too narrow for both columns."""
    return _left(row, now, sparks) or ("" if runs_now(row) else _age(row, now, sparks))


def _speed(row: RunRow, now: float, sparks: Sparks) -> str:
    speed = row.metrics.get("tokens_per_s")
    return "" if speed is None else f"{speed:,.0f}"


COLUMNS = (
    Column("how", 5, "left", 80, _how, gap=1, beside_hosts=90, widest=21, style="dim"),
    Column("step", STEPS_WIDTH, "right", 80, lambda row, *_: of_steps(row.step, row.steps), beside_hosts=80),
    Column("loss", LOSS_WIDTH, "right", 80, _loss, gap=1, beside_hosts=97),
    Column(TIME, 4, "right", 80, _time, beside_hosts=80),
    Column("age", 4, "right", 126, _age),
    Column("model", 14, "left", 100, lambda row, *_: leaf(row.model), widest=26, style="dim"),
    Column("tok/s", 6, "right", 118, _speed, style="dim"),
    Column("curve", 10, "left", 118, lambda row, now, sparks: sparks.get(row.id, ""), style=None),
    Column("tags, note", 18, "left", 146, lambda row, *_: " ".join([*row.tags, row.note]), widest=40),
)
_KEYS: Mapping[str, Sequence[str]] = {  # of the usual columns
    "how": ("method",), "step": ("step", "steps"), "loss": ("loss",), TIME: ("age",), "age": ("age",),
    "model": ("model",), "tok/s": ("tokens_per_s",), "tags, note": ("tags", "note"),
}  # fmt: skip
HOST = Column("host", 9, "left", 60, lambda row, *_: row.host)  # shown if the list covers several machines


def head_line(runs: RunList, width: int) -> Line:
    """Write the titles of the columns; where the list has parts, each of them says in its heading what its time is."""
    name, columns = _laid_out(width, runs.has_hosts, runs.columns)
    time = "" if runs.has_parts else time_title(runs.pages.rows.values())
    titles = "".join(
        " " * column.gap + _aside(time if column.title == TIME else column.title, column)
        for column in columns
    )
    return ((f"    {'run':<{name}}{titles}  {ANSWER}", "dim"),)


def part_heading(runs: RunList, heading: str, width: int) -> str:
    """Return the heading of a part of the list, with the part's own title for the time column."""
    at, columns = _laid_out(width, runs.has_hosts, runs.columns)
    time = runs.titles[heading]
    at += 4
    for column in columns:
        at += column.gap + column.width
        if column.title == TIME:
            return f"{heading:<{at - 1 - len(time)}}{time}" if width < BOTH_TIMES else heading
    return heading


def run_line(runs: RunList, row: RunRow, *, has_cursor: bool = False, width: int, now: float) -> Line:
    """Write a run as a row of the list, `width` cells wide at most."""
    mark, is_marked = mark_of(row), row.id in runs.marked
    name_width, columns = _laid_out(width, bool(row.host), runs.columns)
    name = cut_middle(clean_line(bare(row)), name_width)
    marked: Line = ((MARKS["marked"].mark, MARKS["marked"].style) if is_marked else (" ", ""),)
    cells: Line = (cursor_mark(has_cursor), *marked, (mark.mark, mark.style), (" ", ""))
    style: StyleName = "bold" if has_cursor or is_marked else ""
    cells = (*cells, (name, style), (" " * (name_width - cell_len(name)), ""))
    for column in columns:
        text = clean_line(column.cell(row, now, runs.sparklines.drawn))
        style = hue(row) if column.style is None else column.style
        cells = (*cells, (" " * column.gap + _aside(text, column), style))
    room = width - line_width(cells) - 2
    return (*cells, ("  ", ""), *cut_line(forgot(row, now, room, name_suite=runs.name_suite), room))


def keys_on_screen(width: int, *, has_hosts: bool = False, chosen: Sequence[str] = ()) -> set[str]:
    """Return the keys of the columns that a terminal of this width shows without choosing them."""
    titles = [column.title for column in _columns(width, has_hosts, tuple(chosen)) if not column.key]
    return {"verdict", *(key for title in titles for key in _KEYS.get(title, ()))}


def needed_width(chosen: Sequence[str], *, has_hosts: bool = False) -> int:
    """Return the least terminal width that shows all chosen columns."""

    def shown(width: int) -> set[str]:
        return {column.key or column.title for column in _columns(width, has_hosts, tuple(chosen))}

    return next((width for width in range(60, 500) if shown(width) >= set(chosen)), 500)


@lru_cache(maxsize=64)
def _laid_out(width: int, has_hosts: bool, chosen: tuple[str, ...]) -> tuple[int, list[Column]]:
    """Return the width of the name, and the columns; spare cells widen names and text columns."""
    columns = _columns(width, has_hosts, chosen)
    name = _name_width(width)
    spare = width - 4 - name - sum(column.width + column.gap for column in columns) - 2 - ANSWER_WIDEST
    more = min(max(0, spare), WIDEST_NAME - name)
    name, spare = name + more, spare - more
    wider = []
    for column in columns:
        more = min(max(0, spare), max(0, column.widest - column.width))
        spare -= more
        cell = _left if column.title == TIME and width >= BOTH_TIMES else column.cell
        title = "left" if column.title == TIME and width >= BOTH_TIMES else column.title
        wider.append(replace(column, title=title, width=column.width + more, cell=cell))
    return name, wider


def _name_width(width: int) -> int:
    return 20 if width < 100 else 22 if width < 120 else 24


def _columns(width: int, has_hosts: bool, chosen: tuple[str, ...] = ()) -> list[Column]:
    """Return the columns of a terminal; chosen ones that fit come before those of a wide terminal."""
    columns = _usual(width, has_hosts)
    if not chosen:
        return columns
    always = [column for column in columns if column.from_width < EXTRA]
    used = sum(column.width + column.gap for column in always)
    room = width - 4 - _name_width(width) - 2 - ANSWER_WIDTH - used
    for column in (*map(_chosen, chosen), *(usual for usual in columns if usual.from_width >= EXTRA)):
        titles = {shown.title for shown in always}
        if column.width + column.gap <= room and column.title not in titles:
            always.append(column)
            room -= column.width + column.gap
    return always


def _usual(width: int, has_hosts: bool) -> list[Column]:
    if not has_hosts:
        return [column for column in COLUMNS if width >= column.from_width]
    host_width = HOST.width + HOST.gap
    return [HOST, *(each for each in COLUMNS if width >= (each.beside_hosts or each.from_width + host_width))]


def _chosen(key: str) -> Column:
    """Return a column for a metric, setting or tags; its title is the last part of the key."""
    title = cut_middle(key.rpartition(".")[2], TITLE)
    width = max(cell_len(title), WORD_WIDTHS.get(key, 10) if is_word(key) else NUMBER_WIDTH)

    def cell(row: RunRow, now: float, sparks: Sparks) -> str:
        content = chosen_cell(row, key, now)
        if content is None or isinstance(content, str):
            return cut_end(content or "", width)
        if key == "age":
            return short_span(content)
        return value(content) if is_metric(key) else word_of(content)

    return Column(title, width, "left" if is_word(key) else "right", 0, cell, key=key)


def _aside(text: str, column: Column) -> str:
    """Align a cell's text; text that is too long is cut, a number is replaced by '-'."""
    if cell_len(text) > column.width:
        text = cut_end(text, column.width) if column.side == "left" else "-"
    blank = " " * (column.width - cell_len(text))
    return text + blank if column.side == "left" else blank + text

"""How commands print and ask: tables with right-aligned numbers, one JSON document with a schema number, yes or no."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from finetop.core.commands.shared import colour
from finetop.core.commands.shared.table_layout import GAP, INDENT, Layout, cut, lay_out, natural, wrapped
from finetop.core.errors import BadInput
from finetop.core.protocol import runs as data
from finetop.core.protocol.events import NOT_READABLE, NOTHING_READ
from finetop.core.text import clean_line, json_safe
from finetop.core.wording import jobs, pulse
from finetop.core.wording.columns import Column, Row, cells, known, right, titles
from finetop.core.wording.endings import state_word
from finetop.core.wording.queue import why

SCHEMA = 1


def print_json(document: dict[str, Any]) -> None:
    """Print one document: `schema` first, then the answer."""
    print(json_safe(msgspec.json.encode({"schema": SCHEMA, **document}).decode()), flush=True)


def reply(args: argparse.Namespace, document: dict[str, Any], text: str) -> int:
    """Print the document with --json, else the text. Returns exit code 0."""
    print_json(document) if args.json else print(text)
    return 0


def plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def print_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    prose: Collection[int] = (),
    drop: Sequence[int] = (),
    below: Sequence[Sequence[str]] = (),
    above: Mapping[int, str] | None = None,
) -> None:
    """Print rows under a head, columns as wide as they need, those in `right` right-aligned.

    On a terminal the table is at most as wide as the screen: see `lay_out` for `prose` and `drop`. `below` holds the
    lines to print under each row, `above` a line above some.
    """
    cells = [[clean_line(cell) for cell in row] for row in (head, *rows)]
    widths = widths_of(cells)
    room = terminal_width()
    layout = natural(widths)
    if room is not None:
        word = max((len(word) for row in cells for word in row[-1].split()), default=0)
        heads = list(map(len, cells[0]))
        layout = lay_out(widths, heads, room, right=right, prose=prose, drop=drop, longest_word=word)
    for number, row in enumerate(cells):
        if above and number - 1 in above:
            print(above[number - 1])
        for at, columns in enumerate(layout.lines):
            _print_line(row, columns, layout, right, prose, indent=INDENT * (at > 0), is_head=not number)
        for under in below[number - 1] if below and number else ():
            print(under)
    if layout.left_out:
        print(f"Too narrow for {', '.join(cells[0][at] for at in layout.left_out)}: a pipe has them (| cat).")


def print_columns(
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    *,
    drop: Sequence[Column[Row]] = (),
    below: Sequence[Sequence[str]] = (),
) -> None:
    """Print a table without the columns that only a file has, or that no row has.

    On a narrow terminal those in `drop` are left out, in this order; `below`: see `print_table`.
    """
    listed = known([column for column in columns if not column.in_files_alone], rows)
    prose = [place for place, column in enumerate(listed) if column.is_prose]
    places = [listed.index(column) for column in drop if column in listed]
    print_table(
        titles(listed), cells(listed, rows), right=right(listed), prose=prose, drop=places, below=below
    )


def terminal_width() -> int | None:
    """Return how many cells a line of stdout may have; None if it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def widths_of(cells: Sequence[Sequence[str]]) -> list[int]:
    """Return the natural width of each column of rows, the head among them."""
    return [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]


def _print_line(
    row: Sequence[str],
    columns: Sequence[int],
    layout: Layout,
    right: Collection[int],
    prose: Collection[int],
    *,
    indent: int,
    is_head: bool,
) -> None:
    """Print one line of a row; the table's last column goes on below itself."""
    filled = [column for column in columns if row[column]]
    if not filled and columns is not layout.lines[0]:
        return
    start, rest = indent, []
    colour.write(" " * indent)
    for column in columns[: columns.index(filled[-1]) + 1 if filled else 1]:
        cell, width = row[column], layout.widths[column]
        is_last = not filled or column == filled[-1]
        if column == len(row) - 1:
            cell, *rest = wrapped(cell, width) if len(cell) > width else [cell]
        elif column in prose:
            cell = cut(cell, width)
        text = cell.rjust(width) if column in right else cell if is_last else cell.ljust(width)
        colour.write(text, colour.DIM if is_head else colour.tone(row[column]))
        if not is_last:
            start += width + GAP
            colour.write("  " if len(cell) <= width else f"\n{' ' * start}")  # a long name has its own line
    print()
    for text in rest:
        colour.write(" " * start)
        colour.write(text, colour.DIM if is_head else "")
        print()


def state_words(row: data.RunRow) -> str:
    """Return a run's state in words, with its cause or phase."""
    words = _state_words(row)
    return f"{words}, no numbers" if row.alarm in (NOTHING_READ, NOT_READABLE) else words


def _state_words(row: data.RunRow) -> str:
    state = row.state
    if isinstance(state, data.Queued):
        return queued_words(state)
    if isinstance(state, data.Running) and state.pulse:
        return f"{pulse.label(state)} {pulse.details(state)}"
    if isinstance(state, data.Running):
        return jobs.requested_end(row.made_by, state) if state.asked else state.phase or "running"
    if isinstance(state, data.Failed | data.Lost):
        return f"{data.word(state).upper()} {state.cause}"
    if isinstance(state, data.Finished) and state.cause and not row.maker.of_others:
        return f"{data.word(state)} early"
    return state_word(state)


def queued_words(state: data.Queued) -> str:
    """Return why a run waits: its place in the queue, the run that it begins from, or that it is held or paused."""
    if state.because in ("", data.FOR_A_SLOT):
        return f"queued, place {state.place}"
    reason = why(state, time.time())
    return reason if state.held else f"queued, {reason}"


def warn(text: str) -> None:
    print(f"finetop: {text}", file=sys.stderr)


def is_to_ask(args: argparse.Namespace) -> bool:
    """Return True if there is a terminal to ask at and --yes was not given."""
    return not (args.yes or args.json) and sys.stdin.isatty()


def agreed(args: argparse.Namespace, question: str) -> bool:
    """Ask on the terminal, unless --yes was given. Raises BadInput if nobody can answer."""
    if args.yes:
        return True
    if args.json or not sys.stdin.isatty():
        raise BadInput("nothing was done: no terminal to ask for confirmation.", hint="Add --yes to do it.")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")

"""How commands print and ask: tables with right-aligned numbers, one JSON document with a schema number, yes or no."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from finetop.core.commands.shared import colour
from finetop.core.errors import BadInput
from finetop.core.protocol import runs as data
from finetop.core.protocol.events import NOTHING_READ
from finetop.core.text import clean_line, json_safe
from finetop.core.wording import jobs, pulse
from finetop.core.wording.endings import state_word
from finetop.core.wording.queue import why
from finetop.core.wording.verdicts import short_answer

SCHEMA = 1
NARROWEST = 8  # fewest cells of a text column


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
    right: Sequence[int] = (),
    below: Sequence[Sequence[str]] = (),
    above: Mapping[int, str] | None = None,
    widest: int | None = None,
) -> None:
    """Print rows under a head, columns as wide as they need, those in `right` right-aligned.

    On a terminal the table is at most as wide as the screen: words are cut, numbers never. Elsewhere a column of words
    has at most `widest` cells, if given. `below` holds the lines to print under each row, `above` a line above some.
    """
    cells = [[clean_line(cell, limit=200) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    if sys.stdout.isatty():
        widths = _fitted(widths, right, shutil.get_terminal_size().columns)
    elif widest is not None:
        widths = [width if at in right else min(width, widest) for at, width in enumerate(widths)]
    for number, row in enumerate(cells):
        if above and number - 1 in above:
            print(above[number - 1])
        last = max((column for column, cell in enumerate(row) if cell), default=0)  # no trailing blanks
        for column, (cell, width) in enumerate(zip(row[: last + 1], widths, strict=False)):
            text = cell.rjust(width) if column in right else _cut(cell, width, in_middle=column == 0)
            is_last = column == last
            colour.write(text.rstrip() if is_last else text, colour.DIM if not number else colour.tone(cell))
            print("" if is_last else "  ", end="\n" if is_last else "")
        for under in below[number - 1] if below and number else ():
            print(under)


def _fitted(widths: Sequence[int], right: Sequence[int], room: int) -> list[int]:
    """Narrow the widest columns of words, one cell at a time, until the table fits or none can be narrowed."""
    fitted = list(widths)
    text_columns = [column for column in range(len(fitted)) if column not in right]
    while sum(fitted) + 2 * (len(fitted) - 1) > room and text_columns:
        widest = max(text_columns, key=lambda column: fitted[column])
        if fitted[widest] <= NARROWEST:
            break
        fitted[widest] -= 1
    return fitted


def _cut(text: str, width: int, *, in_middle: bool) -> str:
    """Cut words to a column's width; a name is cut in its middle, because its end tells it from others."""
    if len(text) <= width:
        return text.ljust(width)
    tail = (width - 1) // 2 if in_middle else 0
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def state_words(row: data.RunRow) -> str:
    """Return a run's state in words, with its cause or phase."""
    return f"{_state_words(row)}, no numbers" if row.alarm == NOTHING_READ else _state_words(row)


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
    if isinstance(state, data.Finished) and state.cause and row.made_by not in data.OF_OTHERS:
        return f"{data.word(state)} early"
    return state_word(state)


def queued_words(state: data.Queued) -> str:
    """Return why a run waits: its place in the queue, the run that it begins from, or that it is held or paused."""
    if state.because in ("", data.FOR_A_SLOT):
        return f"queued, place {state.place}"
    reason = why(state, time.time())
    return reason if state.held else f"queued, {reason}"


def answer_words(row: data.RunRow, *, name_suite: bool | None = None) -> str:
    """Return the answer to 'did it forget?' in words: side jobs under way, and the newest verdict."""
    parts = [jobs.job(job.verb, job.state, job.tried) for job in row.side_jobs]
    if row.check is not None:
        parts.append(short_answer(row.check, name_suite=name_suite))
    if parts:
        return "; ".join(parts)
    if row.method == data.NO_WEIGHT:
        return "same weights"
    drift = row.metrics.get("drift")
    return "" if drift is None else f"drift {drift:.2f}"


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

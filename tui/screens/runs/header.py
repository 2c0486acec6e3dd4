"""The row that says how the whole stands: how many need somebody, what is shown of it, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.run_filter import Sort
from finetop.core.text import clean_line, count
from finetop.tui.line import Line, line_width, spread
from finetop.tui.text import cut_middle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.tui.screens.runs.state import RunList

_WORDS: Mapping[str, str] = {
    "needs_you": "needs you first",
    "newest": "newest first",
    "-newest": "oldest first",
    "name": "by name",
    "-name": "by name, last first",
    "age": "youngest first",
    "-age": "longest ago first",
}
SHOWN = 24  # cells of a filter
LEFT = 30  # cells that are kept for what is marked and who needs somebody


def sort_words(sort: Sort) -> str:
    """Say an order in words."""
    lowest = "highest" if sort.descending else "lowest"
    return _WORDS.get(sort.word, f"{lowest} {clean_line(sort.key)} first")


def state_line(runs: RunList, width: int) -> Line:
    """Say how the whole stands, and how it is listed: what has no room is left out as a whole."""
    answer = runs.answer
    if answer is None:
        return ((" asking the supervisor …", "dim"),)
    right = _order_words(runs, width - LEFT) if answer.total else ()
    marked: Line = ((f" {count(len(runs.marked))} marked  ", "bold"),) if runs.marked else ()
    needs = f" {count(answer.need_you)} need{'s' if answer.need_you == 1 else ''} you"
    left: Line = (*marked, (needs, "bold" if answer.need_you else "dim"))
    stopped = f", {clean_line(answer.stopped)}" if answer.stopped else ""
    for words in (
        f"{answer.running} running",
        f"{answer.queued} queued{stopped}",
        f"{count(answer.total)} in all",
    ):
        more: Line = (*left, (f"   {words}", ""))
        if line_width(more) + 2 + line_width(right) <= width:
            left = more
    return spread(left, right, width)


def _order_words(runs: RunList, width: int) -> Line:
    """Say filter, group and order in at most so many cells; the order goes first, then the group."""
    pieces: list[Line] = []
    if runs.line.terms:
        terms = cut_middle(clean_line(" ".join(term.typed for term in runs.line.terms)), SHOWN)
        pieces.append((("/", "bold"), (f" {terms}: {count(runs.pages.matching)} match", "bold")))
    if runs.pages.newcomers:
        pieces.append((("o", "bold"), (f" takes in {runs.pages.newcomers} new", "bold")))
    elif runs.pages.reordered:
        pieces.append((("o", "bold"), (" sorts again: the order changed", "dim")))
    if runs.line.group:
        pieces.append(((f"by {clean_line(runs.line.group)}", "bold"),))
    if not (runs.pages.newcomers or runs.pages.reordered):
        pieces.append((("o", "bold"), (f" sort: {sort_words(runs.line.sort or Sort())}", "dim")))
    words: Line = ()
    for piece in pieces:
        more: Line = (*words, ("  ", ""), *piece) if words else piece
        if not words or line_width(more) <= width:
            words = more
    return (*words, (" ", ""))

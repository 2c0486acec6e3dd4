"""Lints a form's data before its run is queued, in a separate process; and shows the report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.features.lint.report import LintMessage, LintRequest, Report
from finetop.core.features.lint.report_text import report_lines
from finetop.core.runtime.child import answer_lines
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, counted
from finetop.tui.app_interface import host_of
from finetop.tui.keys import MATCHES, Key
from finetop.tui.screens.pages import BACK, MOVES, SEARCH, TablePage
from finetop.tui.text import Line, cursor_mark, cut_end
from finetop.tui.theme import StyleName
from finetop.tui.widgets.table import Table

PAUSE_S = 1.0  # pause after the plan's own, before the data is read
MOST_ROWS = 50_000  # per source; `finetop lint` reads all of them
NEXT = Key("n", "next finding", "next", "the next finding, while nothing is searched for")
STYLES: dict[str, StyleName] = {"✗": "red", "!": "amber mark", "·": "", "✓": "green"}


@dataclass(frozen=True, slots=True)
class Linted:
    """What is known so far: `share` is the progress (0 to 1), `trouble` why there is no report."""

    report: Report | None = None
    share: float | None = None
    trouble: str = ""


NOT_LINTED = Linted()


def report_key(recipe: Mapping[str, Any]) -> str:
    """Return a key of what a report depends on: the data files as they are now, the tokenizer, and the objective."""
    target = recipe["check"].get("target") or {}
    sources = recipe["data"]["train"]
    states = []
    for path in [*(source.get("path") for source in sources), target.get("path")]:
        with suppress(OSError, TypeError):
            state = Path(path).stat()
            states.append((state.st_size, state.st_mtime_ns))
    return repr((recipe["model"], recipe["data"], recipe["objective"], target, states))


class DataLint:
    """Lints the data of a form, once for each key that a report depends on."""

    def __init__(self) -> None:
        self.linted = NOT_LINTED
        self._of = ""

    async def find(self, recipe: Mapping[str, Any], homes: Sequence[Home]) -> AsyncGenerator[None]:
        """Lint after a pause without changes, and yield at each step. A lint that was cancelled starts over."""
        key = report_key(recipe)
        if key == self._of and self.linted.report is not None:
            return
        self._of, self.linted = key, NOT_LINTED
        if len(homes) > 1 or homes[0].link is not None or not recipe["data"]["train"]:
            return  # the data is on another machine
        yield
        await asyncio.sleep(PAUSE_S)
        request = msgspec.json.encode(LintRequest(recipe=dict(recipe), workers=1, most_rows=MOST_ROWS))
        async with aclosing(
            answer_lines("finetop.core.features.lint", str(homes[0].root), asked=request)
        ) as lines:
            async for line in lines:
                self.linted = updated(self.linted, msgspec.json.decode(line, type=LintMessage))
                yield


def updated(linted: Linted, event: LintMessage) -> Linted:
    """Return the state after one more line from the lint process."""
    if event.report is not None:
        return Linted(event.report)
    if event.trouble is not None:
        return Linted(trouble=event.trouble.message)
    if event.progress is not None and event.progress.phase == "reading rows" and event.progress.total:
        return Linted(share=event.progress.done / event.progress.total)
    return linted


def errors_of(linted: Linted) -> int:
    """Count the errors: training would stop at them, or learn from broken rows."""
    findings = [] if linted.report is None else linted.report.findings
    return sum(finding.severity == "error" for finding in findings)


def lint_words(linted: Linted) -> Line:
    """Return a summary of the findings: 'data: 12 findings, 3 errors  L details'."""
    if linted.share is not None:
        return ((f"checking the data, {100 * linted.share:.0f} %", "dim"), (" ", ""))
    if linted.trouble:
        return (("data: ", "dim"), (clean_line(linted.trouble, limit=50), "dim"), (" ", ""))
    report = linted.report
    if report is None:
        return ()
    if not report.findings:
        return (("data: ", "dim"), ("✓", "green"), (" nothing found ", "dim"))
    errors = errors_of(linted)
    style: StyleName = "red" if errors else "amber mark" if report.matters else "dim"
    count_text = counted(len(report.findings), "finding")
    worst = f", {counted(errors, 'error')}" if errors else ""
    return (("data: ", "dim"), (count_text + worst, style), ("  L", "bold"), (" details ", "dim"))


class LintScreen(TablePage[None], inherit_bindings=False):
    """The report of `finetop lint`; n goes from one finding to the next."""

    KEYS = (*MATCHES, NEXT, SEARCH, BACK, *MOVES)
    OFFERED = (NEXT, SEARCH, BACK)
    TITLE = "Data"
    COPIES_LINES = True

    def __init__(self, name: str, report: Report) -> None:
        super().__init__()
        self._of = name
        self._report = report
        self._lines: list[str] = []

    def on_mount(self) -> None:
        command = "finetop lint checks all rows, --fix writes a fixed file"
        self.show_title(f"Data of {self._of}", command)
        self.offer_keys()

    def on_resize(self) -> None:
        self._lines = list(report_lines(self._report, max(40, self.size.width - 3), is_page=True))
        self.query_one(Table).show(len(self._lines))

    def to_copy(self) -> str:
        return "\n".join(self._lines)

    def draw_row(self, index: int, has_cursor: bool, width: int) -> Line:
        text = self._lines[index]
        style = STYLES.get(text[:1], "")
        cursor: Line = (cursor_mark(has_cursor),)
        mark: Line = ((text[:1], style), (cut_end(text[1:], width - 2), "bold")) if style else ((text, ""),)
        return (*cursor, *mark)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave `n` to the next finding while there is no search."""
        return bool(self.sought) if action == "match" else True

    def action_next(self) -> None:
        """Go to the next finding; after the last, to the first."""
        table = self.query_one(Table)
        heads = [number for number, text in enumerate(self._lines) if text[:1] in STYLES]
        later = [number for number in heads if number > table.cursor]
        if heads:
            table.move((later or heads)[0] - table.cursor)
        else:
            host_of(self).say("no findings.")

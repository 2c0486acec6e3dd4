"""The log tab of the Run screen: the growing end of the log, any place in it, and searches for a text or a step.

The log stays on its machine's disk. The supervisor searches it piece by piece, from the end backwards, and each
piece is shown before the next is searched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from finetop.core.protocol.messages.runs import FindInLog, FoundInLog, LogAnswer
from finetop.core.protocol.runs import JobRow, RunDetail
from finetop.core.text import clean_line, count, counted
from finetop.core.wording.units import size_word
from finetop.tui.app_interface import Host
from finetop.tui.screens.run.state import RunData, log_job
from finetop.tui.text import Line, cut_end, line_width, rule
from finetop.tui.widgets import log, log_page
from finetop.tui.widgets.frame import Bottom
from finetop.tui.widgets.log_page import Page

MOST = 20_000  # most hits kept
_LOOKED_AT = 50  # lines searched for a step
_STEP: Final = re.compile(r"step (\d{1,9})", re.IGNORECASE)


@dataclass(slots=True)
class Search:
    """A search for a text: where the matching lines begin, and how far back the log has been searched."""

    text: str
    hits: list[int] = field(default_factory=list)
    begin: int | None = None  # the log is searched from here on; None: not yet
    size: int = 0
    at: int | None = None  # the current hit

    @property
    def is_over(self) -> bool:
        return self.begin == 0 or len(self.hits) >= MOST


@dataclass(slots=True)
class LogView:
    """Which part of which log is in view."""

    job: int | None = None  # the selected job; None: the default one
    first: int | None = None  # the first line in view, counted in the tail; None: follow the end
    at: int | None = None  # the byte offset of the first line in view, if that is not in the tail
    step: int | None = None  # the step to go to
    mark: int | None = None  # the byte offset of the line that was jumped to
    search: Search | None = None
    page: Page | None = None
    shown_step: int | None = None  # the step whose page is below the charts


def go_to_step(log_view: LogView, step: int | None) -> None:
    """Go to a step's first line, or to the end of the log."""
    log_view.first, log_view.at, log_view.page, log_view.step, log_view.mark = None, None, None, step, None


def start_search(log_view: LogView, text: str) -> None:
    """Search for a text; `step 412` goes to that step, and an empty text ends the search."""
    hit = _STEP.fullmatch(text.strip())
    if hit is not None:
        log_view.search = None
        go_to_step(log_view, int(hit[1]))
    else:
        log_view.search = Search(text) if text else None


def search_line(bottom: Bottom, log_view: LogView, look_anew: Callable[[], object]) -> None:
    """Ask for a text to search for in the log."""

    def search(text: str, is_kept: bool) -> None:
        if is_kept:
            start_search(log_view, text)
            look_anew()

    before = log_view.search
    bottom.ask_text(
        "search",
        "" if before is None else before.text,
        done=search,
        keep="search the whole log (step 412 goes to that step)",
        leave="cancel",
    )


def show_next_log(log_view: LogView, detail: RunDetail) -> None:
    """Show the log of the run's next job."""
    ids = [job.id for job in detail.jobs]
    shown = log_job(detail, log_view.job)
    log_view.job = ids[(ids.index(shown.id) + 1) % len(ids)] if shown is not None else ids[0]
    log_view.search = None
    go_to_step(log_view, None)


def scroll(log_view: LogView, held: RunData, rows: int, height: int) -> None:
    """Scroll by a number of rows; before the start of the tail, the log is read around that place."""
    if abs(rows) >= 1_000_000:
        go_to_step(log_view, None)
        if rows < 0:
            log_view.at = 0
    elif log_view.at is not None:
        if log_view.page is not None:
            log_view.at = log_page.scrolled(log_view.page, log_view.at, rows, height)
            if log_view.at is None:
                go_to_step(log_view, None)
    else:
        log_view.first = log.scrolled(held.tail, log_view.first, rows, height)
        first, tail = log_view.first, held.tail
        if first is not None and first <= tail.dropped and rows < 0 and tail.begin:
            log_view.first, log_view.at, log_view.page = None, held.tail.begin, None


def can_scroll(log_view: LogView, held: RunData, width: int, height: int) -> bool:
    """Return True if the log has more lines than fit in `height` rows."""
    if log_view.at is not None or log_view.first is not None or held.tail.begin:
        return True
    lines = held.tail.shown[: height + 1]
    return sum(len(log.drawn_rows(line, width)) for line in lines) > height


def to_hit(log_view: LogView, direction: int, *, goes_round: bool = False) -> bool:
    """Go to the next (1) or previous (-1) hit, going round from the last to the first; return whether there is one."""
    search = log_view.search
    if search is None or not search.hits:
        return False
    here = search.at if search.at is not None else log_view.at
    if here is None:
        hit: int | None = search.hits[-1]
    else:
        nearest = log_page.place_behind if direction > 0 else log_page.place_before
        hit = nearest(search.hits, here)
        if hit is None and goes_round and search.is_over:
            hit = search.hits[0 if direction > 0 else -1]
    if hit is None or hit == search.at:
        return False
    search.at = log_view.at = log_view.mark = hit
    log_view.first, log_view.page = None, None
    return True


def _to_first_hit(log_view: LogView, search: Search) -> bool:
    """Go to the newest hit, or to the next one after the place in view once the rest of the log has been searched."""
    here = log_view.at
    if here is None:
        return to_hit(log_view, -1)
    if search.begin is None or (search.begin > here and not search.is_over):
        return False
    log_view.at = here - 1
    if not to_hit(log_view, 1) and not to_hit(log_view, -1):
        log_view.at = here
        return False
    return True


async def load(host: Host, held: RunData, log_view: LogView, redraw: Callable[[], object]) -> None:
    """Load what is in view; keep searching after the first hit is shown, until the search is over."""
    detail = held.known
    job = log_job(detail, log_view.job)
    if job is None:
        return
    await held.load_log(host, job)
    run, step = detail.row.name, log_view.step
    if step is not None:
        answer = await host.ask(FindInLog(run, job.id, step=step))
        if log_view.step == step:
            go_to_step(log_view, None)
            log_view.at = log_view.mark = answer.at[0] if answer.at else None
    await _load_page(host, log_view, run, job.id)
    while (search := log_view.search) is not None and not search.is_over:
        if log_job(detail, log_view.job) != job:
            return
        await _search_on(host, search, run, job.id)
        if log_view.search is search and search.at is None and _to_first_hit(log_view, search):
            await _load_page(host, log_view, run, job.id)
        redraw()


async def load_near(host: Host, detail: RunDetail, near: LogView, step: int) -> None:
    """Read the log around a step, to be shown below the charts."""
    job = log_job(detail)
    if job is None or near.shown_step == step:
        return
    answer = await host.ask(FindInLog(detail.row.name, job.id, step=step))
    go_to_step(near, None)
    near.at = near.mark = answer.at[0] if answer.at else None
    await _load_page(host, near, detail.row.name, job.id)
    near.shown_step = step


def near_lines(near: LogView, step: int, width: int, rows: int) -> list[Line] | None:
    """Return the log around a step; None if it has not been read yet or has no such line."""
    if near.page is None or near.at is None or near.shown_step != step:
        return None
    first = near.page.begins[max(0, log_page.index_of(near.page, near.at) - rows // 3)]
    return log_page.view(near.page, first, width, rows, mark=near.mark)


def step_in_view(log_view: LogView, held: RunData) -> int | None:
    """Return the step of the first line in view that names one; None while following the end."""
    if log_view.page is not None and log_view.at is not None:
        lines = log_view.page.lines[log_page.index_of(log_view.page, log_view.at) :]
    elif log_view.first is not None:
        lines = held.tail.shown[max(0, log_view.first - held.tail.dropped) :]
    else:
        return None
    steps = (_STEP.search(line) for line in lines[:_LOOKED_AT])
    return next((int(hit[1]) for hit in steps if hit is not None), None)


async def _load_page(host: Host, log_view: LogView, run: str, job: int) -> None:
    at = log_view.at
    if at is None or (log_view.page is not None and not log_page.is_near_edge(log_view.page, at, 100)):
        return
    before, behind = log_page.requests(run, job, at)
    answers = await host.ask(before) if at else LogAnswer(job, "", 0, 0), await host.ask(behind)
    if log_view.at == at:
        log_view.page = log_page.page_of(*answers, at)


async def _search_on(host: Host, search: Search, run: str, job: int) -> None:
    end = -1 if search.begin is None else search.begin
    answer: FoundInLog = await host.ask(FindInLog(run, job, search.text, end=end))
    search.hits = [*answer.at, *search.hits]
    search.size = max(search.size, answer.size)
    search.begin = answer.begin if search.begin is None or answer.begin < search.begin else 0


def log_lines(log_view: LogView, held: RunData, width: int, height: int) -> list[Line]:
    """Return the whole tab."""
    detail = held.known
    job = log_job(detail, log_view.job)
    if job is None:
        return [(), (("   No log yet: nothing has run.", "dim"),)]
    other: Line = (("v", "key"), (" other job's log", "dim")) if len(detail.jobs) > 1 else ()
    room = max(10, width - 8 - line_width(other))
    title = rule(((cut_end(_title(log_view, held, job), room), ""),), width, other)
    searched_text = "" if log_view.search is None else log_view.search.text
    if log_view.at is None:
        return [title, *log.view(held.tail, width, height - 1, log_view.first, searched_text)]
    if log_view.page is None:
        return [title, (("   reading …", "dim"),)]
    rows = log_page.view(log_view.page, log_view.at, width, height - 1, searched_text, log_view.mark)
    return [title, *rows]


def _title(log_view: LogView, held: RunData, job: JobRow) -> str:
    search, title = log_view.search, f"log of job {job.id}, {clean_line(job.verb)}"
    if search is not None:
        return f"{title}, {_search_words(search)}"
    if log_view.step is not None:
        return f"{title}, searching for step {count(log_view.step)} …"
    if log_view.at is not None:
        size = max(1, log_view.page.size if log_view.page is not None else held.tail.offset or 1)
        return f"{title}, from {log_view.at / size:.0%} of {size_word(size)}".replace("%", " %")
    return title + (", newest last" if log_view.first is None else ", paused while you read")


def _search_words(search: Search) -> str:
    text = f"“{cut_end(clean_line(search.text), 24)}”"
    if search.begin is None:
        return f"searching for {text} …"
    hits = counted(len(search.hits), "line")
    if not search.is_over:
        done = size_word(search.size - search.begin)
        return f"{text}: {hits} in {done} so far, of {size_word(search.size)}"
    if not search.hits:
        return f"no line has {text}"
    if search.at is None:
        return f"{text}: {hits}"
    more = "+" if len(search.hits) >= MOST and search.begin else ""
    return f"{text}, line {count(search.hits.index(search.at) + 1)} of {count(len(search.hits))}{more}"

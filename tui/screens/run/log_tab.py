"""The log tab of the Run screen: the log's end as it grows, or any place in it; a text or a step that is searched for.

The log itself stays on the disk of its machine: the supervisor looks through it a part at a time, from its end back,
and the first part is shown while the next is looked through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from finetop.core.protocol.messages.runs import FindInLog, FoundInLog, LogAnswer
from finetop.core.text import clean_line
from finetop.tui.line import Line, line_width, rule
from finetop.tui.screens.run.state import load_log, log_job
from finetop.tui.text import count, counted, cut_end, size_word
from finetop.tui.widgets import log, log_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from finetop.core.protocol.runs import JobRow, RunDetail
    from finetop.tui.app_interface import Host
    from finetop.tui.screens.run.state import Held
    from finetop.tui.widgets.log_page import Page

MOST = 20_000  # hits that are held
_STEP: Final = re.compile(r"step (\d{1,9})", re.IGNORECASE)


@dataclass(slots=True)
class Search:
    """A text that is searched for: where its lines begin, and from where on the log was looked through."""

    text: str
    hits: list[int] = field(default_factory=list)
    begin: int | None = None  # None: nothing yet
    size: int = 0
    at: int | None = None  # the hit that is looked at

    @property
    def is_over(self) -> bool:
        return self.begin == 0 or len(self.hits) >= MOST


@dataclass(slots=True)
class LogLook:
    """Which part of which log is in view."""

    job: int | None = None  # that was chosen
    first: int | None = None  # the line of its end that the view begins with; None: follow the end
    at: int | None = None  # the place that the view begins at, where that is not the end
    step: int | None = None  # that is to be gone to
    mark: int | None = None  # the place of the line that was gone to
    search: Search | None = None
    page: Page | None = None


def opened_at(look: LogLook, step: int | None) -> None:
    """Look at a step's first line, or at the log's end."""
    look.first, look.at, look.page, look.step, look.mark = None, None, None, step, None


def searched(look: LogLook, text: str) -> None:
    """Search for a text; `step 412` goes to that step, and no text ends the search."""
    found = _STEP.fullmatch(text.strip())
    if found is not None:
        look.search = None
        opened_at(look, int(found[1]))
    else:
        look.search = Search(text) if text else None


def turned(look: LogLook, detail: RunDetail) -> None:
    """Show the log of the run's next job."""
    ids = [job.id for job in detail.jobs]
    shown = log_job(detail, look.job)
    look.job = ids[(ids.index(shown.id) + 1) % len(ids)] if shown is not None else ids[0]
    look.search = None
    opened_at(look, None)


def moved(look: LogLook, held: Held, rows: int, height: int) -> None:
    """Scroll by so many rows; from where the end is no longer held, the log is read around the place."""
    if abs(rows) >= 1_000_000:
        opened_at(look, None)
        if rows < 0:
            look.at = 0
    elif look.at is not None:
        if look.page is not None:
            look.at = log_page.scrolled(look.page, look.at, rows, height)
            if look.at is None:
                opened_at(look, None)
    else:
        look.first = log.scrolled(held.tail, look.first, rows, height)
        if look.first is not None and look.first <= held.tail.dropped and rows < 0 and held.tail.begin:
            look.first, look.at, look.page = None, held.tail.begin, None


def can_scroll(look: LogLook, held: Held, width: int, height: int) -> bool:
    """Tell if there is more of the log than is in view, in `height` rows."""
    if look.at is not None or look.first is not None or held.tail.begin:
        return True
    lines = held.tail.shown[: height + 1]
    return sum(len(log.drawn_rows(line, width)) for line in lines) > height


def to_hit(look: LogLook, direction: int) -> bool:
    """Go to the next hit (1) or the one before (-1); returns whether there is one."""
    search = look.search
    if search is None or not search.hits:
        return False
    here = search.at if search.at is not None else look.at
    if here is None:
        found: int | None = search.hits[-1]
    else:
        nearest = log_page.place_behind if direction > 0 else log_page.place_before
        found = nearest(search.hits, here)
    if found is None:
        return False
    search.at = look.at = look.mark = found
    look.first, look.page = None, None
    return True


def _to_first_hit(look: LogLook, search: Search) -> bool:
    """Go to the newest hit; from a place in the log to the next behind it, once all behind it was looked through."""
    here = look.at
    if here is None:
        return to_hit(look, -1)
    if search.begin is None or (search.begin > here and not search.is_over):
        return False
    look.at = here - 1
    if not to_hit(look, 1) and not to_hit(look, -1):
        look.at = here
        return False
    return True


async def load(
    host: Host, held: Held, detail: RunDetail, look: LogLook, redraw: Callable[[], object]
) -> None:
    """Bring what is in view up to date; what is searched for is looked for until its first hit is shown, and on."""
    job = log_job(detail, look.job)
    if job is None:
        return
    await load_log(host, held, job)
    run, step = detail.row.name, look.step
    if step is not None:
        answer = await host.ask(FindInLog(run, job.id, step=step))
        if look.step == step:
            opened_at(look, None)
            look.at = look.mark = answer.at[0] if answer.at else None
    await _load_page(host, look, run, job.id)
    while (search := look.search) is not None and not search.is_over and log_job(detail, look.job) == job:
        await _search_on(host, search, run, job.id)
        if look.search is search and search.at is None and _to_first_hit(look, search):
            await _load_page(host, look, run, job.id)
        redraw()


async def _load_page(host: Host, look: LogLook, run: str, job: int) -> None:
    at = look.at
    if at is None or (look.page is not None and not log_page.is_near_edge(look.page, at, 100)):
        return
    before, behind = log_page.requests(run, job, at)
    answers = await host.ask(before) if at else LogAnswer(job, "", 0, 0), await host.ask(behind)
    if look.at == at:
        look.page = log_page.page_of(*answers, at)


async def _search_on(host: Host, search: Search, run: str, job: int) -> None:
    """Look through the part in front of what was looked through."""
    end = -1 if search.begin is None else search.begin
    answer: FoundInLog = await host.ask(FindInLog(run, job, search.text, end=end))
    search.hits = [*answer.at, *search.hits]
    search.size = max(search.size, answer.size)
    search.begin = answer.begin if search.begin is None or answer.begin < search.begin else 0


def log_lines(look: LogLook, held: Held, detail: RunDetail, width: int, height: int) -> list[Line]:
    """Write the whole tab."""
    job = log_job(detail, look.job)
    if job is None:
        return [(), (("   No log yet: nothing has run.", "dim"),)]
    other: Line = (("v", "bold"), (" other job's", "dim")) if len(detail.jobs) > 1 else ()
    room = max(10, width - 8 - line_width(other))
    title = rule(((cut_end(_title(look, held, job), room), ""),), width, other)
    wanted = "" if look.search is None else look.search.text
    if look.at is None:
        return [title, *log.view(held.tail, width, height - 1, look.first, wanted)]
    if look.page is None:
        return [title, (("   reading …", "dim"),)]
    return [title, *log_page.view(look.page, look.at, width, height - 1, wanted, look.mark)]


def _title(look: LogLook, held: Held, job: JobRow) -> str:
    search, words = look.search, f"log of job {job.id}, {clean_line(job.verb)}"
    if search is not None:
        return f"{words}, {_search_words(search)}"
    if look.step is not None:
        return f"{words}, step {count(look.step)} is looked for …"
    if look.at is not None:
        size = max(1, look.page.size if look.page is not None else held.tail.offset or 1)
        return f"{words}, from {look.at / size:.0%} of {size_word(size)}".replace("%", " %")
    return words + (", newest last" if look.first is None else ", held while you read")


def _search_words(search: Search) -> str:
    text = f"“{cut_end(clean_line(search.text), 24)}”"
    if search.begin is None:
        return f"{text} is looked for …"
    hits = counted(len(search.hits), "line")
    if not search.is_over:
        done = size_word(search.size - search.begin)
        return f"{text} is in {hits} of {done} so far, of {size_word(search.size)}"
    if not search.hits:
        return f"no line has {text}"
    if search.at is None:
        return f"{text} is in {hits}"
    more = "+" if len(search.hits) >= MOST and search.begin else ""
    return f"{text}, line {count(search.hits.index(search.at) + 1)} of {count(len(search.hits))}{more}"

"""The list of runs behind the screen: loads the rows in view page by page, and keeps them up to date."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

from finetop.core.protocol.job_kinds import verbs_that
from finetop.core.protocol.messages.runs import GetRun, Group, Runs, RunsAnswer
from finetop.core.protocol.run_columns import settings_of
from finetop.core.protocol.run_filter import Filter, Sort, parse, read_sort
from finetop.core.protocol.runs import RunDetail, Running, RunRow
from finetop.tui.screens.shared.run_status import ended_at, heading_of, runs_now
from finetop.tui.screens.shared.sparklines import Sparklines
from finetop.tui.widgets.paged_list import CHUNK, Ask, PagedList

SORTS = ("needs_you", "newest", "name", "loss")  # `o` cycles through them
SPARK_COLUMNS = 10
SOUGHT, MOST_GOING = 1000, 40  # rows searched for a run by name; running runs shown while out of view
MOST, ALL_CHUNK = 20_000, 500  # rows saved to a file; rows requested at once


class RunList(PagedList["RunRow"]):
    """Which runs are listed, in which order, and their data. Every method may raise NoSupervisor."""

    def __init__(self, ask: Ask) -> None:
        super().__init__(ask)
        self.answer: RunsAnswer | None = None  # the newest
        self.filter = ""  # as typed
        self.sort = SORTS[0]
        self.listed = ("", SORTS[0])  # the filter and order of the loaded rows
        self.line = Filter(sort=Sort())  # the same, parsed
        self.groups: dict[str, Group] = {}  # by their words
        self.going: tuple[RunRow, ...] = ()  # running runs out of view
        self._running: Sequence[RunRow] = ()
        self._is_going_old = True
        self.columns: tuple[str, ...] = ()  # chosen in addition to the usual ones
        self.marked: dict[int, RunRow] = {}  # by run number, as last seen: they may be on no loaded page
        self.sparklines = Sparklines(SPARK_COLUMNS)
        self.has_hosts = False  # of several machines
        self.titles: dict[str, str] = {}  # of the column of time, in each part
        self.name_suite: bool | None = None  # see _names_suite
        self._looked_through: object = None  # the pages that these are of

    @property
    def has_parts(self) -> bool:
        """True if the list has parts: needs you, running, queued, done."""
        return self.line.sort == Sort() and not self.line.group

    @property
    def is_empty(self) -> bool:
        """True if the list is known to be empty; runs in the newest answer may not be listed yet."""
        return self.answer is not None and not self.answer.matching and not self.pages.matching

    def look_through(self) -> None:
        """Compute each part's title of the time column and `name_suite`, once per set of rows, which may be large."""
        if self._looked_through is not self.pages:
            parts: dict[str, list[RunRow]] = {}
            for row in self.pages.rows.values():
                parts.setdefault(heading_of(row), []).append(row)
            self._looked_through = self.pages
            self.titles = {part: time_title(rows) for part, rows in parts.items()}
            self.name_suite = _names_suite(self.pages.rows.values())

    async def load(self, run: str, at: RunRow | None) -> int | None:
        """Load the list from its start; return the index of the run of that name, else of the run `at`.

        Returns None if the filter or order has changed meanwhile, and the list must be loaded again. Raises BadInput if
        the filter is invalid; the rows are kept then.
        """
        request = (self.filter, self.sort)
        line = parse(self.filter)
        answer = await self._runs(request, 0, CHUNK)
        if request != (self.filter, self.sort):
            return None
        before = self.line
        self.listed, self.groups = request, {}
        self.line = replace(line, sort=line.sort or read_sort(request[1]))
        self._receive(answer)
        is_sorted_anew = (before.sort, before.group) != (self.line.sort, self.line.group)
        place = self._begin(answer.rows, answer.matching, run, None if is_sorted_anew else at)
        return await self._sought(run, place)

    async def _sought(self, run: str, place: int) -> int:
        """Load more pages until that run is found among the first SOUGHT rows; return its index, else `place`."""
        while run:
            at = next((index for index, row in self.pages.rows.items() if row.name == run), None)
            if at is not None:
                return at
            held = len(self.pages.rows)
            if held >= SOUGHT or not await self.load_missing(held, held + 1):
                break
        return place

    async def load_going(self, first: int, end: int) -> None:
        """Load the running runs that are not in rows [first, end); none if the list is filtered."""
        jobs = {} if self.answer is None or self.line.terms else self.answer.jobs
        running = sum(jobs.get(verb, 0) for verb in verbs_that("makes_a_run"))
        in_view = [row for index, row in self.pages.rows.items() if first <= index < end]
        seen = {row.id for row in in_view}
        if running <= sum(isinstance(row.state, Running) for row in in_view):
            self._running, self._is_going_old = (), True
        elif self._is_going_old:
            answer: RunsAnswer = await self._ask(Runs("state:running", SORTS[1], 0, MOST_GOING))
            self._running, self._is_going_old = answer.rows, False
        unseen = (row for row in self._running if row.id not in seen)
        self.going = tuple(sorted(unseen, key=lambda row: row.needs_you))  # the others are listed further up

    async def _page(self, offset: int, limit: int) -> tuple[Sequence[RunRow], int]:
        answer = await self._runs(self.listed, offset, limit)
        self._receive(answer)
        return answer.rows, answer.matching

    async def _newer(self, row: RunRow) -> RunRow:
        detail: RunDetail = await self._ask(GetRun(str(row.id)))
        return detail.row

    async def _runs(self, listed: tuple[str, str], offset: int, limit: int) -> RunsAnswer:
        request = Runs(*listed, offset, limit, settings_of(self.columns))
        answer: RunsAnswer = await self._ask(request)
        return answer

    async def all(self) -> list[RunRow]:
        """Load all runs of the list, at most MOST."""
        rows: list[RunRow] = []
        while len(rows) < MOST:
            answer = await self._runs(self.listed, len(rows), ALL_CHUNK)
            rows += answer.rows
            if not answer.rows or len(rows) >= answer.matching:
                break
        return rows[:MOST]

    def behind(self, index: int, moved: Container[str]) -> str:
        """Return the run for the cursor after some runs have moved away: the first later one that has not."""
        later = (self.pages.rows[at] for at in sorted(self.pages.rows) if at >= index)
        return next((row.name for row in later if row.name not in moved), "")

    def toggle(self, row: RunRow) -> None:
        if self.marked.pop(row.id, None) is None:
            self.marked[row.id] = row

    def _receive(self, answer: RunsAnswer) -> None:
        self.answer, self._is_going_old = answer, True
        self.marked |= {row.id: row for row in answer.rows if row.id in self.marked}
        self.groups |= {group.word: group for group in answer.groups}


def time_title(rows: Iterable[RunRow]) -> str:
    """Return the title of the column shared by time left and age: 'left', 'age', or 'time' for both."""
    titles = {"left" if runs_now(row) or ended_at(row) is None else "age" for row in rows}
    return next(iter(titles)) if len(titles) == 1 else "time"


def _names_suite(rows: Iterable[RunRow]) -> bool | None:
    """Return False if all verdicts have the same suite and need not name it; None: each decides, see `on_suite`."""
    suites = {row.check.suite for row in rows if row.check is not None}
    return None if len(suites) > 1 else False

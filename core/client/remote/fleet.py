"""Several supervisors as one: one merged list of runs, and requests about a run go to its machine."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Protocol

from msgspec.structs import replace

from finetop.core import plugins
from finetop.core.client.remote import merge_runs
from finetop.core.client.remote.merge_runs import numbered, placed, placed_detail, there, unplaced
from finetop.core.errors import BadInput, NoSupervisor
from finetop.core.protocol.filter_match import holds
from finetop.core.protocol.messages import runs, submit
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.queue import Move
from finetop.core.protocol.messages.runs import Group, Runs, RunsAnswer, Sweeps, SweepsAnswer
from finetop.core.protocol.messages.trash import Remove, RemoveAnswer, Removed
from finetop.core.protocol.request import Answer, Ask, Request
from finetop.core.protocol.run_filter import parse, read_sort
from finetop.core.protocol.runs import RunDetail, RunRow
from finetop.core.wording import run_groups

CHUNK = 100  # rows per request to one machine
SUBMITS = (submit.Submit, submit.SubmitChain, submit.SubmitSweep, submit.Import)
List = tuple[str, str]  # filter, sort
Begin = tuple[int, ...]  # how many rows of each machine come before a place in the merged list


class Asker(Protocol):
    """A connection to a supervisor; finetop.core.client.connection.AsyncClient is one."""

    async def ask(self, ask: Request[Answer]) -> Answer: ...

    def close(self) -> None: ...


class Fleet:
    """Queries several supervisors as if they were one. Runs are named HOST:RUN; rows carry their host.

    The rows of a machine that is out of reach stay as last seen. `ask` raises what that machine's connection raises,
    and BadInput for a request that names no machine.
    """

    def __init__(self, askers: Mapping[str, Asker]) -> None:
        self.askers = askers
        self.labels = list(askers)
        self._seen: dict[str, dict[int, RunRow]] = {label: {} for label in askers}
        self._places: dict[str, tuple[List, dict[int, int]]] = {}  # each run's place in the newest list
        self._counts: dict[str, RunsAnswer] = {}
        self._groups: dict[str, tuple[List, dict[str, Group]]] = {}  # its groups by value
        self._begins: dict[List, dict[int, Begin]] = {}

    async def ask(self, ask: Request[Answer]) -> Answer:
        """Send a request to the machine that it is about; the list of runs goes to all."""
        answer: Answer = await self._ask(ask)
        return answer

    async def _ask(self, ask: Ask) -> Any:
        if isinstance(ask, Runs):
            return await self._runs(ask)
        if (whole := plugins.entries("fleet", "ASKS").get(type(ask))) is not None:
            return await whole(self, ask)
        if isinstance(ask, SUBMITS):
            return await self.submit(ask)
        if isinstance(ask, Remove):
            return await self._remove(ask)
        if isinstance(ask, Sweeps):
            return await self._sweeps(ask)
        about = getattr(ask, "run", None)
        if not isinstance(about, str):
            raise BadInput(f"on which machine? Name one: {', '.join(self.labels)}.")
        label, run = self.split(about)
        if (placed_there := plugins.entries("fleet", "SENT").get(type(ask))) is not None:
            ask = placed_there(self, label, ask)
        if isinstance(ask, Move) and ask.other:
            ask = replace(ask, other=self.split(ask.other)[1])
        return self._named(label, await self.askers[label].ask(replace(ask, run=run)))

    async def submit(self, ask: Any) -> Any:
        """Send what makes runs to the machine that its name begins with."""
        label, name = self.split(ask.name)
        return self._named(label, await self.askers[label].ask(replace(ask, name=name)))

    async def _remove(self, ask: Remove) -> RemoveAnswer:
        """Move runs of several machines to the trash, or list what would be moved, each on its own machine."""
        runs_by_label: dict[str, list[str]] = {}
        for name in ask.runs:
            label, own = self.split(name)
            runs_by_label.setdefault(label, []).append(own)
        removed: list[Removed] = []
        for label, own_runs in runs_by_label.items():
            answer: RemoveAnswer = await self.askers[label].ask(replace(ask, runs=own_runs))
            for run in answer.runs:
                number = numbered(run.run_id, self.labels, label)
                removed.append(replace(run, run_id=number, name=f"{label}:{run.name}"))
        return RemoveAnswer(removed)

    async def _sweeps(self, ask: Sweeps) -> SweepsAnswer:
        """Return a sweep of one machine, or the names of all sweeps on the machines that answer."""
        if ask.sweep:
            label, name = self.split(ask.sweep)
            answer: SweepsAnswer = await self.askers[label].ask(Sweeps(name))
            swept = [replace(run, row=placed(run.row, self.labels, label)) for run in answer.runs]
            return replace(answer, runs=swept, sweeps=_sweeps_of(label, answer))
        answers = await self.answers(ask)
        return SweepsAnswer([sweep for answer in answers for sweep in _sweeps_of(*answer)], [], [])

    async def answers(self, ask: Request[Answer]) -> list[tuple[str, Answer]]:
        """Ask every machine in turn; one that is out of reach is left out."""
        answers = []
        for label, asker in self.askers.items():
            with suppress(NoSupervisor):
                answers.append((label, await asker.ask(ask)))
        return answers

    def close(self) -> None:
        for asker in self.askers.values():
            asker.close()

    def split(self, run: str) -> tuple[str, str]:
        """Return the machine of HOST:RUN, and the run's name there. Raises BadInput."""
        place = there(run, self.labels)
        if place is None:
            raise BadInput(f"{run}: on which machine?", hint=f"Write {self.labels[0]}:{run}.")
        return place

    def _named(self, label: str, answer: Any) -> Any:
        """Prefix an answer's names with its machine."""
        if (own := plugins.entries("fleet", "NAMED").get(type(answer))) is not None:
            return own(self, label, answer)
        match answer:
            case submit.SubmitAnswer() | submit.ImportAnswer():
                return replace(answer, name=f"{label}:{answer.name}")
            case submit.SubmitChainAnswer() | submit.SubmitSweepAnswer():
                return replace(answer, runs=[self._named(label, run) for run in answer.runs])
            case runs.EventsAnswer():
                return replace(answer, row=placed(answer.row, self.labels, label))
            case Done():
                return Done(f"{label}: {answer.message}")
            case RunDetail():
                detail = placed_detail(answer, self.labels, label)
                self._seen[label][detail.row.id] = detail.row
                return detail
            case _ if isinstance(getattr(answer, "run", None), str):
                return replace(answer, run=f"{label}:{answer.run}")
        return answer

    # --- one list ---------------------------------------------------------------------------------------

    async def _runs(self, ask: Runs) -> RunsAnswer:
        """Merge the machines' lists, starting at the last recorded place before `offset`."""
        line = parse(ask.filter)
        sort, kind = line.sort or read_sort(ask.sort), (ask.filter, ask.sort)
        if ask.offset == 0 or kind not in self._begins:
            self._begins[kind] = {0: (0,) * len(self.labels)}
        begins = self._begins[kind]
        at = max(place for place in begins if place <= ask.offset)
        labelled = zip(self.labels, begins[at], strict=True)
        sources = [_Source(self, label, ask, begin) for label, begin in labelled]
        await asyncio.gather(*(source.more() for source in sources))
        refused = [source.refusal for source in sources if source.refusal is not None]
        if refused and not any(source.has_answered for source in sources):
            raise refused[0]
        rows: list[RunRow] = []
        while at < ask.offset + ask.limit:
            heads = [source for source in sources if source.rows]
            if not heads:
                break
            first = min(heads, key=lambda source: merge_runs.order(source.rows[0], sort, line.group))
            if at >= ask.offset:
                rows.append(first.rows[0])
            await first.step()
            at += 1
            if at % CHUNK == 0:
                begins[at] = tuple(source.taken for source in sources)
        by_label = {label: self._counts[label] for label in self.labels if label in self._counts}
        stopped = [f"{label}: {count.stopped}" for label, count in by_label.items() if count.stopped]
        counts = by_label.values()
        return RunsAnswer(
            rows=rows,
            matching=sum(source.matching for source in sources),
            total=sum(count.total for count in counts),
            need_you=sum(count.need_you for count in counts),
            jobs=dict(sum((Counter(count.jobs) for count in counts), Counter())),
            queued=sum(count.queued for count in counts),
            revision=sum(count.revision for count in counts),
            stopped=", ".join(stopped),
            groups=self._groups_of(kind, rows) if line.group else [],
            without=_added_up([source.without for source in sources]),
        )

    def _groups_of(self, kind: List, rows: Sequence[RunRow]) -> list[Group]:
        """Return the groups of rows, as far as a machine has sent them on this page or an earlier one."""
        sent = [self._groups[label] for label in self.labels if label in self._groups]
        known = [list(by_word.values()) for sent_kind, by_word in sent if sent_kind == kind]
        groups = {group.word: group for group in run_groups.merged(known)}
        return [groups[word] for word in dict.fromkeys(row.group for row in rows) if word in groups]

    async def page(self, label: str, ask: Runs) -> RunsAnswer | None:
        """Request a page of one machine's list; None if it is out of reach. Raises BadInput."""
        try:
            answer: RunsAnswer = await self.askers[label].ask(merge_runs.at(ask, label))
        except NoSupervisor:
            return None
        rows = [placed(row, self.labels, label) for row in answer.rows]
        self._counts[label] = replace(answer, rows=[])
        self._seen[label].update({row.id: row for row in rows})
        kind = (ask.filter, ask.sort)
        if label not in self._places or self._places[label][0] != kind or ask.offset == 0:
            self._places[label], self._groups[label] = (kind, {}), (kind, {})
        self._places[label][1].update({row.id: ask.offset + i for i, row in enumerate(rows)})
        self._groups[label][1].update({group.word: group for group in answer.groups})
        if ask.offset == 0 and not ask.filter and answer.matching == len(rows):
            self._seen[label] = {row.id: row for row in rows}  # the whole list: drop runs that were removed
        return replace(answer, rows=rows)

    def page_seen(self, label: str, ask: Runs) -> tuple[list[RunRow], int]:
        """Return a page of what was last seen of a machine out of reach: rows, and how many match."""
        line, now = parse(merge_runs.at(ask, label).filter), time.time()
        rows = [row for row in self._seen[label].values() if holds(line, unplaced(row, self.labels), now)]
        rows = merge_runs.merged([[row] for row in rows], line.sort or read_sort(ask.sort), line.group)
        kind, places = self._places.get(label, (None, {}))
        if kind == (ask.filter, ask.sort):  # in its machine's own order
            rows.sort(key=lambda row: places.get(row.id, len(places)))
        return rows[ask.offset : ask.offset + ask.limit], len(rows)


class _Source:
    """One machine's list from a place on, requested in chunks as it is consumed."""

    def __init__(self, fleet: Fleet, label: str, ask: Runs, begin: int) -> None:
        self._fleet, self._label, self._ask = fleet, label, ask
        self.taken = begin
        self.rows: list[RunRow] = []
        self.matching = 0
        self.without: list[tuple[str, int]] = []
        self.has_answered = False
        self.refusal: BadInput | None = None  # of the filter: no run there has that key

    async def more(self) -> None:
        """Request the rows after those that were consumed."""
        limit = min(CHUNK, max(1, self._ask.limit))
        page = replace(self._ask, offset=self.taken, limit=limit)
        try:
            answer = await self._fleet.page(self._label, page)
        except BadInput as error:
            self.rows, self.matching, self.refusal = [], 0, error
            return
        if answer is None:
            self.rows, self.matching = self._fleet.page_seen(self._label, page)
            return
        self.rows, self.matching, self.without = answer.rows, answer.matching, answer.without
        self.has_answered = True

    async def step(self) -> None:
        """Drop the first row, and request more if it was the last."""
        self.rows = self.rows[1:]
        self.taken += 1
        if not self.rows and self.taken < self.matching:
            await self.more()


def _sweeps_of(label: str, answer: SweepsAnswer) -> list[runs.SweepBrief]:
    """Prefix the names of a machine's sweeps: lab:tone."""
    return [replace(brief, name=f"{label}:{brief.name}") for brief in answer.sweeps]


def _added_up(lists: Sequence[Sequence[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Sum over machines how many runs match without each term."""
    totals: Counter[str] = Counter()
    for term, matching in chain.from_iterable(lists):
        totals[term] += matching
    return list(totals.items())

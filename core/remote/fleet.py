"""Several supervisors as one: a list in one order, and what is asked of a run goes to its machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from finetop.core import protocol
from finetop.core.errors import BadInput, NoSupervisor
from finetop.core.remote.merging import merged, order, placed, placed_detail, there
from finetop.core.run import RunDetail, RunRow

if TYPE_CHECKING:
    from collections.abc import Mapping

CHUNK = 100  # rows of one request to one machine
List = tuple[str, str]  # filter, sort
Begin = tuple[int, ...]  # how many rows of each machine stand before a place of the merged list


class Asker(Protocol):
    """One connection to a supervisor; finetop.core.client.AsyncClient is one."""

    async def ask(self, ask: protocol.Ask) -> Any: ...

    def close(self) -> None: ...


class Fleet:
    """Asks several supervisors as if they were one. Runs are named HOST:RUN; rows carry their host.

    The rows of a machine that is out of reach stay as they were last seen. `ask` raises what that machine's
    connection raises, and BadInput for what no one machine is named for.
    """

    def __init__(self, askers: Mapping[str, Asker]) -> None:
        self._askers = askers
        self._labels = list(askers)
        self._seen: dict[str, dict[int, RunRow]] = {label: {} for label in askers}
        self._places: dict[str, tuple[List, dict[int, int]]] = {}  # where each run stood in the newest list
        self._counts: dict[str, protocol.RunsAnswer] = {}
        self._begins: dict[List, dict[int, Begin]] = {}

    async def ask(self, ask: protocol.Ask) -> Any:
        """Ask the machine that the request is about; for the list of runs, all."""
        if isinstance(ask, protocol.Runs):
            return await self._runs(ask)
        if isinstance(ask, protocol.Submit | protocol.SubmitChain | protocol.Import):
            label, name = self._split(ask.name)
            return self._named(label, await self._askers[label].ask(msgspec.structs.replace(ask, name=name)))
        about = getattr(ask, "run", None)
        if not isinstance(about, str):
            raise BadInput(f"say on which machine: {', '.join(self._labels)}.")
        label, run = self._split(about)
        if isinstance(ask, protocol.Move) and ask.other:
            ask = msgspec.structs.replace(ask, other=self._split(ask.other)[1])
        return self._named(label, await self._askers[label].ask(msgspec.structs.replace(ask, run=run)))

    def close(self) -> None:
        for asker in self._askers.values():
            asker.close()

    def _split(self, run: str) -> tuple[str, str]:
        found = there(run, self._labels)
        if found is None:
            raise BadInput(f"{run}: say on which machine.", hint=f"Write {self._labels[0]}:{run}.")
        return found

    def _named(self, label: str, answer: Any) -> Any:
        """Write an answer's names as those of one machine among several."""
        match answer:
            case protocol.SubmitAnswer() | protocol.ImportAnswer():
                return msgspec.structs.replace(answer, name=f"{label}:{answer.name}")
            case protocol.SubmitChainAnswer():
                return protocol.SubmitChainAnswer([self._named(label, one) for one in answer.runs])
            case protocol.CheckAnswer() | protocol.ResumeAnswer() | protocol.ExportAnswer():
                return msgspec.structs.replace(answer, run=f"{label}:{answer.run}")
            case protocol.EventsAnswer():
                return msgspec.structs.replace(answer, row=placed(answer.row, self._labels, label))
            case protocol.Done():
                return protocol.Done(f"{label}: {answer.message}")
            case RunDetail():
                detail = placed_detail(answer, self._labels, label)
                self._seen[label][detail.row.id] = detail.row
                return detail
        return answer

    # --- one list ---------------------------------------------------------------------------------------

    async def _runs(self, ask: protocol.Runs) -> protocol.RunsAnswer:
        """Merge the machines' lists from the nearest place before `offset` whose rows were counted."""
        kind = (ask.filter, ask.sort)
        if ask.offset == 0 or kind not in self._begins:
            self._begins[kind] = {0: (0,) * len(self._labels)}
        begins = self._begins[kind]
        at = max(place for place in begins if place <= ask.offset)
        sources = [
            _Source(self, label, ask, begin) for label, begin in zip(self._labels, begins[at], strict=True)
        ]
        await asyncio.gather(*(source.more() for source in sources))
        rows: list[RunRow] = []
        while at < ask.offset + ask.limit:
            heads = [source for source in sources if source.rows]
            if not heads:
                break
            first = min(heads, key=lambda source: order(source.rows[0], ask.sort))
            if at >= ask.offset:
                rows.append(first.rows[0])
            await first.step()
            at += 1
            if at % CHUNK == 0:
                begins[at] = tuple(source.taken for source in sources)
        counts = [self._counts[label] for label in self._labels if label in self._counts]
        return protocol.RunsAnswer(
            rows=rows,
            matching=sum(source.matching for source in sources),
            total=sum(one.total for one in counts),
            need_you=sum(one.need_you for one in counts),
            running=sum(one.running for one in counts),
            queued=sum(one.queued for one in counts),
            revision=sum(one.revision for one in counts),
            stopped=", ".join(
                f"{label}: {self._counts[label].stopped}"
                for label in self._labels
                if label in self._counts and self._counts[label].stopped
            ),
        )

    async def page(self, label: str, ask: protocol.Runs) -> tuple[list[RunRow], int]:
        """Ask one machine for a page of its list; out of reach, give what was seen of it. Returns rows and matching."""
        try:
            answer: protocol.RunsAnswer = await self._askers[label].ask(ask)
        except NoSupervisor:
            return self._page_seen(label, ask)
        rows = [placed(row, self._labels, label) for row in answer.rows]
        self._counts[label] = msgspec.structs.replace(answer, rows=[])
        self._seen[label].update({row.id: row for row in rows})
        kind = (ask.filter, ask.sort)
        if label not in self._places or self._places[label][0] != kind or ask.offset == 0:
            self._places[label] = (kind, {})
        self._places[label][1].update({row.id: ask.offset + i for i, row in enumerate(rows)})
        if ask.offset == 0 and not ask.filter and answer.matching == len(rows):
            self._seen[label] = {row.id: row for row in rows}  # all there are: removed ones go
        return rows, answer.matching

    def _page_seen(self, label: str, ask: protocol.Runs) -> tuple[list[RunRow], int]:
        text = ask.filter.lower()
        rows = [row for row in self._seen[label].values() if text in _words(row)]
        rows = merged([[row] for row in rows], ask.sort)
        kind, places = self._places.get(label, (None, {}))
        if kind == (ask.filter, ask.sort):  # as its machine had them: nothing there is known to have changed
            rows.sort(key=lambda row: places.get(row.id, len(places)))
        return rows[ask.offset : ask.offset + ask.limit], len(rows)


class _Source:
    """One machine's list, from a place on: asked for chunk by chunk as it is used up."""

    def __init__(self, fleet: Fleet, label: str, ask: protocol.Runs, begin: int) -> None:
        self._fleet, self._label, self._ask = fleet, label, ask
        self.taken = begin
        self.rows: list[RunRow] = []
        self.matching = 0

    async def more(self) -> None:
        """Ask for the rows behind those that were taken."""
        limit = min(CHUNK, max(1, self._ask.limit))
        page = msgspec.structs.replace(self._ask, offset=self.taken, limit=limit)
        self.rows, self.matching = await self._fleet.page(self._label, page)

    async def step(self) -> None:
        """Take the first row away."""
        self.rows = self.rows[1:]
        self.taken += 1
        if not self.rows and self.taken < self.matching:
            await self.more()


def _words(row: RunRow) -> str:
    return " ".join([row.name, row.model, row.method, *row.tags]).lower()

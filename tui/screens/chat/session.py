"""A chat from its opening to its end: opened or taken up, read and asked, closed with the screen.

A dropped link or a killed supervisor ends neither the chat nor its reading.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from finetop.core.errors import BadInput, FinetopError, NoSupervisor, Refused
from finetop.core.features.chat.messages import (
    WAIT_S,
    AskChat,
    ChatOpened,
    ChatPiece,
    ChatSide,
    CloseChat,
    OpenChat,
    ReadChat,
)
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.request import Answer, Request
from finetop.core.protocol.runs import JobRow, RunDetail
from finetop.core.runtime.secrets import require_sendable
from finetop.tui.app_interface import Asker, Host
from finetop.tui.screens.chat.state import USUAL_SIDES, ChatState

PACE_S, FAR_PACE_S = 0.4, 1.0  # between two pictures, here and over a link
AGAIN_S = 0.6  # between two attempts to reach the supervisor
MOST_TAKEN = 8  # numbers that other clients' prompts may have, which the transcript does not show yet
AWAY_S = 600.0  # without a key: reading ends, so that a forgotten screen does not hold a GPU


def open_chats(detail: RunDetail) -> list[JobRow]:
    """Return a run's chats that run or wait and can be joined, the newest last."""
    # a feature's screen knows its own kind by name: what can be joined has a transcript
    return [
        job for job in detail.jobs if job.verb == "chat" and job.is_under_way and not job.args.get("is_own")
    ]


def sides_of(job: JobRow) -> list[ChatSide]:
    """Return the sides of a chat that another client opened."""
    try:
        return msgspec.convert(job.args.get("sides"), list[ChatSide]) or list(USUAL_SIDES)
    except msgspec.ValidationError:
        return list(USUAL_SIDES)


def keys_of(sides: Sequence[ChatSide]) -> dict[str, str]:
    """Return the keys of endpoints from this process's environment. Raises BadInput."""
    names = [side.key_env for side in sides if side.key_env]
    for name in names:
        if not os.environ.get(name):
            raise BadInput(
                f"{name} is not set in the environment of finetop.", hint="Set it and start again."
            )
        require_sendable(name, os.environ[name])
    return {name: os.environ[name] for name in names}


@dataclass
class Session:
    """The chat of one screen: its transcript comes over a connection of its own, prompts go over the app's."""

    host: Host
    state: ChatState
    changed: Callable[[], object]
    is_away: Callable[[], bool]  # whether nobody has pressed a key for long
    refused: Callable[[AskChat, FinetopError], object]

    def __post_init__(self) -> None:
        self._stirred = asyncio.Event()  # a key was pressed
        self._has_unsent = asyncio.Event()
        self._is_ended = False

    def stir(self) -> None:
        """Read on, if reading ended because nobody was there."""
        self._stirred.set()

    def put_prompts(self) -> None:
        """Put what is on the list of unsent prompts."""
        self._has_unsent.set()

    async def begin(self, models: Sequence[ChatSide], *, joins: bool = False) -> None:
        """Open a chat with these models, or the usual ones; if one is open, offer that instead, or join it."""
        try:
            detail: RunDetail = await self._ask_again(GetRun(self.state.run))
        except FinetopError as error:
            self._show_trouble(error)
            return
        left_open = open_chats(detail)
        if joins and not left_open:
            self._show_trouble(Refused("no chat of this run is open to others.", hint="R opens one."))
        elif joins:
            self.state.left_open = left_open[-1]
            await self.take_up()
        elif left_open:
            self.state.left_open, self.state.is_typing = left_open[-1], False
            self.changed()
        else:
            await self._open(models)

    async def take_up(self) -> None:
        """Go on with the chat that was left open."""
        job = self.state.left_open
        if job is not None:
            system = str(job.args.get("system", ""))
            notices = [str(notice) for notice in job.args.get("notices", ())]
            self.state.begin(job.id, sides_of(job), job.state, trained_system=system, notices=notices)
            await self._attend()

    async def open_anew(self, sides: Sequence[ChatSide], *, on_cpu: bool = False) -> None:
        """End the chat that is open, and open another."""
        state = self.state
        job_id = state.left_open.id if state.left_open is not None else state.job_id
        if job_id is not None and not state.is_over:
            with suppress(FinetopError):
                await self.host.ask(CloseChat(state.run, job_id))
        state.job, state.job_id, state.left_open, state.trouble = None, None, None, ""
        await self._open(sides, on_cpu=on_cpu)

    async def _open(self, sides: Sequence[ChatSide], *, on_cpu: bool = False) -> None:
        state = self.state
        state.is_typing = True
        self.changed()
        try:
            request = OpenChat(state.run, list(sides), on_cpu, keys=keys_of(sides))
            chat: ChatOpened = await self._ask_again(request)  # a chat that is open already is returned
        except FinetopError as error:
            self._show_trouble(error)
            return
        state.begin(chat.job_id, chat.sides, trained_system=chat.system, notices=chat.notices)
        self._is_ended = False
        await self._attend()

    async def _ask_again(self, request: Request[Answer]) -> Answer:
        """Send a request that may be repeated, until a supervisor answers it."""
        while True:
            try:
                answer = await self.host.ask(request)
            except NoSupervisor:
                await self._wait_to_reconnect()
            else:
                self.state.is_cut = False
                return answer

    async def _wait_to_reconnect(self) -> None:
        self._show_cut(is_cut=True)
        await asyncio.sleep(AGAIN_S)

    def _show_cut(self, *, is_cut: bool) -> None:
        if self.state.is_cut != is_cut:
            self.state.is_cut = is_cut
            self.changed()

    async def _attend(self) -> None:
        """Read the transcript and put the prompts until the chat has ended."""
        self.state.is_typing = True
        self._has_unsent.set()
        self.changed()
        asker, sending = self.host.own_asker(), asyncio.ensure_future(self._send())
        try:
            await self._read(asker)
            self.state.is_typing = False
            self.changed()
        except FinetopError as error:
            self._show_trouble(error)
        finally:
            sending.cancel()
            asker.close()

    async def _read(self, asker: Asker) -> None:
        """Read until the chat has ended, from the offset that was reached. Raises FinetopError if it is refused."""
        state = self.state
        assert state.job_id is not None
        pace_s = FAR_PACE_S if any(home.link is not None for home in self.host.homes) else PACE_S
        while True:
            if self.is_away() and not state.is_answering:
                await self._sleep()
            try:
                wait_s = 0.0 if state.job is None else WAIT_S  # its state is shown first
                piece: ChatPiece = await asker.ask(ReadChat(state.run, state.job_id, state.offset, wait_s))
            except NoSupervisor:
                await self._wait_to_reconnect()
                continue
            is_new = bool(piece.lines) or piece.state != state.job
            state.offset, state.job = piece.next, piece.state
            state.feed(piece.lines, self.host.now())
            self._show_cut(is_cut=False)
            if is_new:
                self.changed()
            if state.is_over and not piece.lines:
                return
            await asyncio.sleep(pace_s)

    async def _sleep(self) -> None:
        """Wait for a key."""
        self.state.is_asleep = True
        self.changed()
        self._stirred.clear()
        await self._stirred.wait()
        self.state.is_asleep = False
        self.changed()

    async def _send(self) -> None:
        """Put each prompt in turn; over a link that breaks it is sent again: the job takes a number once."""
        state, taken = self.state, 0
        while True:
            await self._has_unsent.wait()
            self._has_unsent.clear()
            while (ask := self._next()) is not None:
                try:
                    await self.host.ask(ask)
                except NoSupervisor:
                    await self._wait_to_reconnect()
                except FinetopError as error:
                    if isinstance(error, Refused) and taken < MOST_TAKEN:
                        taken += 1
                        state.renumber()
                        continue
                    state.unsent = [other for other in state.unsent if other.number != ask.number]
                    self.refused(ask, error)
                else:
                    taken = 0
                    state.accepted.add(ask.number)
                    self.changed()

    def _next(self) -> AskChat | None:
        state = self.state
        if state.is_over:
            return None
        return next((ask for ask in state.unsent if ask.number not in state.accepted), None)

    def _show_trouble(self, error: FinetopError) -> None:
        self.state.trouble, self.state.is_typing = str(error), False
        self.changed()

    def close(self) -> CloseChat | None:
        """Return the request that ends the chat; None if it has ended or was requested."""
        state = self.state
        if self._is_ended or state.job_id is None or state.is_over:
            return None
        self._is_ended = True
        return CloseChat(state.run, state.job_id)

"""A chat from its opening to its end: opened or taken up, attended by an exchange, closed with the screen."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from finetop.core.errors import BadInput, FinetopError, NoSupervisor, Refused
from finetop.core.protocol.messages.chat import AskChat, ChatOpened, ChatSide, CloseChat, OpenChat
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.request import Answer, Request
from finetop.core.protocol.runs import JobRow, RunDetail
from finetop.tui.app_interface import Host
from finetop.tui.screens.chat.exchange import AGAIN_S, FAR_PACE_S, PACE_S, Exchange
from finetop.tui.screens.chat.state import USUAL_SIDES, ChatState


def open_chats(detail: RunDetail) -> list[JobRow]:
    """Return a run's chats that run or wait and can be joined, the newest last."""
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
    return {name: os.environ[name] for name in names}


@dataclass
class Session:
    """The chat of one screen."""

    host: Host
    state: ChatState
    changed: Callable[[], object]
    is_away: Callable[[], bool]
    refused: Callable[[AskChat, FinetopError], object]

    def __post_init__(self) -> None:
        self.exchange: Exchange | None = None
        self._is_ended = False

    def stir(self) -> None:
        """Read on, if reading ended because nobody was there."""
        if self.exchange is not None:
            self.exchange.stirred.set()

    def put_prompts(self) -> None:
        """Put what is on the list of unsent prompts."""
        if self.exchange is not None:
            self.exchange.has_unsent.set()

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
            self.state.begin(job.id, sides_of(job), job.state)
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
        state.begin(chat.job_id, chat.sides)
        self._is_ended = False
        await self._attend()

    async def _ask_again(self, request: Request[Answer]) -> Answer:
        """Send a request that may be repeated, until a supervisor answers it."""
        while True:
            try:
                answer = await self.host.ask(request)
            except NoSupervisor:
                self.state.is_cut = True
                self.changed()
                await asyncio.sleep(AGAIN_S)
            else:
                self.state.is_cut = False
                return answer

    async def _attend(self) -> None:
        """Read the transcript and put the prompts until the chat has ended."""
        host, state = self.host, self.state
        state.is_typing = True
        is_far = any(home.link is not None for home in host.homes)
        pace_s = FAR_PACE_S if is_far else PACE_S
        exchange = Exchange(host, host.own_asker(), state, self.changed, self.is_away, self.refused, pace_s)
        self.exchange = exchange
        exchange.has_unsent.set()
        self.changed()
        sending = asyncio.ensure_future(exchange.send())
        try:
            await exchange.read()
            state.is_typing = False
            self.changed()
        except FinetopError as error:
            self._show_trouble(error)
        finally:
            sending.cancel()
            exchange.asker.close()

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

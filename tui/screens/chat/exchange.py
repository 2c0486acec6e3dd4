"""Reads a chat's transcript and puts its prompts. A dropped link or a killed supervisor ends neither."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from finetop.core.errors import FinetopError, NoSupervisor, Refused
from finetop.core.protocol.messages.chat import WAIT_S, AskChat, ChatPiece, ReadChat
from finetop.tui.app_interface import Asker, Host
from finetop.tui.screens.chat.state import ChatState

PACE_S, FAR_PACE_S = 0.4, 1.0  # between two pictures, here and over a link
AGAIN_S = 0.6  # between two attempts to reach the supervisor
MOST_TAKEN = 8  # numbers that other clients' prompts may have, which the transcript does not show yet
AWAY_S = 600.0  # without a key: reading ends, so that a forgotten screen does not hold a GPU


@dataclass
class Exchange:
    """Reads a chat's transcript over a connection of its own, and puts prompts over the app's."""

    host: Host
    asker: Asker
    state: ChatState
    changed: Callable[[], object]
    is_away: Callable[[], bool]  # whether nobody has pressed a key for long
    refused: Callable[[AskChat, FinetopError], object]
    pace_s: float = PACE_S

    def __post_init__(self) -> None:
        self.stirred = asyncio.Event()  # a key was pressed
        self.has_unsent = asyncio.Event()

    async def read(self) -> None:
        """Read until the chat has ended, from the offset that was reached. Raises FinetopError if it is refused."""
        state = self.state
        assert state.job_id is not None
        while True:
            if self.is_away() and not state.is_answering:
                await self._sleep()
            try:
                wait_s = 0.0 if state.job is None else WAIT_S  # its state is shown first
                request = ReadChat(state.run, state.job_id, state.offset, wait_s)
                piece: ChatPiece = await self.asker.ask(request)
            except NoSupervisor:
                self._show_cut(is_cut=True)
                await asyncio.sleep(AGAIN_S)
                continue
            is_new = bool(piece.lines) or piece.state != state.job
            state.offset, state.job = piece.next, piece.state
            state.feed(piece.lines, self.host.now())
            self._show_cut(is_cut=False)
            if is_new:
                self.changed()
            if state.is_over and not piece.lines:
                return
            await asyncio.sleep(self.pace_s)

    async def _sleep(self) -> None:
        self.state.is_asleep = True
        self.changed()
        self.stirred.clear()
        await self.stirred.wait()
        self.state.is_asleep = False
        self.changed()

    def _show_cut(self, *, is_cut: bool) -> None:
        if self.state.is_cut != is_cut:
            self.state.is_cut = is_cut
            self.changed()

    async def send(self) -> None:
        """Put each prompt in turn; over a link that breaks it is sent again: the job takes a number once."""
        state, taken = self.state, 0
        while True:
            await self.has_unsent.wait()
            self.has_unsent.clear()
            while (ask := self._next()) is not None:
                try:
                    await self.host.ask(ask)
                except NoSupervisor:
                    self._show_cut(is_cut=True)
                    await asyncio.sleep(AGAIN_S)
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

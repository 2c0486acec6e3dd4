"""One open chat, for a command: it goes on when the supervisor or a link goes away."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from finetop.core.client.connection import Client, ask_once
from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.features.chat import messages
from finetop.core.features.chat.messages import ChatLine, ChatOpened, ChatSettings
from finetop.core.protocol import runs as data
from finetop.core.protocol.request import Answer, Request
from finetop.core.runtime.home import Home

ATTEMPTS = 20  # to reach a supervisor that went away
AGAIN_S = 0.3
LINK_PACE_S = 0.4  # between two reads over a link: each costs some 300 bytes


class ChatEnded(FinetopError):
    """The chat's job has ended."""


@dataclass
class Chat:
    """One chat of one client."""

    home: Home
    opened: ChatOpened
    offset: int = 0
    number: int = 0  # of the newest prompt
    state: data.State = field(default_factory=lambda: data.Queued(place=0))
    ends_at: float = 0.0
    _client: Client | None = None

    def catch_up(self) -> list[ChatLine]:
        """Read what is there already, of a chat that was open before."""
        lines = list[ChatLine]()
        while new := self.read(0.0):
            lines += new
        return lines

    def read(self, wait_s: float = messages.WAIT_S) -> list[ChatLine]:
        """Read what is new, waiting for it."""
        ask = messages.ReadChat(self.opened.run, self.opened.job_id, self.offset, wait_s)
        piece = self.send(ask)
        self.offset, self.state = piece.next, piece.state
        for line in piece.lines:
            self.number = max(self.number, line.number)
        return piece.lines

    def ask(
        self, text: str, settings: ChatSettings, *, fresh: bool = False, sides: Sequence[int] = ()
    ) -> int:
        """Put a prompt. Return its number."""
        run, job = self.opened.run, self.opened.job_id
        self.number += 1
        self.send(messages.AskChat(run, job, self.number, text, settings, fresh, list(sides)))
        return self.number

    def answers(self, number: int, sides: Sequence[int] = ()) -> Iterator[list[ChatLine]]:
        """Yield the lines of the answers to a prompt until all sides have ended; an empty list if the state changed.

        Raises ChatEnded if the chat ends before, with its reason.
        """
        unended = set(sides or range(len(self.opened.sides)))
        while unended:
            lines = self.read()
            for line in lines:
                if line.number == number and line.kind in ("end", "error"):
                    unended.discard(line.side)
            yield lines
            if not lines and isinstance(self.state, data.Ended):
                raise ChatEnded(f"the chat has ended: {why_ended(self.state)}", hint=hint_of(self.state))
            if self.home.link is not None and unended:
                time.sleep(LINK_PACE_S)

    def stop(self) -> None:
        """End the answers that are being generated."""
        self.forget()
        self.send(messages.StopAnswers(self.opened.run, self.opened.job_id))

    def close(self) -> None:
        """End the chat, if a supervisor can be reached."""
        self.forget()
        with suppress(FinetopError):
            ask_once(self.home, messages.CloseChat(self.opened.run, self.opened.job_id))

    def send(self, ask: Request[Answer]) -> Answer:
        """Send a request, again if its answer did not come: none of them has another effect the second time."""
        for attempt in range(ATTEMPTS + 1):
            try:
                if self._client is None:
                    self._client = Client(self.home)
                return self._client.ask(ask)
            except NoSupervisor:
                self.forget()
                if attempt == ATTEMPTS:
                    raise
                time.sleep(AGAIN_S)
                if self.home.link is not None:
                    self.home.link.wait()
            except KeyboardInterrupt:
                self.forget()  # its answer would be read as the next request's
                raise
        raise AssertionError

    def forget(self) -> None:
        """Close the connection; the next request opens another."""
        if self._client is not None:
            self._client.close()
            self._client = None


def why_ended(state: data.State) -> str:
    """Return why a chat's job has ended."""
    cause = getattr(state, "cause", "")
    return str(cause or data.word(state)).rstrip(".") + "."


def hint_of(state: data.State) -> str:
    return state.hint if isinstance(state, data.Failed) else ""


def open_chat(home: Home, ask: messages.OpenChat) -> Chat:
    """Open a chat, and read what one that was open already holds."""
    chat = Chat(home, ask_once(home, ask))
    chat.catch_up()
    return chat

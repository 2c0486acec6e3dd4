"""A supervisor in memory with a chat: its transcript grows as a test writes it, and every request is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from tui_fakes import NOW, FakeSupervisor, mixed_rows

from finetop.core.errors import NoSupervisor, Refused
from finetop.core.features.chat.messages import (
    AskChat,
    ChatLine,
    ChatOpened,
    ChatPiece,
    ChatPrompt,
    ChatPrompts,
    ChatPromptsAnswer,
    ChatSide,
    CloseChat,
    KeepAnswer,
    OpenChat,
    ReadChat,
    StopAnswers,
)
from finetop.core.protocol.messages.limits import Done
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.request import Ask
from finetop.core.protocol.runs import CheckpointRow, Finished, JobRow, Queued, Running, State

RUN = "support-full-1e-4"
ORDERS = (OpenChat, AskChat, StopAnswers, CloseChat, KeepAnswer)
LOADING = Running(NOW - 4, "loading model")
SIDES = [ChatSide("base", "base"), ChatSide("tuned", "checkpoint", run=RUN, step=1200)]


def at_hand() -> list[ChatPrompt]:
    """Return prompts of each source."""
    return [
        ChatPrompt("recipe", "sample prompt 1", "Where is my order?", "You are a helpful pirate."),
        ChatPrompt("test", "row 1", "How do I return a parcel?", expected="Within 30 days, matey."),
        ChatPrompt("test", "row 2", "Do you ship to Malta?", expected="Aye, in five days."),
        ChatPrompt("lost", "arith item 17", "Q: What is 47 + 38?\nA:", expected="85", raw=True),
    ]


class ChattingSupervisor(FakeSupervisor):
    """Opens chats whose transcript a test writes: bytes are lines here, so an offset is a number of lines."""

    def __init__(self, job: State = LOADING, jobs: list[JobRow] | None = None) -> None:
        super().__init__(mixed_rows())
        self.job: State = job
        self.jobs = jobs or []
        self.lines: list[ChatLine] = []
        self.prompts = at_hand()
        self.opened = 40
        self.refusal: Callable[[Ask], str] = lambda ask: ""  # why a request is refused
        self.reads = 0
        self._written = asyncio.Event()

    def write(self, *lines: ChatLine, job: State | None = None) -> None:
        """Add lines to the transcript; `job` is the chat's state from now on."""
        self.lines += lines
        self.job = self.job if job is None else job
        self._wake()

    def _wake(self) -> None:
        self._written.set()
        self._written = asyncio.Event()

    def leave(self) -> None:
        super().leave()
        self._wake()

    async def ask(self, ask: Ask) -> Any:
        if isinstance(ask, ReadChat):
            return await self._read(ask)
        if isinstance(ask, (GetRun, ChatPrompts, *ORDERS)) and self.is_gone:
            raise NoSupervisor("no supervisor answers.")
        if words := self.refusal(ask):
            raise Refused(words)
        if isinstance(ask, ORDERS):
            self.asked.append(ask)
        match ask:
            case OpenChat():
                self.opened += 1
                return ChatOpened(self.opened, ask.run, ask.sides or SIDES)
            case AskChat() | StopAnswers():
                return Done("done.")
            case CloseChat():
                self.write(job=Finished(NOW - 60, NOW))
                return Done("the chat is ending.")
            case KeepAnswer():
                return Done(f"wrote row 13 of {ask.to}." if ask.to else f"kept as a sample of {ask.run}.")
            case ChatPrompts():
                return ChatPromptsAnswer(self.prompts)
            case GetRun():
                detail = await super().ask(ask)
                saved = [CheckpointRow(step, f"step-{step}", 10**8, "full", NOW) for step in (400, 1200)]
                return msgspec.structs.replace(detail, jobs=self.jobs, checkpoints=saved)
        return await super().ask(ask)

    async def _read(self, ask: ReadChat) -> ChatPiece:
        self.reads += 1
        told = self.job
        while not self.is_gone and ask.offset >= len(self.lines) and self.job is told and self.reads > 1:
            await self._written.wait()
        if self.is_gone:
            raise NoSupervisor("the supervisor went away.")
        return ChatPiece(self.lines[ask.offset :], len(self.lines), self.job)


def ready() -> list[ChatLine]:
    return [ChatLine("ready", NOW - 3, text="GPU 0, NVIDIA H100")]


def prompt(number: int, text: str, *, fresh: bool = False) -> ChatLine:
    return ChatLine("prompt", NOW - 2, number=number, text=text, fresh=fresh)


def answer(side: int, number: int, text: str) -> list[ChatLine]:
    """Return an answer word by word, without its end."""
    words = [f" {word}" if place else word for place, word in enumerate(text.split(" "))]
    return [ChatLine("text", NOW - 1 + place / 4, side, number, word) for place, word in enumerate(words)]


def end(side: int, number: int, tokens: int, *, why: Any = "end") -> ChatLine:
    times = {"first_s": 0.21, "took_s": tokens / 16, "prompt_tokens": 31}
    return ChatLine("end", NOW, side, number, why=why, tokens=tokens, **times)


def chat_job() -> JobRow:
    """Return a chat that another client left open."""
    args = {"sides": msgspec.to_builtins(SIDES)}
    return JobRow(31, "chat", Running(NOW - 900, "answering"), 1, "chats/31", 0, args)


WAITING = Queued(2, "GPU 0 is support-r16's")
LONG = (
    "Within 30 days you can send it back, matey, and the postage is ours. Put the parcel into the chest at the "
    "harbour, keep the slip, and the gold is back in your purse within five days of its landing."
)


def conversation() -> list[ChatLine]:
    """Return two turns: one answered, one being answered by the tuned side."""
    return [
        *ready(),
        prompt(1, "Where is my order?"),
        *answer(0, 1, "I can help you with that. Could you tell me the number of your order?"),
        end(0, 1, 17),
        *answer(1, 1, "Ahoy! Your parcel sails today."),
        end(1, 1, 8),
        prompt(2, "How do I return a parcel?"),
        *answer(0, 2, "You can return it within 30 days."),
        end(0, 2, 9, why="length"),
        *answer(1, 2, LONG),
    ]

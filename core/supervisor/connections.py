"""Connections to the supervisor, with limits on the memory that each client can make it hold.

A client that sends half a line for ever, never reads its answers or connects a thousand times is cut off at these
limits; the others are served meanwhile.
"""

from __future__ import annotations

import asyncio
import resource
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from finetop.core.protocol import wire
from finetop.core.protocol.patch_cache import SentAnswers

MOST = 500  # connections; an app has two
HELD_BYTES = 64 << 20  # of all clients' unfinished requests and unread answers
PIECE_BYTES = 64 << 10  # read at a time; a smaller answer is not counted
TAKE_S = 60.0  # without any byte of an answer read
BUFFERS_FULL = "other clients don't read their answers, and the supervisor's buffers are full: try again."


class TooMuch(Exception):
    """A client exceeds a limit; the message is sent to it before it is cut off."""


@dataclass(eq=False)
class Caller:
    """One connection; idle while no request of it is being answered."""

    reader: StreamReader
    writer: StreamWriter
    is_idle: bool = True
    held: int = 0  # bytes
    sent: SentAnswers = field(default_factory=SentAnswers)

    def cut_off(self) -> None:
        self.writer.transport.abort()


@dataclass
class Callers:
    """All connections, the one that has been silent longest first."""

    there: dict[Caller, None] = field(default_factory=dict)
    held: int = 0

    def enter(self, caller: Caller) -> None:
        """Add a connection; of too many, cut off the one idle longest. Raises TooMuch if all are being answered."""
        if len(self.there) >= most():
            idle = next((other for other in self.there if other.is_idle), None)
            if idle is None:
                raise TooMuch(f"{len(self.there)} connections are being answered: try again.")
            self.leave(idle)
            idle.cut_off()
        self.there[caller] = None

    def leave(self, caller: Caller) -> None:
        self.there.pop(caller, None)
        self.hold(caller, 0)

    def hear(self, caller: Caller) -> None:
        """Move a client to the end: it just sent something."""
        if caller in self.there:
            self.there[caller] = self.there.pop(caller)

    def hold(self, caller: Caller, size: int) -> None:
        """Set the bytes held for a client. Raises TooMuch if that exceeds the limit for all clients."""
        if self.held - caller.held + size > HELD_BYTES and size > caller.held:
            raise TooMuch(BUFFERS_FULL)
        self.held += size - caller.held
        caller.held = size


def most() -> int:
    """Return the connection limit: half of this process's file limit is reserved for everything else."""
    return min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


async def lines(callers: Callers, caller: Caller) -> AsyncIterator[bytes]:
    """Yield a client's lines as they arrive. Raises TooMuch if a line exceeds the limit."""
    waiting = bytearray()
    while piece := await caller.reader.read(PIECE_BYTES):
        callers.hear(caller)
        seen = len(waiting)
        waiting += piece
        for line in _whole(waiting, seen):
            yield line
        if len(waiting) > wire.REQUEST_LIMIT:
            raise TooMuch(f"a request is longer than {wire.REQUEST_LIMIT >> 20} MiB.")
        callers.hold(caller, len(waiting))


def _whole(waiting: bytearray, seen: int) -> Iterator[bytes]:
    """Remove the complete lines from `waiting` and yield them; its first `seen` bytes hold no newline."""
    while (end := waiting.find(b"\n", seen)) >= 0:
        line, seen = bytes(waiting[:end]), 0
        del waiting[: end + 1]
        yield line


async def hand_over(callers: Callers, caller: Caller, answer: bytes) -> None:
    """Send an answer and wait until nearly all is read. Raises TooMuch, and ConnectionError after a silent minute."""
    before = caller.held
    if len(answer) > PIECE_BYTES:
        callers.hold(caller, before + len(answer))
    caller.writer.write(answer)
    unread = waiting_for(caller)
    while True:
        try:
            await asyncio.wait_for(caller.writer.drain(), TAKE_S)
        except TimeoutError:
            if waiting_for(caller) >= unread:
                caller.cut_off()
                raise ConnectionAbortedError from None
            unread = waiting_for(caller)
        else:
            callers.hold(caller, before)
            return


def waiting_for(caller: Caller) -> int:
    """Return how many bytes sent to a client are still unread."""
    return caller.writer.transport.get_write_buffer_size()


def say_goodbye(caller: Caller) -> None:
    """Close a connection once everything is read; a client that does not read is cut off after a minute."""
    caller.writer.close()
    if waiting_for(caller):
        asyncio.get_running_loop().call_later(TAKE_S, caller.cut_off)

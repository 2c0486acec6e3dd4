"""Who is connected to the supervisor, and how much of its memory they may hold: none can take it from the others.

A caller that sends half a line for ever, never takes its answer, or connects a thousand times is cut off at these
limits; the rest are served meanwhile.
"""

from __future__ import annotations

import asyncio
import resource
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from finetop.core.protocol import wire
from finetop.core.protocol.patch_cache import Told

MOST = 500  # connections; an app has two
HELD_BYTES = 64 << 20  # of all callers' unfinished requests and answers that were not taken yet
PIECE_BYTES = 64 << 10  # read at a time; an answer up to this size is not counted
TAKE_S = 60.0  # without a byte taken of an answer


class TooMuch(Exception):
    """A caller is over a limit: what is said to it before it is cut off."""


@dataclass(eq=False)
class Caller:
    """One connection; idle while nothing of it is being answered."""

    reader: StreamReader
    writer: StreamWriter
    is_idle: bool = True
    held: int = 0  # bytes
    told: Told = field(default_factory=Told)

    def cut_off(self) -> None:
        self.writer.transport.abort()


@dataclass
class Callers:
    """All connections: the one that has been silent for longest first."""

    there: dict[Caller, None] = field(default_factory=dict)
    held: int = 0

    def enter(self, caller: Caller) -> None:
        """Take in a connection. Where there are too many, the one that was idle for longest is cut off for it.

        Raises TooMuch where all are being answered.
        """
        if len(self.there) >= most():
            idle = next((one for one in self.there if one.is_idle), None)
            if idle is None:
                raise TooMuch(f"{len(self.there)} connections are being answered: try again.")
            self.leave(idle)
            idle.cut_off()
        self.there[caller] = None

    def leave(self, caller: Caller) -> None:
        self.there.pop(caller, None)
        self.hold(caller, 0)

    def hear(self, caller: Caller) -> None:
        """Note that a caller has said something."""
        if caller in self.there:
            self.there[caller] = self.there.pop(caller)

    def hold(self, caller: Caller, size: int) -> None:
        """Count what a caller holds from now on. Raises TooMuch where that is more than there is for all."""
        if self.held - caller.held + size > HELD_BYTES and size > caller.held:
            raise TooMuch(
                "other clients don't read their answers, and the supervisor's buffers are full: try again."
            )
        self.held += size - caller.held
        caller.held = size


def most() -> int:
    """How many connections there may be: half of the files that this process may open are for the rest."""
    return min(MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


async def lines(callers: Callers, caller: Caller) -> AsyncIterator[bytes]:
    """Yield a caller's lines as they come. Raises TooMuch at one that is over the limit."""
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
    """Take the whole lines out of what waits, of which `seen` bytes are known to hold no end of one."""
    while (end := waiting.find(b"\n", seen)) >= 0:
        line, seen = bytes(waiting[:end]), 0
        del waiting[: end + 1]
        yield line


async def hand_over(callers: Callers, caller: Caller, answer: bytes) -> None:
    """Send an answer, and wait until nearly all of it is taken.

    Raises TooMuch where too much waits for others, ConnectionError when nothing of it is taken for a minute.
    """
    before = caller.held
    if len(answer) > PIECE_BYTES:
        callers.hold(caller, before + len(answer))
    caller.writer.write(answer)
    left = waiting_for(caller)
    while True:
        try:
            await asyncio.wait_for(caller.writer.drain(), TAKE_S)
        except TimeoutError:
            if waiting_for(caller) >= left:
                caller.cut_off()
                raise ConnectionAbortedError from None
            left = waiting_for(caller)
        else:
            callers.hold(caller, before)
            return


def waiting_for(caller: Caller) -> int:
    """How many bytes were sent to a caller that it has not taken."""
    return caller.writer.transport.get_write_buffer_size()


def say_goodbye(caller: Caller) -> None:
    """Close a connection once the rest is taken; a caller that does not take it is cut off in a minute."""
    caller.writer.close()
    if waiting_for(caller):
        asyncio.get_running_loop().call_later(TAKE_S, caller.cut_off)

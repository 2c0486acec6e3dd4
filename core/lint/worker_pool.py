"""Gives blocks of rows to worker processes in turn, and takes what they saw in the order of the blocks."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.lint.lines import Block
from finetop.core.lint.worker import Looker, Seen, Setup, read_message, write_message

AHEAD = 2  # blocks that a worker has before it: one at work, one that waits
ALONE_BYTES = 400_000  # of data are looked at faster here than by workers, that take 0.5 s to start


class Hands(Protocol):
    """Looks at blocks."""

    def looked(self, blocks: Iterable[Block]) -> Iterator[Seen]:
        """Look at all blocks; what was seen comes in their order."""
        ...


class Alone:
    """Looks at blocks in this process."""

    def __init__(self, setup: Setup) -> None:
        self.looker = Looker(setup)

    def looked(self, blocks: Iterable[Block]) -> Iterator[Seen]:
        """Look at one block after the other."""
        for block in blocks:
            seen = self.looker.look(block)
            # What a finding saw goes through msgpack in every case, so that it is the same in every case.
            yield msgspec.msgpack.decode(msgspec.msgpack.encode(seen), type=Seen)


class _Worker:
    """One process, and a thread that reads what it says, so that neither waits for the other to read."""

    def __init__(self, setup: Setup) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "finetop.core.lint.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.waiting = 0
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()
        with contextlib.suppress(BrokenPipeError):
            write_message(self.stdin, setup)

    def _listen(self) -> None:
        while (message := read_message(self.stdout)) is not None:
            self.answers.put(message)
        self.answers.put(None)

    def give(self, block: Block) -> None:
        self.waiting += 1
        with contextlib.suppress(BrokenPipeError):  # its answer tells
            write_message(self.stdin, block)

    def take(self) -> Seen:
        message = self.answers.get()
        if message is None:
            code = self.process.wait()
            raise FinetopError(f"a worker of lint ended (exit {code}).", hint="Its last output is above.")
        self.waiting -= 1
        return msgspec.msgpack.decode(message, type=Seen)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()


class Several:
    """Looks at blocks in several processes."""

    def __init__(self, workers: list[_Worker]) -> None:
        self.workers = workers

    def looked(self, blocks: Iterable[Block]) -> Iterator[Seen]:
        """Deal blocks in turn, and give what was seen in their order."""
        pending: deque[_Worker] = deque()
        for number, block in enumerate(blocks):
            worker = self.workers[number % len(self.workers)]
            while worker.waiting >= AHEAD:
                yield pending.popleft().take()
            worker.give(block)
            pending.append(worker)
        while pending:
            yield pending.popleft().take()


@contextmanager
def hands(setup: Setup, workers: int, size: int) -> Iterator[Hands]:
    """Start the workers that so many bytes of data are worth; they end with this."""
    if workers < 2 or 0 < size < ALONE_BYTES:
        yield Alone(setup)
        return
    started: list[_Worker] = []
    try:
        for _ in range(workers):
            started.append(_Worker(setup))
        yield Several(started)
    finally:
        for worker in started:
            worker.end()

"""Deals blocks of rows to worker processes in turn, and returns their results in the order of the blocks."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import msgspec

from finetop.core.errors import FinetopError
from finetop.core.features.lint.lines import Block
from finetop.core.features.lint.worker import BlockRunner, Seen, Setup, read_message, write_message
from finetop.core.runtime.processes import python

AHEAD = 2  # blocks assigned to a worker: one in progress, one waiting
ALONE_BYTES = 400_000  # smaller data are processed faster here than by workers, which take 0.5 s to start


Workers = Callable[[Iterable[Block]], Iterator[Seen]]  # what was seen comes in the order of the blocks


def _alone(scanner: BlockRunner, blocks: Iterable[Block]) -> Iterator[Seen]:
    """Look at one block after the other in this process."""
    for block in blocks:
        seen = scanner.scan(block)
        # Results always go through msgpack, so that they are the same with and without workers.
        yield msgspec.msgpack.decode(msgspec.msgpack.encode(seen), type=Seen)


class _Worker:
    """One process, and a thread that reads its output, so that neither blocks the other."""

    def __init__(self, setup: Setup) -> None:
        command = python("finetop.core.features.lint.worker")
        env = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
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
        with contextlib.suppress(BrokenPipeError):  # reported when its answer is read
            write_message(self.stdin, block)

    def receive(self) -> Seen:
        message = self.answers.get()
        if message is None:
            code = self.process.wait()
            raise FinetopError(f"a lint worker exited with code {code}.", hint="Its last output is above.")
        self.waiting -= 1
        return msgspec.msgpack.decode(message, type=Seen)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join()
        with contextlib.suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()


def _dealt(workers: Sequence[_Worker], blocks: Iterable[Block]) -> Iterator[Seen]:
    """Deal blocks to several processes in turn, and give what was seen in their order."""
    pending: deque[_Worker] = deque()
    for number, block in enumerate(blocks):
        worker = workers[number % len(workers)]
        while worker.waiting >= AHEAD:
            yield pending.popleft().receive()
        worker.give(block)
        pending.append(worker)
    while pending:
        yield pending.popleft().receive()


@contextmanager
def open_workers(setup: Setup, workers: int, size: int) -> Iterator[Workers]:
    """Yield workers if that many bytes of data are worth starting them; they end with the context."""
    if workers < 2 or 0 < size < ALONE_BYTES:
        yield partial(_alone, BlockRunner(setup))
        return
    started: list[_Worker] = []
    try:
        for _ in range(workers):
            started.append(_Worker(setup))
        yield partial(_dealt, started)
    finally:
        for worker in started:
            worker.end()

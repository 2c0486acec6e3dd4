"""The append-only file of a job's events, written line by line and repaired after a crash."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from finetop.core.protocol.events import Event, Line, Unreadable, decode
from finetop.core.runtime.files import open_own, retry_file_work


class EventLog:
    """Append-only writer: each event is one write() of one whole line, so readers never wait for a flush.

    A line cut short by a crash gets its newline before the next is written. On a full disk `write` does not raise but
    counts in `lost`, so that logging never kills training; `sync` makes lines durable. A deleted file is created again.
    Without a path events are only passed to `seen`.
    """

    def __init__(self, path: Path | None, seen: Callable[[Event], None] = lambda event: None) -> None:
        self._path = path
        self._seen = seen  # called with every event
        self._file = retry_file_work(self._open)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()
        self.lost = 0
        self._torn = False  # a crash or a full disk cut the last line
        self._number = retry_file_work(self._resume)
        self._turn = threading.Lock()  # other threads write events too

    def _open(self) -> int:
        if self._path is None:
            return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        return open_own(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def _resume(self) -> int:
        size = os.fstat(self._file).st_size
        if not size:
            return 0
        tail = os.pread(self._file, min(size, 1 << 20), max(0, size - (1 << 20)))
        self._torn = not tail.endswith(b"\n")
        for line in reversed(tail.splitlines()):
            try:
                return decode(line).n
            except Unreadable:
                continue
        return 0

    @property
    def number(self) -> int:
        """The number of the last event."""
        return self._number

    def number_behind(self, ingested: int) -> None:
        """Continue after a number that was ingested; else lines after a truncation would count as known."""
        self._number = max(self._number, ingested)

    def write(self, event: Event) -> None:
        self._seen(event)
        with self._turn:
            self._number += 1
            self._encoder.encode_into(Line(self._number, time.time(), event), self._buffer)
            self._buffer += b"\n"
            if self._torn:
                self._buffer[:0] = b"\n"
            try:
                if not os.fstat(self._file).st_nlink:  # deleted: nobody would read it
                    os.dup2(fresh := self._open(), self._file, inheritable=False)
                    os.close(fresh)
                written = os.write(self._file, self._buffer)
            except OSError:
                written = 0
            if written < len(self._buffer):
                self.lost += 1
                self._torn = self._torn or written > 0
            else:
                self._torn = False

    def write_at_last(self, event: Event, *, patience_s: float = 300.0) -> None:
        """Write a job's final event, waiting for room on a full disk: without it nobody knows how the job ended."""
        deadline = time.monotonic() + patience_s
        while True:
            lost = self.lost
            self.write(event)
            if self.lost == lost or time.monotonic() > deadline:
                return
            time.sleep(1.0)

    def sync(self) -> None:
        """Wait until the lines are on disk: after a checkpoint and at the end."""
        try:
            os.fsync(self._file)
        except OSError:
            self.lost += 1

    def close(self) -> None:
        os.close(self._file)

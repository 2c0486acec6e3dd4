"""Weights & Biases' own file of a run, offline or not: wandb/run-*/run-ID.wandb.

A LevelDB log (blocks of 32 KiB; records in pieces with a CRC, a length and a type) of protobuf Records, of which
history (2) has items (1) with a key (1) or nested keys (2) and a value as JSON (16), and a step (2) with a number (1).
The configuration is in config (5) and in the run's (17) config (4), whose updates (1) are such items:
wandb_internal.proto of wandb 0.31.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.external.configuration import add, settings_of
from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import TIMES, first, flat, metrics_of, step_of
from finetop.core.external.sources._protobuf import Broken, fields
from finetop.core.runtime.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

PATTERNS = ("wandb/*run-*/run-*.wandb", "*/wandb/*run-*/run-*.wandb")
LOG, LOG_HEAD = "logs/debug.log", 4096  # beside a run's file; bytes that name the process
PROCESS = re.compile(rb" MainThread:(\d+) ")
BLOCK, HEADER, MAGIC = 1 << 15, 7, b":W&B"
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
HISTORY, ITEM, STEP, NUMBER, KEY, NESTED, JSON = 2, 1, 2, 1, 1, 2, 16
CONFIG, RUN, CONFIG_OF_RUN, UPDATE = 5, 17, 4, 1
MOST_BYTES = 8 << 20  # of one read
LONGEST = 64 << 20  # bytes of a record


class Run(Reader):
    """One run's file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_of_one_process = True
        self._offset = 0
        self._pieces = bytearray()  # of a record that is not complete

    def read(self) -> list[Point]:
        with open_regular(self.path) as file:
            size = file.seek(0, 2)
            file.seek(self._offset)
            data = file.read(MOST_BYTES)
        if self._offset == 0:
            if len(data) < HEADER or not data.startswith(MAGIC):
                return []
            self._offset, data = HEADER, data[HEADER:]
        points = []
        self.behind = len(data) > BLOCK and self._offset + len(data) < size
        for record in self._records(data):
            if (point := _point(record)) is not None:
                points.append(point)
            elif config := _config(record):
                add(self.config, settings_of(config))
        return points

    def _records(self, data: bytes) -> Iterator[bytes]:
        """Yield the whole records of some bytes from the offset on; what is cut waits for the next read."""
        at = 0
        while True:
            left = BLOCK - (self._offset + at) % BLOCK
            if left < HEADER:
                at += left  # the rest of a block is padding
                continue
            if at + HEADER > len(data):
                break
            length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
            if at + HEADER + length > len(data):
                break
            piece = data[at + HEADER : at + HEADER + length]
            at += HEADER + length
            if kind in (WHOLE, FIRST) or len(self._pieces) > LONGEST:
                self._pieces.clear()
            self._pieces += piece
            if kind in (WHOLE, LAST):
                yield bytes(self._pieces)
                self._pieces.clear()
            elif kind not in (FIRST, MIDDLE):
                self._pieces.clear()  # zeros, or damaged: the next block
                at += left - HEADER - length
        self._offset += min(at, len(data))


def _point(record: bytes) -> Point | None:
    values: dict[str, object] = {}
    step = None
    try:
        for number, history in fields(record):
            if number != HISTORY:
                continue
            for part, value in fields(history):
                if part == ITEM:
                    values.update(_item(value))
                elif part == STEP:
                    step = dict(fields(value)).get(NUMBER, 0)
    except (Broken, ValueError, RecursionError):
        return None
    numbers = flat(values)
    own = step_of({key: value for key, value in numbers.items() if key != "_step"})
    step = own if own is not None else step if isinstance(step, int) else step_of(numbers)
    wanted = {key: value for key, value in metrics_of(numbers).items() if not key.startswith("_")}
    return Point(step, wanted, first(numbers, TIMES) or 0.0) if wanted and step is not None else None


def _config(record: bytes) -> dict[str, Any]:
    """Return what a record changes of the configuration."""
    config: dict[str, Any] = {}
    try:
        for number, part in fields(record):
            parts = [part] if number == CONFIG else []
            if number == RUN:
                parts = [inner for kind, inner in fields(part) if kind == CONFIG_OF_RUN]
            items = (item for one in parts for kind, item in fields(one) if kind == UPDATE)
            config |= {name: value for item in items for name, value in _item(item).items()}
    except (Broken, ValueError, RecursionError):
        return {}
    return config


def _item(item: int | bytes) -> dict[str, object]:
    keys: list[str] = []
    value: object = None
    for number, part in fields(item):
        if isinstance(part, bytes):
            if number in (KEY, NESTED):
                keys.append(part.decode("utf-8", "replace"))
            elif number == JSON:
                value = json.loads(part)
    return {"/".join(key for key in keys if key): value} if keys else {}


class Wandb(Source):
    about = "Weights & Biases' file of the run, offline too"
    rank = 4

    def find(self, places: Places) -> Iterator[Path]:
        own = places.environment.get("WANDB_DIR")
        for folder in (*places.folders, *([Path(own)] if own else [])):
            for file in (file for pattern in PATTERNS for file in folder.glob(pattern)):
                if not file.parent.is_symlink() and places.is_new(file):
                    yield file

    def writer_in(self, path: Path) -> int:
        """Return the process that logged the run's beginning; the file itself is written by one below it."""
        try:
            with open_regular(path.parent / LOG) as file:
                named = PROCESS.search(file.read(LOG_HEAD))
        except OSError:
            return 0
        return int(named[1]) if named else 0

    def open(self, path: Path, places: Places) -> Run:
        return Run(path)


PLUGIN = Wandb()

"""Files that training programs write their numbers to, built byte by byte, and what finetop reads of them."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetop.core.external import sources
from finetop.core.external.numbers import Numbers
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.external.search import wanted
from finetop.core.external.sources import Places, Reader
from finetop.core.protocol import events
from finetop.core.runtime.event_log import EventLog
from finetop.core.train.alarms import Alarms

BLOCK, HEADER = 1 << 15, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def put(path: Path, content: str | bytes, *, adds: bool = False) -> Path:
    """Write a file, or add to it, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if adds else "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def json_lines(*rows: object) -> str:
    """Return a line for each row; a text is one as it is."""
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes((*parts, value))


def message(*parts: tuple[int, int | float | bytes | str]) -> bytes:
    """Encode a protobuf message: integers as varints, floats as doubles, texts and bytes with their length."""
    raw = b""
    for number, value in parts:
        if isinstance(value, int):
            raw += varint(number << 3 | VARINT) + varint(value)
        elif isinstance(value, float):
            raw += varint(number << 3 | FIXED64) + struct.pack("<d", value)
        else:
            value = value.encode() if isinstance(value, str) else value
            raw += varint(number << 3 | BYTES) + varint(len(value)) + value
    return raw


def simple(tag: str, value: float) -> bytes:
    return message((1, tag)) + varint(2 << 3 | FIXED32) + struct.pack("<f", value)


def framed(record: bytes) -> bytes:
    return struct.pack("<Q", len(record)) + b"crc!" + record + b"crc!"


def scalars(step: int, at: float = 0.0, **values: float) -> bytes:
    """Return an event file's records, one a value; `__` in a name stands for /."""
    tags = ((name.replace("__", "/"), value) for name, value in values.items())
    return b"".join(
        framed(message((1, at), (2, step), (5, message((1, simple(tag, value)))))) for tag, value in tags
    )


def tensor(step: int, tag: str, dtype: int, *parts: tuple[int, int | float | bytes | str]) -> bytes:
    value = message((1, tag), (8, message((1, dtype), *parts)))
    return framed(message((1, 1.0), (2, step), (5, message((1, value)))))


def history(step: int, **values: Any) -> bytes:
    """Return wandb's Record of one log call; `__` in a name stands for a nested key."""
    items = []
    for name, value in values.items():
        keys = name.split("__")
        named = [(1, name)] if len(keys) == 1 else [(2, key) for key in keys]
        items.append((1, message(*named, (16, json.dumps(value)))))
    return message((2, message(*items, (2, message((1, step)) if step else b""))))


def leveldb(*records: bytes, begins: bytes = b":W&B\xe1\xbe\x00") -> bytes:
    """Return a LevelDB log with wandb's header: records in pieces, none over the border of a block."""
    raw = bytearray(begins)
    for record in records:
        at, is_first = 0, True
        while at < len(record) or is_first:
            left = BLOCK - len(raw) % BLOCK
            if left < HEADER:
                raw += b"\0" * left
                continue
            piece = record[at : at + left - HEADER]
            at += len(piece)
            is_last = at == len(record)
            kind = (WHOLE if is_first else LAST) if is_last else (FIRST if is_first else MIDDLE)
            raw += b"crc!" + len(piece).to_bytes(2, "little") + bytes((kind,)) + piece
            is_first = False
    return bytes(raw)


def read(reader: Reader) -> list[tuple[int, dict[str, float]]]:
    """Return the steps and values of all that a reader has now."""
    points = [*reader.read()]
    while reader.behind:
        points += reader.read()
    return [(point.step, point.values) for point in points]


def steps(reader: Reader) -> list[int]:
    return [step for step, _ in read(reader)]


def opened(source: str, path: Path, **places: Any) -> Reader:
    return sources.load(source).open(path, Places((path.parent,), **places))


def found(source: str, *folders: Path, **places: Any) -> list[Path]:
    return list(sources.load(source).find(Places(folders, **places)))


def values_of(seen: Iterable[events.Event], name: str = "loss") -> list[tuple[int, float]]:
    """Return what a run's metric is, as the store has it: after a Resumed nothing of later steps is left."""
    points: list[tuple[int, float]] = []
    for event in seen:
        if isinstance(event, events.Resumed):
            points = [point for point in points if point[0] <= event.step]
        if isinstance(event, events.Metrics) and name in event.values:
            value = event.values[name]
            points.append((event.step, float(event.bad[name]) if value is None else value))
    return points


@contextmanager
def other_command(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a file open in a process of another command."""
    script = "import sys; file = open(sys.argv[1], 'ab'); print('open', flush=True); sys.stdin.read()"
    own = {"FINETOP_METRICS": "/other/metrics.jsonl", "WANDB_DIR": "/w", "SECRET": "1"}
    words, pipe = [sys.executable, "-c", script, str(path)], subprocess.PIPE
    with subprocess.Popen(words, env={**os.environ, **own}, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


@dataclass
class Program:
    """A program's folder and log, and the numbers that finetop reads of it."""

    folder: Path
    metrics: tuple[str, ...] = ("auto",)
    goes_on: bool = False
    since: float = 0.0
    seen: list[events.Event] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.log = put(self.folder / "log.txt", "", adds=True)
        recipe = command_recipe(CommandRequest(("python", "train.py"), self.folder)).recipe
        log = EventLog(None, self.seen.append)
        alarms = Alarms(recipe, log)
        alarms.begin(0)
        own = {"TRACKIO_DIR": str(self.folder / "trackio"), **self.environment}
        places = Places((self.folder,), self.log, self.since, 0, own)
        self.numbers = Numbers(wanted(self.metrics), places, log, alarms, goes_on=self.goes_on)

    def append(self, name: str, *content: object, age_s: float = 0.0) -> Program:
        """Append to a file of the program, which was last written so many seconds ago: bytes, text or JSON lines."""
        for part in content:
            path = put(
                self.folder / name, part if isinstance(part, str | bytes) else json_lines(part), adds=True
            )
        if age_s:
            os.utime(path, (time.time() - age_s,) * 2)
        return self

    def look(self, *, is_last: bool = False) -> Program:
        self.numbers.read_new(is_last=is_last)
        return self

    def values(self, name: str = "loss") -> list[tuple[int, float]]:
        return values_of(self.seen, name)

    def names(self) -> set[str]:
        return {name for event in self.seen if isinstance(event, events.Metrics) for name in event.values}

    def resumed(self) -> list[int]:
        return [event.step for event in self.seen if isinstance(event, events.Resumed)]

    def planned(self) -> list[int]:
        return [event.steps for event in self.seen if isinstance(event, events.Planned)]

"""Files that training programs write their numbers to, built byte by byte, and what finetop reads of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metric_bytes import framed, history, leveldb, message, scalars, simple, tensor, varint

from finetop.core.external import sources
from finetop.core.external.numbers import Numbers
from finetop.core.external.recipe import CommandRequest, command_recipe
from finetop.core.external.search import wanted
from finetop.core.external.sources import Places, Reader
from finetop.core.external.writers import Writers
from finetop.core.protocol import events
from finetop.core.protocol.numbers_from import NumbersFrom
from finetop.core.runtime.event_log import EventLog
from finetop.core.train.alarms import Alarms

__all__ = [
    "framed",
    "history",
    "leveldb",
    "message",
    "scalars",
    "simple",
    "tensor",
    "varint",
]  # of metric_bytes


def put(path: Path, content: str | bytes, *, adds: bool = False) -> Path:
    """Write a file, or add to it, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if adds else "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


def json_lines(*rows: object) -> str:
    """Return a line for each row; a text is one as it is."""
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


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
        if isinstance(event, events.TakenBack):
            points = [point for point in points if point[0] < event.step]
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


@contextmanager
def process(folder: Path, *opened: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process work in a folder, with files open that it appends to."""
    script = (
        "import sys; files = [open(name, 'ab') for name in sys.argv[1:]]; print(flush=True); sys.stdin.read()"
    )
    words, pipe = [sys.executable, "-c", script, *map(str, opened)], subprocess.PIPE
    with subprocess.Popen(words, cwd=folder, stdin=pipe, stdout=pipe) as started:
        assert started.stdout is not None
        assert started.stdout.readline()
        yield started
        started.kill()


@dataclass
class Program:
    """A program's folder and log, and the numbers that finetop reads of it."""

    folder: Path
    metrics: tuple[str, ...] = ("auto",)
    goes_on: bool = False
    since: float = 0.0
    seen: list[events.Event] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    root: int = 0  # its process; 0: whatever this process starts is the program's

    def __post_init__(self) -> None:
        self.log = put(self.folder / "log.txt", "", adds=True)
        recipe = command_recipe(CommandRequest(("python", "train.py"), self.folder)).recipe
        log = EventLog(None, self.seen.append)
        alarms = Alarms(recipe, log)
        alarms.begin(0)
        environment = {"TRACKIO_DIR": str(self.folder / "trackio"), **self.environment}
        places = Places((self.folder,), self.log, self.since, 0, environment)
        metrics = environment.get("FINETOP_METRICS", "")
        self.writers = Writers(self.root or os.getpid(), metrics, with_root=bool(self.root))
        self.numbers = Numbers(
            wanted(self.metrics), places, self.writers, log, alarms, private=(self.log,), goes_on=self.goes_on
        )

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

    def left_out(self) -> dict[str, str]:
        """Return the files that were left out last, and why."""
        told = [event for event in self.seen if isinstance(event, NumbersFrom)]
        return {one.file: one.why for one in told[-1].left_out} if told else {}

    def planned(self) -> list[int]:
        return [event.steps for event in self.seen if isinstance(event, events.Planned)]

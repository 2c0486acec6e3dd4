"""Files of one JSON object a line: finetop.log's, LLaMA-Factory's trainer_log.jsonl, metrics.jsonl of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finetop.core.external.sources import Before, Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import TIMES, first, flat, logged, total_of
from finetop.core.external.sources._tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("metrics.jsonl", "trainer_log.jsonl", "train_log.jsonl", "log.jsonl", "training_log.jsonl")
EARLIEST = 1e9  # seconds since 1970; a smaller time counts from the run's start


class Lines(Reader):
    """One such file. A line with a loss and no step counts as the next one."""

    def __init__(self, path: Path, before: Before | None = None) -> None:
        super().__init__(path)
        self._tail, self._step = Tail(path), 0
        self._tail.go_behind(before)

    def read(self) -> list[Point]:
        points = []
        for line in self._tail.lines():
            if self._tail.restarted:
                self._step, self._tail.restarted = 0, False
            try:
                raw = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(raw, dict):
                continue
            values = flat(raw)
            self.total = total_of(values, self.total)
            if (row := logged(values, self._step)) is not None:
                self._step, metrics = row
                at = first(values, TIMES) or 0.0
                points.append(Point(self._step, metrics, at if at > EARLIEST else 0.0))
        self.behind, self.left = self._tail.behind, self._tail.left
        return points


class LinesSource(Source):
    about = "files of one JSON object a line, and finetop.log"
    rank = 6
    is_appended = True

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            named = (folder / name for name in NAMES)
            yield from filter(places.is_new, named if folder.is_dir() else (folder,))

    def open(self, path: Path, places: Places) -> Lines:
        return Lines(path, places.before.get(str(path)))


PLUGIN = LinesSource()

"""Tables with a step in a column: metrics.csv of Lightning and of many scripts."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, metrics_of, step_of
from finetop.core.external.sources._tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("metrics.csv", "log.csv", "train_log.csv", "training_log.csv", "history.csv")


class Table(Reader):
    """One file; its first line names the columns. Lightning writes it anew when a column is added."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._tail, self._columns, self._step = Tail(path), list[str](), 0

    def read(self) -> list[Point]:
        points = []
        for line in self._tail.lines():
            if self._tail.restarted:
                self._columns, self._tail.restarted, self.restarted = [], False, True
            cells = next(csv.reader([line]), [])
            if not cells:
                continue
            if not self._columns:
                self._columns = [cell.strip() for cell in cells]
                continue
            values = flat(dict(zip(self._columns, cells, strict=False)))
            step = step_of(values)
            self._step = self._step + 1 if step is None else step
            points.append(Point(self._step, metrics_of(values)))
        return points


class Csv(Source):
    about = "tables with a column for the step: metrics.csv"
    rank = 5

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            named = (folder / name for name in NAMES)
            for file in (
                (*named, *folder.glob("lightning_logs/version_*/metrics.csv"))
                if folder.is_dir()
                else (folder,)
            ):
                if file.is_file() and file.stat().st_mtime >= places.since:
                    yield file

    def open(self, path: Path, places: Places) -> Table:
        return Table(path)


PLUGIN = Csv()

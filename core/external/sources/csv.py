"""Tables with a step in a column: metrics.csv of Lightning and of many scripts."""

from __future__ import annotations

import csv
from contextlib import suppress
from typing import TYPE_CHECKING

from finetop.core.external.sources import Before, Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, logged, number
from finetop.core.external.sources._tail import LONGEST, Tail
from finetop.core.runtime.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("metrics.csv", "log.csv", "train_log.csv", "training_log.csv", "history.csv")
SEPARATORS = ",;\t"


class Table(Reader):
    """One file; its first line names the columns. Lightning rewrites it when a column is added."""

    def __init__(self, path: Path, before: Before | None = None) -> None:
        super().__init__(path)
        self._tail, self._columns, self._step, self._separator = Tail(path), list[str](), 0, ","
        if self._tail.go_behind(before):
            with suppress(OSError), open_regular(path) as file:  # its first line, which is behind
                self._values(file.readline(LONGEST).decode("utf-8", "replace").rstrip("\r\n"))

    def read(self) -> list[Point]:
        points = []
        for line in self._tail.lines():
            if self._tail.restarted:
                self._columns, self._step, self._tail.restarted = [], 0, False
            if (row := logged(self._values(line), self._step)) is not None:
                self._step, metrics = row
                points.append(Point(self._step, metrics))
        self.behind, self.left = self._tail.behind, self._tail.left
        return points

    def _values(self, line: str) -> dict[str, float]:
        """Return the numbers of a row by its columns. A header, which a later program may append again, names these."""
        if not self._columns:
            self._separator = max(SEPARATORS, key=line.count)
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], delimiter=self._separator), [])]
        except csv.Error:
            return {}  # a zero byte, or a cell that is too long
        if any(cells) and not any(number(cell, texts=True) is not None for cell in cells):
            self._columns = cells
            return {}
        return flat(dict(zip(self._columns, cells, strict=False)), texts=True)


class Csv(Source):
    about = "tables with a column for the step: metrics.csv"
    rank = 5
    is_appended = True

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            named = (folder / name for name in NAMES)
            lightnings = folder.glob("lightning_logs/version_*/metrics.csv")
            yield from filter(places.is_new, (*named, *lightnings) if folder.is_dir() else (folder,))

    def open(self, path: Path, places: Places) -> Table:
        return Table(path, places.before.get(str(path)))


PLUGIN = Csv()

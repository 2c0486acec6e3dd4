"""Tables with a step in a column: metrics.csv of Lightning and of many scripts."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from finetop.core.external.sources import Before, Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, has_loss, metrics_of, number, step_of
from finetop.core.external.sources._tail import LONGEST, Tail
from finetop.core.runtime.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("metrics.csv", "log.csv", "train_log.csv", "training_log.csv", "history.csv")
SEPARATORS = ",;\t"


class Table(Reader):
    """One file; its first line names the columns. Lightning writes it anew when a column is added."""

    def __init__(self, path: Path, before: Before | None = None) -> None:
        super().__init__(path)
        self._tail, self._columns, self._step, self._separator = Tail(path), list[str](), 0, ","
        if self._tail.go_behind(before):
            self._read_header()

    def read(self) -> list[Point]:
        points = []
        for line in self._tail.lines():
            if self._tail.restarted:
                self._columns, self._step, self._tail.restarted = [], 0, False
            if not self._columns:
                self._separator = max(SEPARATORS, key=line.count)
            cells = self._cells(line)
            if not any(cells):
                continue
            if not any(number(cell, texts=True) is not None for cell in cells):
                self._columns = cells  # the header; a program that starts again may append it again
                continue
            values = flat(dict(zip(self._columns, cells, strict=False)), texts=True)
            step, metrics = step_of(values), metrics_of(values)
            if not metrics or (step is None and not has_loss(metrics)):
                continue
            self._step = self._step + 1 if step is None else step
            points.append(Point(self._step, metrics))
        self.behind = self._tail.behind
        return points

    def _read_header(self) -> None:
        """Read the names of the columns from the first line, which is behind."""
        try:
            with open_regular(self.path) as file:
                line = file.readline(LONGEST).decode("utf-8", "replace").rstrip("\r\n")
        except OSError:
            return
        self._separator = max(SEPARATORS, key=line.count)
        cells = self._cells(line)
        if any(cells) and not any(number(cell, texts=True) is not None for cell in cells):
            self._columns = cells

    def _cells(self, line: str) -> list[str]:
        try:
            return [cell.strip() for cell in next(csv.reader([line], delimiter=self._separator), [])]
        except csv.Error:
            return []  # a zero byte, or a cell that is too long


class Csv(Source):
    about = "tables with a column for the step: metrics.csv"
    rank = 5
    is_appended = True

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
        return Table(path, places.before.get(str(path)))


PLUGIN = Csv()

"""trackio's database: a SQLite file for each project, read without a lock of ours."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "~/.cache/huggingface/trackio"
MOST_ROWS = 10_000  # of one read
QUERY = "SELECT id, run_name, step, metrics FROM metrics WHERE id > ? ORDER BY id LIMIT ?"


class Project(Reader):
    """The first run of one project that has rows since then."""

    def __init__(self, path: Path, since: float) -> None:
        super().__init__(path)
        self._since, self._last, self._run = since, 0, ""

    def read(self) -> list[Point]:
        """Return new rows. A database that is locked or damaged has none for now."""
        if not stat.S_ISREG(self.path.lstat().st_mode):
            return []  # sqlite3 would follow a link, and wait for a pipe
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=0.2)) as database:
                if not self._last:
                    self._last = self._passed_by(database)
                rows = database.execute(QUERY, (self._last, MOST_ROWS)).fetchall()
        except sqlite3.Error:
            return []
        points = []
        for number, run, step, text in rows:
            self._last = number
            self._run = self._run or run
            if run != self._run:
                continue  # another run of the project, at the same time
            try:
                values = flat(json.loads(text))
            except (ValueError, TypeError, RecursionError):
                continue
            points.append(Point(int(step or 0), metrics_of(values)))
        return points

    def _passed_by(self, database: sqlite3.Connection) -> int:
        query = "SELECT coalesce(max(id), 0) FROM metrics WHERE strftime('%s', timestamp) + 0 < ?"
        (last,) = database.execute(query, (self._since,)).fetchone()
        return int(last)


class Trackio(Source):
    about = "trackio's database of the project"
    rank = 4

    def find(self, places: Places) -> Iterator[Path]:
        own = Path(os.environ.get("TRACKIO_DIR", FOLDER)).expanduser()
        for folder in (own, *places.folders):
            for file in folder.glob("*.db") if folder.is_dir() else (folder,):
                if file.is_file() and file.stat().st_mtime >= places.since:
                    yield file

    def open(self, path: Path, places: Places) -> Project:
        return Project(path, places.since)


PLUGIN = Trackio()

"""trackio's database: a SQLite file for each project, read without a lock of ours."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, metrics_of, step_of
from finetop.core.external.sources._sqlite import log_of, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "~/.cache/huggingface"
MOST_ROWS = 10_000  # of one read
SECONDS = "(julianday(timestamp) - 2440587.5) * 86400"  # since 1970
ROWS = f"SELECT id, step, metrics, {SECONDS} FROM metrics WHERE id > ? AND {{run}} = ? ORDER BY id LIMIT ?"
# The first run that began since then; else the first that has gone on, as after a resume.
RUN = f"""
    SELECT {{run}}, min(id) FROM metrics GROUP BY 1 HAVING max({SECONDS}) >= ?1
    ORDER BY min({SECONDS}) < ?1, min(id) LIMIT 1
"""
PASSED_BY = f"SELECT coalesce(max(id), 0) FROM metrics WHERE {{run}} = ? AND {SECONDS} < ?"


class Project(Reader):
    """One run of a project: the first since then."""

    def __init__(self, path: Path, since: float) -> None:
        super().__init__(path)
        self._since, self._last, self._run, self._column = since, 0, "", ""
        self._written: tuple[float, ...] = ()

    def read(self) -> list[Point]:
        """Return new rows. A database that is locked or damaged has none for now."""
        written = (_written(self.path), _written(log_of(self.path)))
        if written == self._written and not self.behind:
            return []
        try:
            with opened(self.path, "metrics") as database:
                if not self._run:
                    self._choose(database)
                query = ROWS.format(run=self._column or "run_name")
                rows = database.execute(query, (self._last, self._run, MOST_ROWS)).fetchall()
        except (sqlite3.Error, OSError):
            return []
        self._written, self.behind = written, len(rows) == MOST_ROWS
        points = []
        for number, step, text, at in rows:
            self._last = number
            try:
                values = flat(json.loads(text))
            except (ValueError, TypeError, RecursionError):
                continue
            own = step_of(values)
            points.append(Point(int(step or 0) if own is None else own, metrics_of(values), float(at or 0.0)))
        return points

    def _choose(self, database: sqlite3.Connection) -> None:
        columns = {row[1] for row in database.execute("PRAGMA table_info(metrics)")}
        self._column = "run_id" if "run_id" in columns else "run_name"
        run = database.execute(RUN.format(run=self._column), (self._since,)).fetchone()
        if run is not None:
            query = PASSED_BY.format(run=self._column)
            (self._last,) = database.execute(query, (run[0], self._since)).fetchone()
            self._run = run[0]


class Trackio(Source):
    about = "trackio's database of the project"
    rank = 4

    def find(self, places: Places) -> Iterator[Path]:
        own = {**os.environ, **places.environment}
        folder = own.get("TRACKIO_DIR") or f"{own.get('HF_HOME') or FOLDER}/trackio"
        for place in (Path(folder).expanduser(), *places.folders):
            for file in place.glob("*.db") if place.is_dir() else (place,):
                # While trackio writes, new rows are in the log beside the database, which stays as it was.
                if file.is_file() and max(_written(file), _written(log_of(file))) >= places.since:
                    yield file

    def open(self, path: Path, places: Places) -> Project:
        return Project(path, places.since)


def _written(file: Path) -> float:
    return file.stat().st_mtime if file.is_file() else 0.0


PLUGIN = Trackio()

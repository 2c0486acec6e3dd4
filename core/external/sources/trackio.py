"""trackio's database: a SQLite file for each project, read without a lock of ours."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from finetop.core.external.configuration import settings_of
from finetop.core.external.sources import Evidence, Places, Point, Proof, Reader, Source
from finetop.core.external.sources._json_lines import flat, metrics_of, step_of
from finetop.core.external.sources._sqlite import Locked, log_of, opened
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = "~/.cache/huggingface"
MOST_ROWS = 10_000  # of one read
SETTLED_S = (
    2.0  # the clock of files is coarse: one that was written just now may have been written again since
)
SECONDS = "(julianday(timestamp) - 2440587.5) * 86400"  # since 1970
ROWS = f"SELECT id, step, metrics, {SECONDS} FROM metrics WHERE id > ? AND {{run}} = ? ORDER BY id LIMIT ?"
APART_S = 30.0  # two runs of one name that began closer together can't be told apart
MOST_BACK = 20_000  # newest rows in which the runs of this time are searched
RECENT = f"""
    SELECT {{run}}, min(run_name), max({SECONDS}), min({SECONDS}), min(id) FROM
    (SELECT * FROM metrics ORDER BY id DESC LIMIT {MOST_BACK}) GROUP BY 1 HAVING max({SECONDS}) >= :since
    ORDER BY min({SECONDS}) < :since, min(id)
"""
CONFIGS = "SELECT {run}, config FROM configs WHERE {run} IN ({ids})"
PASSED_BY = f"SELECT coalesce(max(id), 0) FROM metrics WHERE {{run}} = ? AND {SECONDS} < ?"


class Project(Reader):
    """One run of a project: the first since then."""

    def __init__(self, path: Path, since: float, run: str = "") -> None:
        super().__init__(path)
        self._since, self._last, self._run, self._column = since, -1, run, ""
        self._written: tuple[float, ...] = ()

    def read(self) -> list[Point]:
        """Return new rows. A database that is locked or damaged has none for now."""
        written = (_written(self.path), _written(log_of(self.path)))
        is_settled = time.time() - max(written) > SETTLED_S
        if written == self._written and is_settled and not self.behind:
            return []
        self.is_locked = False
        try:
            with opened(self.path, "metrics", "configs") as database:
                if self._last < 0:
                    self._choose(database)
                if self._run and not self.config:
                    self.config = settings_of(
                        _configs(database, self._column, [self._run]).get(self._run, {})
                    )
                query = ROWS.format(run=self._column or "run_name")
                rows = database.execute(query, (self._last, self._run, MOST_ROWS)).fetchall()
        except Locked:
            self.is_locked = True
            return []
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
        self._column = _column_of(database)
        if not self._run:
            recent = database.execute(RECENT.format(run=self._column), {"since": self._since}).fetchone()
            self._run = recent[0] if recent is not None else ""
        if self._run:
            query = PASSED_BY.format(run=self._column)
            (self._last,) = database.execute(query, (self._run, self._since)).fetchone()


class _Run(NamedTuple):
    """A run of a project with values of this time."""

    id: str
    name: str
    began: float
    config: dict[str, Any]


class Trackio(Source):
    about = "trackio's database of the project"
    rank = 4
    names_run = re.compile(
        r"\* (?:Trackio project initialized|(?:Created new|Resumed existing) run): (\S.*?)\s*$", re.M
    )

    def find(self, places: Places) -> Iterator[Path]:
        own = {**os.environ, **places.environment}
        folder = own.get("TRACKIO_DIR") or f"{own.get('HF_HOME') or FOLDER}/trackio"
        for place in (Path(folder).expanduser(), *places.folders):
            for file in place.glob("*.db") if place.is_dir() else (place,):
                # While trackio writes, new rows are in the log beside the database, which stays as it was.
                if file.is_file() and max(_written(file), _written(log_of(file))) >= places.since:
                    yield file

    def of_run(
        self, path: Path, places: Places, proof: Proof, evidence: Callable[[], Evidence]
    ) -> Proof | None:
        """Return whether one of the project's runs is the program's: all programs of a user share the projects.

        It is if the program printed its name, was given it, or alone writes to the folder that the run's configuration
        names; if it is the only one of this time and the program was seen writing the file; or if the project lies in
        a folder of the program's alone.
        """
        chosen = places.runs.get(str(path), "")
        try:
            runs = _runs_of(path, places.since)
        except Locked:
            return Proof(False, "another program has it locked", is_locked=True)
        if not runs:
            return None
        named = _named(runs, path.stem, evidence())
        if named and (not chosen or chosen not in [run.id for run in named]):
            first, *others = named
            if any(other.name == first.name for other in others):
                return Proof(False, f"{len(named)} programs name their runs {plain(first.name)}")
            places.runs[str(path)] = first.id
            return Proof(True, f"the program names its run {plain(first.name)}", by_process=True)
        if chosen:
            own = next((run for run in named if run.id == chosen), None)
            if own and any(
                run.name == own.name and abs(run.began - own.began) < APART_S for run in named if run != own
            ):
                return Proof(False, f"{len(named)} programs name their runs {plain(own.name)}")
            return proof if proof.is_own else Proof(True, "its run was found before", by_process=True)
        if proof.is_own and (len(runs) == 1 or not proof.by_process):
            places.runs[str(path)] = runs[0].id
            return proof
        if proof.is_own:
            return Proof(False, f"can't tell which of its {len(runs)} runs is this program's")
        return Proof(False, "this program names no run in it", is_foreign=proof.is_foreign)

    def open(self, path: Path, places: Places) -> Project:
        return Project(path, places.since, places.runs.get(str(path), ""))


def _named(runs: list[_Run], project: str, evidence: Evidence) -> list[_Run]:
    """Return the runs that the program names: as it prints, as it was started, or by its output folder."""
    is_printed = project in map(_file_name, evidence.printed)
    printed = [run for run in runs if is_printed and run.name in evidence.printed]
    given = [run for run in runs if evidence.words & {run.id, run.name}]
    return printed or given or [run for run in runs if _output_of(run) in evidence.outputs]


def _runs_of(path: Path, since: float) -> list[_Run]:
    """Return the runs of a project that have values since then, new ones first. Raises Locked."""
    try:
        with opened(path, "metrics", "configs") as database:
            column = _column_of(database)
            rows = database.execute(RECENT.format(run=column), {"since": since}).fetchall()
            configs = _configs(database, column, [row[0] for row in rows])
    except Locked:
        raise
    except (sqlite3.Error, OSError):
        return []
    return [_Run(str(row[0]), str(row[1]), row[3], configs.get(row[0], {})) for row in rows]


def _configs(database: sqlite3.Connection, column: str, runs: list[str]) -> dict[str, dict[str, Any]]:
    """Return the configurations of some runs."""
    has_table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'configs'"
    if not database.execute(has_table).fetchone():
        return {}
    query = CONFIGS.format(run=column, ids=", ".join("?" * len(runs)))
    return {run: _mapping(text) for run, text in database.execute(query, runs)}


def _mapping(text: Any) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _output_of(run: _Run) -> Path | None:
    """Return the absolute output folder in a run's configuration, as a Trainer logs it."""
    text = run.config.get("output_dir")
    return Path(text) if isinstance(text, str) and text.startswith("/") else None


def _file_name(project: str) -> str:
    """Return a project's name as trackio names its file."""
    return "".join(char for char in project if char.isalnum() or char in "-_").rstrip() or "default"


def _column_of(database: sqlite3.Connection) -> str:
    columns = {row[1] for row in database.execute("PRAGMA table_info(metrics)")}
    return "run_id" if "run_id" in columns else "run_name"


def _written(file: Path) -> float:
    return file.stat().st_mtime if file.is_file() else 0.0


PLUGIN = Trackio()

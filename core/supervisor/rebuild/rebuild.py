"""Makes the database again from the run folders: `python -m finetop.core.supervisor.rebuild.rebuild --home DIR`.

Each run.json holds what the store had decided (supervisor/save_records.py), each job's events all else; they are
ingested as the first time. The new database replaces the old one when it is complete; the old one stays beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.protocol import events, runs as data
from finetop.core.runtime.files import open_regular, os_error_words, read_own
from finetop.core.runtime.home import Home, find_home, prepare
from finetop.core.runtime.locks import take_lock
from finetop.core.store import (
    backups,
    checkpoints,
    checks,
    ingest,
    jobs,
    rebuilding,
    recipe_settings,
    run_records,
    runs,
)
from finetop.core.store.database import insert, json_text, made_by_newer, open_store, transaction
from finetop.core.store.event_batch import LINE_BYTES
from finetop.core.supervisor.rebuild.record import LARGEST, Record, kept_row, read_record
from finetop.core.text import clean_line, plain

LOCK_WAIT_S = 15.0  # a supervisor that is ending takes a moment

# Errors that an unforeseen value may raise; a full disk or lack of memory raises none of these.
DAMAGE = (
    *(duckdb.DataError, duckdb.IntegrityError, duckdb.ProgrammingError),
    *(ArithmeticError, LookupError, TypeError, ValueError, RecursionError),
)


class _Globals(msgspec.Struct):
    """The part of store.json that is read here."""

    tables: dict[str, list[dict[str, Any]]]


@dataclass
class Rebuilt:
    """The outcome of a rebuild: counts, what was left out and why, and where the old database is."""

    runs: int = 0
    jobs: int = 0
    events: int = 0
    left_out: list[str] = field(default_factory=list)
    kept_as: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m finetop.core.supervisor.rebuild.rebuild")
    parser.add_argument("--home")
    home = find_home(parser.parse_args().home)
    os.umask(0o077)
    try:
        prepare(home)
        lock = wait_for_lock(home)
        rebuilt = rebuild(home)
        os.close(lock)
    except FinetopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json_text(rebuilt))
    return 0


def wait_for_lock(home: Home) -> int:
    """Take the home's lock, so that no supervisor runs meanwhile. Raises EnvironmentTrouble."""
    lock = take_lock(home, wait_s=LOCK_WAIT_S)
    if lock is None:
        hint = "End it first: finetop supervisor stop."
        raise EnvironmentTrouble(f"a supervisor still runs on {home.root}.", hint=hint)
    return lock


def rebuild(home: Home) -> Rebuilt:
    """Rebuild a home's database. The home's lock must be held.

    Raises BadInput for a home of a newer finetop, StoreTrouble or EnvironmentTrouble if the new database can't be
    written; the old one is then unchanged.
    """
    require_known(home)
    fresh = home.database.with_name(f"{home.database.name}.rebuilding")
    for stale in (fresh, backups.wal_of(fresh)):
        stale.unlink(missing_ok=True)
    rebuilt = Rebuilt()
    try:
        connection = open_store(fresh)
        try:
            rebuilt.left_out += _take_globals(connection, home)
            for folder in run_folders(home):
                try:
                    rebuilt.jobs += add_run(connection, home, folder)
                except (FinetopError, *DAMAGE) as error:
                    rebuilt.left_out.append(f"{plain(folder.name)}: {_in_words(error)}")
                    _keep_number(connection, number_of(folder))
                else:
                    rebuilt.runs += 1
            rebuilt.events = rebuilding.close(connection, run_records.stored_number(home.root))
        finally:
            connection.close()
        rebuilt.kept_as = backups.swap(fresh, home.database)
    except OSError as error:
        hint = "The old database is unchanged. Free some space, then try again."
        message = f"can't write the new database: {os_error_words(error)}."
        raise EnvironmentTrouble(message, hint=hint) from error
    return rebuilt


def require_known(home: Home) -> None:
    """Raise BadInput if the database or store.json is of a newer finetop: the rebuilt one would lack what it holds.

    A single run of a newer finetop is left out like a damaged one; its folder stays.
    """
    newer = {home.database: made_by_newer(home.database)}
    store = home.root / run_records.STORE
    if (written := run_records.format_of(store)) > run_records.STORE_FORMAT:
        newer[store] = f"its format is {written}, this finetop reads {run_records.STORE_FORMAT}"
    for file, reason in newer.items():
        if reason:
            message = f"{file} was written by a newer finetop ({reason.rstrip('.')}); nothing was changed."
            raise BadInput(message, hint="Rebuild with that version, or use another home.")


def run_folders(home: Home) -> list[Path]:
    """List the run folders by run id, without links."""
    folders = [f for f in home.runs.iterdir() if f.is_dir() and not f.is_symlink() and f.name[:1].isdigit()]
    return sorted(folders, key=lambda folder: (number_of(folder), folder.name))


def was_never_queued(folder: Path) -> bool:
    """Return True if finetop was killed while it made this folder: it holds only what a run starts with."""
    try:
        names = {file.name for file in folder.iterdir()}
        if "run.json" not in names:
            return names <= {"recipe.yaml"}
        record = msgspec.json.decode(read_own(folder / "run.json"), type=dict[str, Any])
        return names == {"recipe.yaml", "run.json"} and "store" not in record
    except (OSError, ValueError, RecursionError):
        return False


def number_of(folder: Path) -> int:
    head = folder.name.partition("-")[0]
    return int(head) if head.isdecimal() else 0


def add_run(connection: Connection, home: Home, folder: Path) -> int:
    """Add a run to the store from its folder; return its number of jobs. Raises BadInput for a bad run.json."""
    record = read_record(folder, number_of(folder))
    store = record.store
    with transaction(connection):
        for table, numbers in (("runs", [record.id]), ("jobs", [job["id"] for job in store.jobs])):
            _require_new(connection, table, numbers)
        _insert(connection, "runs", _run_row(record, folder, home), "run.json: store.run")
        recipe_settings.store_settings(connection, record.id, record.recipe)
        for i, job in enumerate(store.jobs):
            row = {**job, "state": json_text(job["state"]), "word": job["state"]["type"]}
            _insert(connection, "jobs", row, f"run.json: store.jobs[{i}]")
        for table in run_records.kept_tables(run_records.schema_of(connection)):
            for i, row in enumerate(store.tables.get(table, ())):
                _insert(connection, table, row, f"run.json: store.tables.{table}[{i}]")
    try:
        for job in store.jobs:
            _take_events(connection, job["id"], folder / job["folder"] / "events.jsonl")
        with transaction(connection):
            _finish(connection, record, folder)
    except BaseException:
        with transaction(connection):
            run_records.remove_run(connection, record.id)
        raise
    return len(store.jobs)


def _require_new(connection: Connection, table: str, numbers: list[int]) -> None:
    """Raise BadInput if another run has one of these ids."""
    duplicate = rebuilding.taken(connection, table, numbers)
    if duplicate is not None:
        raise BadInput(f"another folder has {table.removesuffix('s')} {duplicate} too.")


def _take_events(connection: Connection, job_id: int, file: Path) -> None:
    """Ingest a job's events up to now; what a live job adds meanwhile is left to the next supervisor."""
    try:
        end = file.stat().st_size
    except FileNotFoundError:
        return
    while jobs.bytes_read(connection, job_id) < end:
        if not ingest.take_in(connection, job_id, file, tells=False):
            return


def _run_row(record: Record, folder: Path, home: Home) -> dict[str, Any]:
    recipe, state = json_text(record.recipe), json_text(record.store.run["state"])
    own = {"folder": str(folder.relative_to(home.root)), "recipe": recipe, "state": state}
    return {**record.store.run, **own, "rank": runs.DONE}


def _insert(connection: Connection, table: str, row: dict[str, Any], place: str) -> None:
    """Insert a row of plain values. Raises BadInput naming a value that the table can't hold."""
    if values := kept_row(connection, table, row, place):
        insert(connection, table, **values)


def _finish(connection: Connection, record: Record, folder: Path) -> None:
    """Correct what depends on several jobs' events, or on when they were ingested."""
    run_id, store = record.id, record.store
    for check_id, job_id, step, superseded in store.checks:
        rebuilding.restore_check(connection, run_id, check_id, job_id, step, superseded=superseded)
    for job in store.jobs:
        state = msgspec.convert(job["state"], data.State)
        if isinstance(state, data.Running):
            _settle_live(connection, job, state, folder)
        else:
            rebuilding.restore_last_word(connection, job["id"], job.get("ended_word"))
    for row in store.tables.get("cleaned", ()):
        checkpoints.forget_again(connection, run_id, row)
    rebuilding.set_brief(connection, run_id, checks.brief_of(connection, run_id))
    runs.show_state(connection, run_id, _state_of(connection, record))
    rebuilding.unmark(connection, run_id)


def _settle_live(connection: Connection, job: dict[str, Any], state: data.Running, folder: Path) -> None:
    """Restore a running job's state: phase and ending reported by an earlier attempt don't count."""
    attempt, has_phase = _newest_start(folder / job["folder"] / "events.jsonl")
    is_newest = attempt == job.get("attempt", 0)
    if not (is_newest and has_phase):
        jobs.show_state(connection, job["id"], state)
    if not is_newest:
        rebuilding.restore_last_word(connection, job["id"], None)


def _newest_start(file: Path) -> tuple[int, bool]:
    """Read a job's last start and whether it told a phase since; events that can't be read say nothing."""
    attempt, has_phase = 0, False
    try:
        opened = open_regular(file)
    except OSError:
        return attempt, has_phase
    with opened:
        while line := opened.readline(LINE_BYTES):  # a longer line is read in pieces, which are skipped
            if b'"started"' not in line and b'"phase"' not in line:
                continue
            try:
                event = events.decode(line).e
            except events.Unreadable:
                continue
            if isinstance(event, events.Started):
                attempt, has_phase = event.attempt, False
            has_phase = has_phase or isinstance(event, events.Phase)
    return attempt, has_phase


def _state_of(connection: Connection, record: Record) -> data.State:
    """Return a run's state: as recorded, or while it is being made, that of the job that makes it."""
    state: data.State = msgspec.convert(record.store.run["state"], data.State)
    if isinstance(state, data.Running):
        live = [job for job in jobs.live(connection) if job.run_id == record.id]
        state = next((job.state for job in live if job.kind.makes_a_run), state)
    return state


def _take_globals(connection: Connection, home: Home) -> list[str]:
    """Restore what belongs to no run from store.json, if there is one. Return messages about rows that are left out."""
    file = home.root / run_records.STORE
    try:
        tables = msgspec.json.decode(read_own(file), type=_Globals).tables
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        return [f"{file.name}: it can't be read ({error})."]
    left_out = []
    for table in run_records.global_tables(run_records.schema_of(connection)):
        for i, row in enumerate(tables.get(table, ())):
            try:
                _insert(connection, table, row, f"{file.name}: tables.{table}[{i}]")
            except (BadInput, *DAMAGE) as error:
                left_out.append(_in_words(error))
    return left_out


def _keep_number(connection: Connection, number: int) -> None:
    """Reserve the id of a folder that is left out, so that no new run gets it."""
    if run_records.next_number(connection, "runs") <= number < LARGEST:
        rebuilding.reserve(connection, number)


def _in_words(error: Exception) -> str:
    """Return one line on why something is left out."""
    if isinstance(error, FinetopError):
        return clean_line(str(error))
    return clean_line(f"it can't be used ({type(error).__name__}: {str(error).partition(chr(10))[0]}).")


if __name__ == "__main__":
    sys.exit(main())

"""Makes the database again from the run folders: `python -m finetop.core.supervisor.rebuild.rebuild --home DIR`.

Each run.json says what the store had decided (store/records.py), each job's events all else; they are taken in as
they were the first time. The new database takes the old one's place when it is complete; the old one stays beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, EnvironmentTrouble, FinetopError
from finetop.core.protocol import runs as data
from finetop.core.runtime.files import open_regular
from finetop.core.runtime.home import Home, find_home, prepare
from finetop.core.runtime.locks import take_lock
from finetop.core.store import backups, checks, ingest, jobs, recipe_settings, run_records, runs
from finetop.core.store.database import one_value, open_store, transaction
from finetop.core.supervisor.jobs.exit_reason import SinceStart

LOCK_WAIT_S = 15.0  # a supervisor that was told to end takes a moment
_json = msgspec.json.Encoder()


@dataclass
class Rebuilt:
    """What a rebuild made: how much, what it left out and why, and where the old database is."""

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
        made = rebuild(home)
        os.close(lock)
    except FinetopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(_json.encode(made).decode())
    return 0


def wait_for_lock(home: Home) -> int:
    """Take the home's lock, as no supervisor may live meanwhile. Raises EnvironmentTrouble."""
    lock = take_lock(home, wait_s=LOCK_WAIT_S)
    if lock is None:
        raise EnvironmentTrouble(
            f"a supervisor still has {home.root}.", hint="End it first: finetop supervisor stop."
        )
    return lock


def rebuild(home: Home) -> Rebuilt:
    """Make the database of a home again. The home's lock must be held.

    Raises StoreTrouble or EnvironmentTrouble when the new one can't be written; the old one is untouched then.
    """
    fresh = home.database.with_name(f"{home.database.name}.rebuilding")
    for left in (fresh, backups.wal_of(fresh)):
        left.unlink(missing_ok=True)
    made = Rebuilt()
    try:
        connection = open_store(fresh)
        try:
            _take_globals(connection, home)
            for folder in run_folders(home):
                try:
                    made.jobs += take_run(connection, home, folder)
                except FinetopError as error:
                    made.left_out.append(f"{folder.name}: {error}")
                else:
                    made.runs += 1
            made.events = int(one_value(connection, "SELECT coalesce(sum(last_n), 0) FROM jobs"))
            connection.execute(
                "UPDATE recorded SET number = ?", [run_records.told_number(home.root)]
            )  # nothing is missing now
            connection.execute("CHECKPOINT")
        finally:
            connection.close()
        made.kept_as = backups.swap(fresh, home.database)
    except OSError as error:
        raise EnvironmentTrouble(
            f"can't write {error.filename or fresh}: {error.strerror}.",
            hint="The old database is as it was. Free some room, then try again.",
        ) from error
    return made


def run_folders(home: Home) -> list[Path]:
    """List the folders of runs in the order of their numbers; links are none."""
    found = [f for f in home.runs.iterdir() if f.is_dir() and not f.is_symlink() and f.name[:1].isdigit()]
    return sorted(found, key=lambda folder: (number_of(folder), folder.name))


def was_never_queued(folder: Path) -> bool:
    """Say if finetop was killed while it made this folder: it holds nothing yet but what a run begins with."""
    try:
        names = {file.name for file in folder.iterdir()}
        if "run.json" not in names:
            return names <= {"recipe.yaml"}
        record = msgspec.json.decode((folder / "run.json").read_bytes())
        return names == {"recipe.yaml", "run.json"} and "store" not in record
    except (OSError, msgspec.DecodeError, TypeError):
        return False


def number_of(folder: Path) -> int:
    head = folder.name.partition("-")[0]
    return int(head) if head.isdecimal() else 0


def take_run(connection: Connection, home: Home, folder: Path) -> int:
    """Take one run into the store, from its folder. Returns how many jobs it has.

    Raises BadInput when its run.json can't be used; nothing of it is in the store then.
    """
    record = read_record(folder)
    store = record["store"]
    with transaction(connection):
        _insert(connection, "runs", _run_row(record, folder, home))
        recipe_settings.note(connection, int(record["id"]), record["recipe"])
        for job in store["jobs"]:
            _insert(connection, "jobs", {**job, "state": _text(job["state"]), "word": job["state"]["type"]})
        for table, rows in store["tables"].items():
            for row in rows:
                _insert(connection, table, row)
    try:
        for job in store["jobs"]:
            _take_events(connection, int(job["id"]), folder / job["folder"] / "events.jsonl")
        with transaction(connection):
            _finish(connection, record, folder)
    except BaseException:
        with transaction(connection):
            run_records.remove_run(connection, record["id"])
        raise
    return len(store["jobs"])


def _take_events(connection: Connection, job_id: int, file: Path) -> None:
    """Take in what a job has told by now: one that lives tells more meanwhile, which is the next supervisor's."""
    try:
        end = file.stat().st_size
    except FileNotFoundError:
        return
    while jobs.bytes_read(connection, job_id) < end:
        if not ingest.take_in(connection, job_id, file, tells=False):
            return


def read_record(folder: Path) -> dict[str, Any]:
    """Read a run's run.json.

    Raises BadInput: it is damaged, of another folder, of a newer finetop, or of a run that was never queued.
    """
    file = folder / "run.json"
    try:
        with open_regular(file) as opened:
            record = msgspec.json.decode(opened.read())
        format_, number = int(record["format"]), int(record["id"])
        record["recipe"]["model"]["id"]
    except (OSError, msgspec.DecodeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"its run.json can't be read ({error}).") from error
    if format_ != run_records.FORMAT:
        raise BadInput(f"its run.json is of format {format_}; this finetop reads {run_records.FORMAT}.")
    if number != number_of(folder):
        raise BadInput(f"its run.json is of run {number}.")
    if "store" not in record:
        raise BadInput("it was never queued: finetop was killed while it made the folder.")
    return dict(record)


def _run_row(record: dict[str, Any], folder: Path, home: Home) -> dict[str, Any]:
    row = record["store"]["run"]
    return {
        **row,
        "folder": str(folder.relative_to(home.root)),
        "recipe": _text(record["recipe"]),
        "state": _text(row["state"]),
        "rank": runs.DONE,
    }


def _insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    """Add a row of plain values. What a table lacks is left out: it is of another version."""
    known = [column for column in run_records.columns_of(connection, table) if column in row]
    if not known:
        return
    names = ", ".join(f'"{column}"' for column in known)
    marks = ", ".join("?" for _ in known)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", [row[column] for column in known])


def _finish(connection: Connection, record: dict[str, Any], folder: Path) -> None:
    """Put right what depends on more than one job's events, or on the moment at which they were taken in."""
    run_id, store = int(record["id"]), record["store"]
    for check_id, job_id, step, superseded in store["checks"]:
        connection.execute(
            "UPDATE checks SET id = ?, superseded = ? WHERE job_id = ? AND step IS NOT DISTINCT FROM ?",
            [check_id, superseded, job_id, step],
        )
    for job in store["jobs"]:
        state = msgspec.convert(job["state"], data.State)
        if isinstance(state, data.Running):
            _settle_live(connection, job, state, folder)
        else:
            connection.execute(
                "UPDATE jobs SET ended_word = ? WHERE id = ?", [job.get("ended_word"), job["id"]]
            )
    for row in store["tables"].get("cleaned", ()):
        connection.execute(
            "DELETE FROM checkpoints WHERE run_id = ? AND job_id = ? AND step = ? AND time = ?",
            [run_id, row["job_id"], row["step"], row["time"]],
        )
    brief = checks.brief_of(connection, run_id)
    connection.execute("UPDATE runs SET brief = ? WHERE id = ?", [brief, run_id])
    runs.show_state(connection, run_id, _state_of(connection, record))
    connection.execute("DELETE FROM unrecorded WHERE run_id = ?", [run_id])


def _settle_live(connection: Connection, job: dict[str, Any], state: data.Running, folder: Path) -> None:
    """A job that runs: what an earlier attempt said of its phase and its end is not of this one."""
    since = SinceStart.read(folder / job["folder"] / "events.jsonl")
    if since.attempt != job["attempt"] or not since.has_phase:
        jobs.show_state(connection, job["id"], state)
    if since.attempt != job["attempt"]:
        connection.execute("UPDATE jobs SET ended_word = NULL WHERE id = ?", [job["id"]])


def _state_of(connection: Connection, record: dict[str, Any]) -> data.State:
    """A run's state: as recorded; while it is made, that of the job that makes it."""
    state: data.State = msgspec.convert(record["store"]["run"]["state"], data.State)
    if isinstance(state, data.Running):
        live = [job for job in jobs.live(connection) if job.run_id == record["id"]]
        state = next((job.state for job in live if job.verb in data.MAKES_A_RUN), state)
    return state


def _take_globals(connection: Connection, home: Home) -> None:
    """Take in what belongs to no run, from store.json; without it, numbers begin behind those that are seen."""
    try:
        tables = msgspec.json.decode((home.root / run_records.STORE).read_bytes())["tables"]
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return
    known = set(run_records.global_tables(connection))
    for table, rows in tables.items():
        for row in rows if table in known else ():
            _insert(connection, table, row)


def _text(value: Any) -> str:
    return _json.encode(value).decode()


if __name__ == "__main__":
    sys.exit(main())

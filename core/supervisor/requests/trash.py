"""Removed runs: into the home's trash, back from it, and deleted for good.

On removal, a run folder first gets the mark REMOVED, then its rows go, then it moves. On restore the mark is rewritten
("back"), then the folder moves, then its rows come, then the mark goes. So after a crash at any moment, a supervisor
that finds the mark knows what was intended.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import EnvironmentTrouble, FinetopError, NotFound, Refused, did_you_mean
from finetop.core.protocol import runs as data
from finetop.core.protocol.messages import trash as messages
from finetop.core.protocol.messages.limits import Done
from finetop.core.runtime.crash_points import abort_at
from finetop.core.runtime.files import os_error_words, read_own, write_whole
from finetop.core.runtime.home import Home
from finetop.core.store import parents, run_records, runs
from finetop.core.store.database import transaction
from finetop.core.supervisor.rebuild import rebuild
from finetop.core.supervisor.rebuild.record import read_record
from finetop.core.supervisor.state import Supervisor

REMOVED = "removed.json"
GOING = ".going"  # below the trash: folders being deleted


def remove(supervisor: Supervisor, ask: messages.Remove) -> messages.RemoveAnswer:
    """Move runs to the trash, or with `only_show` list them; with `each`, skip those that can't be removed.

    Raises NotFound, Refused for a run that lives or that another starts from, EnvironmentTrouble.
    """
    connection, home = supervisor.connection, supervisor.home
    chosen, folders, kept = _chosen(supervisor, ask)
    removed = [described(folders[run_id], run_id, name) for run_id, name in chosen.items()]
    if not ask.only_show:
        _write_records(supervisor)
        for run_id, folder in folders.items():
            _move_to_trash(connection, home, run_id, folder)
        supervisor.touch()
    return messages.RemoveAnswer(removed, kept)


def _chosen(
    supervisor: Supervisor, ask: messages.Remove
) -> tuple[dict[int, str], dict[int, Path], list[messages.Kept]]:
    """Return the removable runs by name and by folder, and with `each` those that can't be removed."""
    connection = supervisor.connection
    chosen: dict[int, str] = {}
    folders: dict[int, Path] = {}
    kept: list[messages.Kept] = []

    def keep(run: str, error: FinetopError) -> None:
        if not ask.each:
            raise error
        kept.append(messages.Kept(run, str(error), error.exit_code))

    for run in ask.runs:
        try:
            run_id, name = runs.find_run(connection, run)
            require_ended(supervisor, run_id, name)
            folders[run_id] = folder_of(connection, supervisor.home, run_id)
            chosen[run_id] = name
        except FinetopError as error:
            keep(run, error)
    before = -1
    while before != len(chosen):  # a run that stays keeps its parents
        before = len(chosen)
        for run_id, name in list(chosen.items()):
            try:
                require_childless(connection, run_id, name, chosen)
            except Refused as error:
                keep(name, error)
                del chosen[run_id], folders[run_id]
    return chosen, folders, kept


def require_ended(supervisor: Supervisor, run_id: int, name: str) -> None:
    """Raise Refused if a job of a run runs or waits."""
    detail = runs.detail(supervisor.connection, run_id)
    for job in detail.jobs:
        lives = supervisor.launcher.is_alive(supervisor.home.root / detail.folder / job.folder)
        if lives or job.is_under_way:
            hint = f"End it first: finetop stop {name}."
            raise Refused(f"the {job.verb} of {name} is {data.word(job.state)}.", hint=hint)


def require_childless(connection: Connection, run_id: int, name: str, going: dict[int, str]) -> None:
    """Raise Refused if another run, which stays, starts from this one."""
    _, below = parents.relatives(connection, run_id)
    needing = sorted({child.name for child in below if child.id not in going})
    if needing:
        begin, need = ("begins", "needs") if len(needing) == 1 else ("begin", "need")
        hint = f"Remove all of them together: finetop rm {' '.join([name, *needing])}."
        raise Refused(f"{', '.join(needing)} {begin} from {name} and {need} its weights.", hint=hint)


def folder_of(connection: Connection, home: Home, run_id: int) -> Path:
    """Return a run's folder in the home. Raises Refused for a link: its target is not ours."""
    folder = home.root / runs.detail(connection, run_id).folder
    if folder.is_symlink():
        raise Refused(f"{folder} is a link.", hint="Remove it by hand, then `finetop rebuild`.")
    return folder


def described(folder: Path, run_id: int, name: str) -> messages.Removed:
    sizes = list(sizes_below(folder))
    checkpoints = sum(1 for place in folder.glob("checkpoints/step-*") if place.is_dir())
    return messages.Removed(run_id, name, sum(sizes), len(sizes), checkpoints)


def sizes_below(folder: Path) -> Iterator[int]:
    """Yield the size in bytes of each file below a folder; links count as themselves and are not followed."""
    for place, _, files in os.walk(folder):
        for file in files:
            with contextlib.suppress(OSError):
                facts = os.lstat(os.path.join(place, file))  # noqa: PTH118
                holes = file == "log.txt" and facts.st_blocks * 512 < facts.st_size  # a long log has a hole
                yield facts.st_blocks * 512 if holes else facts.st_size


def _write_records(supervisor: Supervisor) -> None:
    """Write all records into the run folders, from which a run can be restored."""
    try:
        run_records.write_marked(supervisor.connection, supervisor.home.root)
    except OSError as error:
        words = os_error_words(error, supervisor.home.root)
        raise EnvironmentTrouble(f"can't write the runs' records: {words}.") from error


def _move_to_trash(connection: Connection, home: Home, run_id: int, folder: Path) -> None:
    with _moving(f"move {folder.name} to the trash"):
        if folder.is_dir():
            write_whole(folder / REMOVED, msgspec.json.encode({"at": time.time()}))
        with transaction(connection):
            run_records.remove_run(connection, run_id)
        if folder.is_dir():
            _move(folder, home.trash / folder.name)


@contextlib.contextmanager
def _moving(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "Check the disk and its permissions."
        raise EnvironmentTrouble(f"can't {what}: {error.strerror}.", hint=hint) from error


def _move(folder: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, exist_ok=True)
    if target.exists():
        discard(target)
    folder.rename(target)
    abort_at("folder-moved")


def trashed(home: Home) -> list[messages.Trashed]:
    """List the runs in the trash, newest first."""
    in_trash = []
    for folder in home.trash.glob("*/") if home.trash.is_dir() else []:
        if folder.name == GOING or folder.is_symlink():
            continue
        number, name = rebuild.number_of(folder), folder.name.partition("-")[2]
        at, size_bytes = removed_at(folder), sum(sizes_below(folder))
        in_trash.append(messages.Trashed(number, name, folder.name, at, size_bytes))
    return sorted(in_trash, key=lambda one: -one.at)


def removed_at(folder: Path) -> float:
    try:
        return float(msgspec.json.decode(read_own(folder / REMOVED))["at"])
    except (OSError, KeyError, TypeError, ValueError, RecursionError):
        return folder.stat().st_mtime


def trash(supervisor: Supervisor, ask: messages.Trash) -> messages.TrashAnswer:
    return messages.TrashAnswer(trashed(supervisor.home))


def restore(supervisor: Supervisor, ask: messages.Restore) -> Done:
    """Restore a run from the trash, under a new name if its own is taken.

    Raises NotFound, Refused if a run that it starts from is not in the store, BadInput for a damaged one,
    EnvironmentTrouble.
    """
    connection, home = supervisor.connection, supervisor.home
    trashed_run = _find_trashed(home, ask.run)
    place = home.trash / trashed_run.folder
    for row in read_record(place, trashed_run.run_id).store.tables.get("parents", ()):
        parent = row.get("parent_id")
        if not runs.exists(connection, parent):
            hint = f"Restore that first: finetop trash --restore {parent}."
            raise Refused(f"{trashed_run.name} starts from run {parent}, which does not exist.", hint=hint)
    name = runs.free_name(connection, trashed_run.name)
    folder = home.runs / trashed_run.folder
    if folder.exists():
        raise Refused(f"{folder} already exists.", hint="Move it out of the way first.")
    with _moving(f"bring {trashed_run.name} back"):
        write_whole(place / REMOVED, msgspec.json.encode({"at": trashed_run.at, "back": True}))
        place.rename(folder)
    abort_at("folder-moved")
    try:
        rebuild.add_run(connection, home, folder)
        with transaction(connection):
            runs.rename(connection, trashed_run.run_id, name)
    except BaseException:
        folder.rename(place)
        raise
    abort_at("run-is-back")
    (folder / REMOVED).unlink(missing_ok=True)
    supervisor.touch()
    new_name = "" if name == trashed_run.name else f" as {name}: its name is taken"
    return Done(f"{trashed_run.name} is back{new_name}.")


def _find_trashed(home: Home, run: str) -> messages.Trashed:
    in_trash = trashed(home)
    for trashed_run in in_trash:  # newest first
        if run in (trashed_run.name, trashed_run.folder, str(trashed_run.run_id)):
            return trashed_run
    hint = did_you_mean(run, [one.name for one in in_trash]) if in_trash else "The trash is empty."
    raise NotFound(f"there is no {run!r} in the trash.", hint=hint)


def empty(supervisor: Supervisor, ask: messages.EmptyTrash) -> Done:
    """Delete those trashed folders that were shown. They are out of sight when this returns."""
    chosen = [one for one in trashed(supervisor.home) if one.folder in ask.folders]
    for one in chosen:
        discard(supervisor.home.trash / one.folder)
    size = sum(one.size_bytes for one in chosen)
    return Done(f"{len(chosen)} removed for good, {size / 2**20:,.1f} MiB.")


def discard(folder: Path) -> None:
    """Move a folder out of sight, to be deleted by `delete_discarded`."""
    going = folder.parent / GOING
    going.mkdir(mode=0o700, exist_ok=True)
    folder.rename(going / f"{time.time_ns()}-{folder.name}")
    abort_at("folder-discarded")


def delete_discarded(home: Home) -> None:
    """Delete the discarded folders. It may take long: call it in a thread. Links are not followed."""
    for place in (home.trash / GOING, home.models / "merged" / GOING, home.root / "datasets" / GOING):
        for folder in place.iterdir() if place.is_dir() and not place.is_symlink() else []:
            shutil.rmtree(folder, ignore_errors=True)


def finish_moves(connection: Connection, home: Home) -> None:
    """Finish removals and restores that a crash interrupted.

    A folder with the mark goes to the trash, unless its run is in the store and was not being restored. The folder of a
    run that was never queued is deleted: no client was told of it.
    """
    for mark in home.runs.glob(f"*/{REMOVED}"):
        number = rebuild.number_of(mark.parent)
        with contextlib.suppress(OSError):
            is_here = runs.exists(connection, number)
            if is_here and not _was_coming_back(mark):
                mark.unlink()
                continue
            if is_here:
                with transaction(connection):
                    run_records.remove_run(connection, number)
            _move(mark.parent, home.trash / mark.parent.name)
    stored_folders = runs.folders(connection)
    for folder in rebuild.run_folders(home):
        if f"runs/{folder.name}" not in stored_folders and rebuild.was_never_queued(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _was_coming_back(mark: Path) -> bool:
    try:
        return bool(msgspec.json.decode(read_own(mark)).get("back"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


async def remove_alone(supervisor: Supervisor, ask: messages.Remove) -> messages.RemoveAnswer:
    """Remove runs while holding the lock on records, which `remove` writes itself."""
    async with supervisor.recording:
        return remove(supervisor, ask)


ANSWERS = {
    messages.Remove: remove_alone,
    messages.Trash: trash,
    messages.Restore: restore,
    messages.EmptyTrash: empty,
}

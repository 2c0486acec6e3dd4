"""Policy of `finetop clean`: removes checkpoints, merged models, scores, data, selected rows, old trash."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from duckdb import DuckDBPyConnection as Connection

from finetop.core.errors import BadInput, EnvironmentTrouble
from finetop.core.models import checkpoint, save
from finetop.core.protocol.messages.trash import Clean, CleanAnswer, CleanItem
from finetop.core.protocol.runs import Best
from finetop.core.recipe import home_settings
from finetop.core.recipe.home_settings import Keep
from finetop.core.runtime.files import read_own
from finetop.core.runtime.home import Home
from finetop.core.store import checkpoints as stored, jobs
from finetop.core.supervisor.io_thread import aside
from finetop.core.supervisor.requests import trash
from finetop.core.supervisor.state import Supervisor

DAY_S = 86_400.0
UNFINISHED = "unfinished export"
SELECTED, ROWS = "selected", ".jsonl"  # folder below the home, and suffix of its files
NAME = r"[A-Za-z0-9._-]+\.jsonl"


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk, of a run that has ended."""

    run: str
    ended: float
    step: int
    path: str  # relative to the home
    size_bytes: int
    must_stay: bool  # the run's newest or best, or the start of another run
    rank: int  # 0: the newest of its run
    eval_rank: int | None  # 0: the lowest eval_loss of its run; None: it has none


async def clean(supervisor: Supervisor, ask: Clean) -> CleanAnswer:
    """List what a policy would remove; with `shown`, remove those of its paths. Raises BadInput for an invalid one."""
    own = msgspec.to_builtins(home_settings.load(supervisor.home).keep)
    try:
        keep = msgspec.convert({**own, **ask.keep}, Keep)
    except msgspec.ValidationError as error:
        raise BadInput(f"keep: {error}.", hint="See `finetop clean --help`.") from error
    connection, home = supervisor.connection, supervisor.home
    left = await aside(partial(_unfinished, jobs.unfinished_folders(connection)))
    items = [*left, *items_to_remove(connection, home, keep)]
    if ask.shown is None:
        return CleanAnswer(items)
    agreed = [item for item in items if item.path in set(ask.shown)]
    for item in agreed:
        if item.kind == UNFINISHED:
            await aside(partial(shutil.rmtree, item.path, ignore_errors=True))
        else:
            take_away(connection, home, item)
    supervisor.touch()
    return CleanAnswer(agreed)


def items_to_remove(connection: Connection, home: Home, keep: Keep) -> Iterator[CleanItem]:
    """Yield what a policy removes. While a job runs, what jobs share stays."""
    yield from _checkpoints(saved(connection, home), keep)
    if not jobs.live(connection):
        yield from _unfinished_merges(home)
        yield from _unused(home, home.models / "merged", "merged model", keep.merged_days)
        yield from _unused(home, home.scores, "scores", keep.scores_days)
        yield from _unused(home, home.root / "retrieval", "index of documents", keep.scores_days)
        yield from _unused(home, home.root / "datasets", "data set", keep.datasets_days)
        yield from _selected(connection, home, keep.selected_days)
    if keep.trash_days is not None:
        for run in trash.trashed(home):
            age = (time.time() - run.at) / DAY_S
            if age >= keep.trash_days:
                reason = f"in the trash for {age:.0f} days"
                yield CleanItem("trash", run.name, f"trash/{run.folder}", run.size_bytes, reason)


def _unfinished(targets: Mapping[str, str]) -> list[CleanItem]:
    """Return what killed exports left half written beside their targets, which are given with their runs' names."""
    items = []
    for target, run in targets.items():
        with suppress(OSError):
            for folder in save.leftovers(Path(target)):
                size = sum(trash.sizes_below(folder))
                items.append(CleanItem(UNFINISHED, run, str(folder), size, "its export was killed"))
    return items


def _unfinished_merges(home: Home) -> Iterator[CleanItem]:
    for folder in sorted((home.models / "merged").glob(".*.partial")):
        path = str(folder.relative_to(home.root))
        yield CleanItem(
            "merged model", folder.name, path, sum(trash.sizes_below(folder)), "its job was killed"
        )


def saved(connection: Connection, home: Home) -> list[Saved]:
    """List the checkpoints of ended runs that were trained here, each run's newest first."""
    ended = stored.ended_runs(connection)
    of_run = {run_id: _places(home.root / folder) for run_id, _, folder, _, _ in ended}
    pairs = [(run_id, step) for run_id, places in of_run.items() for step in places]
    losses, needed = stored.eval_losses(connection, pairs), stored.needed_by_others(connection)
    checkpoints: list[Saved] = []
    for run_id, name, _, ended_at, best_text in ended:
        if of_run[run_id]:
            best = msgspec.json.decode(best_text, type=Best).step if best_text else None
            stay = needed.get(run_id, set()) | {best}
            checkpoints += _of_run(home, name, ended_at, of_run[run_id], losses.get(run_id, {}), stay)
    return checkpoints


def _places(run_folder: Path) -> dict[int, Path]:
    """Return a run's complete checkpoints by step, oldest first; a link is not one of ours to remove."""
    complete = checkpoint.complete(run_folder)
    return {checkpoint.step_of(place): place for place in complete if not place.is_symlink()}


def _of_run(
    home: Home,
    name: str,
    ended: float,
    places: dict[int, Path],
    losses: Mapping[int, float],
    stay: Collection[int | None],
) -> list[Saved]:
    """Describe a run's checkpoints, newest first. `stay` names steps that must; -1: all of them."""
    by_loss = sorted(losses, key=lambda step: (losses[step], -step))
    all_saved = []
    for rank, (step, place) in enumerate(reversed([*places.items()])):
        must_stay = rank == 0 or step in stay or -1 in stay
        path, size_bytes = str(place.relative_to(home.root)), sum(trash.sizes_below(place))
        eval_rank = by_loss.index(step) if step in losses else None
        all_saved.append(Saved(name, ended, step, path, size_bytes, must_stay, rank, eval_rank))
    return all_saved


def _checkpoints(all_saved: list[Saved], keep: Keep) -> Iterator[CleanItem]:
    """Yield checkpoints over the limits of count and age, then, oldest first, until the rest fits the total size."""
    reasons = {one.path: reason for one in all_saved if (reason := _reason(one, keep))}
    if keep.total_gib is not None:
        remaining_bytes = sum(one.size_bytes for one in all_saved if one.path not in reasons)
        for one in sorted(all_saved, key=lambda one: (one.ended, -one.rank)):
            if remaining_bytes <= keep.total_gib * 2**30:
                break
            if not one.must_stay and one.path not in reasons:
                reasons[one.path] = f"all checkpoints take more than {keep.total_gib:g} GiB"
                remaining_bytes -= one.size_bytes
    for one in all_saved:
        if one.path in reasons:
            name, reason = f"{one.run}@{one.step}", reasons[one.path]
            yield CleanItem("checkpoint", name, one.path, one.size_bytes, reason)


def _reason(entry: Saved, keep: Keep) -> str:
    """Return why a checkpoint is removed by count or age, or '' if it stays."""
    if entry.must_stay or (entry.eval_rank is not None and entry.eval_rank < keep.best):
        return ""
    if keep.last is not None and entry.rank >= keep.last:
        return f"older than the last {keep.last} of its run"
    days = (time.time() - entry.ended) / DAY_S
    if keep.days is not None and days >= keep.days:
        return f"its run ended {days:.0f} days ago"
    return ""


def _unused(home: Home, folder: Path, kind: str, days: float | None) -> Iterator[CleanItem]:
    """Yield the entries of a shared folder that nothing has read or written for so many days."""
    if days is None or not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or entry.name.startswith("."):
            continue
        files = [entry] if entry.is_file() else [file for file in entry.rglob("*") if file.is_file()]
        facts = [file.lstat() for file in files]
        used = max((max(fact.st_atime, fact.st_mtime) for fact in facts), default=entry.lstat().st_mtime)
        age = (time.time() - used) / DAY_S
        if age >= days:
            size = sum(fact.st_size for fact in facts)
            reason = f"not used for {age:.0f} days"
            yield CleanItem(kind, entry.name, str(entry.relative_to(home.root)), size, reason)


def _selected(connection: Connection, home: Home, days: float | None) -> Iterator[CleanItem]:
    """Yield files of rows selected for a curve that no run names any more, not even in the trash."""
    unused = _unused(home, home.root / SELECTED, "selected rows", days)
    files = [item for item in unused if item.path.endswith(ROWS)]
    named = _named(connection, home) if files else set()
    for item in files:
        if item.what not in named:
            manifest = _manifest(home.root / item.path)
            size = item.size_bytes + (manifest.stat().st_size if manifest.is_file() else 0)
            reason = f"no run names them, {item.why}"
            yield CleanItem(item.kind, item.what, item.path, size, reason)


def _named(connection: Connection, home: Home) -> set[str]:
    """Return the names of all row files that appear in a run's recipe, in its jobs' args or in the trash."""
    named = stored.named_like(connection, NAME)
    for folder in home.trash.glob("*/") if home.trash.is_dir() else ():
        for file in (*folder.glob("*.json"), *folder.glob("*.yaml"), *folder.glob("jobs/*/job.json")):
            try:
                content = read_own(file)
            except FileNotFoundError:
                continue
            except OSError as error:
                message = f"{file} can't be read ({error.strerror}), and may name rows that are still needed."
                hint = "Restore that run from the trash, or empty it."
                raise EnvironmentTrouble(message, hint=hint) from error
            named.update(re.findall(NAME, content.decode("utf-8", "replace")))
    return named


def _manifest(rows: Path) -> Path:
    return rows.with_name(f"{rows.name.removesuffix(ROWS)}.manifest.json")


def take_away(connection: Connection, home: Home, item: CleanItem) -> None:
    """Remove one item. A checkpoint leaves the store first, then its files go; other items are not in the store.

    After a crash in between, its files are listed again; the store never promises a checkpoint that is gone.
    """
    place = home.root / item.path
    if item.kind == "checkpoint":
        run_folder = place.parent.parent
        stored.forget(connection, str(run_folder.relative_to(home.root)), str(place.relative_to(run_folder)))
        checkpoint.remove(place)
    elif place.is_dir():
        trash.discard(place)
    else:
        place.unlink(missing_ok=True)
        if item.kind == "selected rows":
            _manifest(place).unlink(missing_ok=True)


ANSWERS = {Clean: clean}

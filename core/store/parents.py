"""Parent runs in the store: which runs a run starts from, its children, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import runs as data
from finetop.core.store import run_records
from finetop.core.store.database import insert, one_value, read_as

# A run waits for parents whose checkpoint is not known yet, until they have finished.
_WAITS = (
    "SELECT p.run_id, arg_min(q.name, q.id), arg_min(q.state, q.id), arg_min(q.id IN (SELECT run_id FROM jobs"
    " WHERE word = 'queued' AND held), q.id) FROM parents p JOIN runs q ON q.id = p.parent_id"
    ' WHERE p.step IS NULL AND q.state NOT LIKE \'{"type":"finished"%\' GROUP BY p.run_id'
)
# How a parent ended, and the command that continues it and so what waits for it.
DOES = {"failed": ("has failed", "retry"), "lost": ("is lost", "retry"), "stopped": ("has stopped", "resume")}


@dataclass(frozen=True)
class Parent:
    """A run that another starts from; without a step, its checkpoint is chosen when it has finished."""

    run_id: int
    setting: str  # of the recipe: model.id, objective.reward.model …
    step: int | None


def add(connection: Connection, run_id: int, parents: Sequence[Parent]) -> None:
    """Store a run's parents."""
    for parent in parents:
        facts = {"parent_id": parent.run_id, "setting": parent.setting, "step": parent.step}
        insert(connection, "parents", run_id=run_id, **facts)
    run_records.mark_run(connection, run_id)


def of_run(connection: Connection, run_id: int) -> list[Parent]:
    """List a run's parents."""
    query = "SELECT parent_id, setting, step FROM parents WHERE run_id = ? ORDER BY setting"
    return read_as(connection, Parent, query, [run_id])


def pin(connection: Connection, run_id: int, setting: str, step: int) -> None:
    """Store which checkpoint of a parent is used."""
    query = "UPDATE parents SET step = ? WHERE run_id = ? AND setting = ?"
    connection.execute(query, [step, run_id, setting])
    run_records.mark_run(connection, run_id)


def relatives(connection: Connection, run_id: int) -> tuple[list[data.Relative], list[data.Relative]]:
    """Return a run's parents and children with their names."""
    related = "SELECT count(*) FROM parents WHERE run_id = $1 OR parent_id = $1"
    if not one_value(connection, related, [run_id]):
        return [], []  # most runs; the joins below take 4 ms to plan

    def named(own: str, other: str) -> list[data.Relative]:
        query = (
            f"SELECT p.{other}, r.name, p.setting, p.step FROM parents p JOIN runs r ON r.id = p.{other}"
            f" WHERE p.{own} = ? ORDER BY p.{other}, p.setting"
        )
        return read_as(connection, data.Relative, query, [run_id])

    return named("run_id", "parent_id"), named("parent_id", "run_id")


def waiting(connection: Connection) -> dict[int, str]:
    """Map runs that wait for a parent to the reason: 'waits for chain.sft', with a command if that ended."""
    if not one_value(connection, "SELECT count(*) FROM parents WHERE step IS NULL"):
        return {}  # on most changes, and the join takes 3 ms to plan
    return {run_id: _why(*parent) for run_id, *parent in connection.execute(_WAITS).fetchall()}


def _why(name: str, state: str, is_held: bool) -> str:
    word = state.partition('"type":"')[2].partition('"')[0]
    if word in DOES:
        ending, verb = DOES[word]
        return f"waits for {name}, which {ending}: finetop {verb} {name}"
    return f"waits for {name}" + (f", which is held: finetop queue release {name}" if is_held else "")

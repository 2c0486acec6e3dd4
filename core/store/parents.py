"""Which runs a run begins from, in the store: its parents, its children, what it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from duckdb import DuckDBPyConnection as Connection

from finetop.core.protocol import runs as data
from finetop.core.store import run_records

# A run waits for parents whose checkpoint is not known yet, until they have finished.
_WAITS = (
    "SELECT p.run_id, arg_min(q.name, q.id), arg_min(q.state, q.id), arg_min(q.id IN (SELECT run_id FROM jobs"
    " WHERE word = 'queued' AND held), q.id) FROM parents p JOIN runs q ON q.id = p.parent_id"
    ' WHERE p.step IS NULL AND q.state NOT LIKE \'{"type":"finished"%\' GROUP BY p.run_id'
)
# A parent's state: how it has ended, and the command that lets it, and what waits for it, go on.
DOES = {
    "failed": ("has failed", "retry"),
    "lost": ("is lost", "retry"),
    "stopped": ("has stopped", "resume"),
}


@dataclass(frozen=True)
class Parent:
    """A run whose checkpoint another begins from; without a step it is known when the parent has finished."""

    run_id: int
    setting: str  # of the recipe: model.id, objective.reward.model …
    step: int | None


def add(connection: Connection, run_id: int, parents: Sequence[Parent]) -> None:
    """Write down what a run begins from."""
    for parent in parents:
        connection.execute(
            "INSERT INTO parents VALUES (?, ?, ?, ?)", [run_id, parent.run_id, parent.setting, parent.step]
        )
    run_records.mark_run(connection, run_id)


def of_run(connection: Connection, run_id: int) -> list[Parent]:
    """List what a run begins from."""
    found = connection.execute(
        "SELECT parent_id, setting, step FROM parents WHERE run_id = ? ORDER BY setting", [run_id]
    ).fetchall()
    return [Parent(*row) for row in found]


def pin(connection: Connection, run_id: int, setting: str, step: int) -> None:
    """Write down which checkpoint of a parent it is."""
    connection.execute(
        "UPDATE parents SET step = ? WHERE run_id = ? AND setting = ?", [step, run_id, setting]
    )
    run_records.mark_run(connection, run_id)


def relatives(connection: Connection, run_id: int) -> tuple[list[data.Relative], list[data.Relative]]:
    """Return a run's parents and children with their names."""
    return _named(connection, "run_id", "parent_id", run_id), _named(
        connection, "parent_id", "run_id", run_id
    )


def _named(connection: Connection, own: str, other: str, run_id: int) -> list[data.Relative]:
    found = connection.execute(
        f"SELECT p.{other}, r.name, p.setting, p.step FROM parents p JOIN runs r ON r.id = p.{other}"
        f" WHERE p.{own} = ? ORDER BY p.{other}, p.setting",
        [run_id],
    ).fetchall()
    return [data.Relative(*row) for row in found]


def waiting(connection: Connection) -> dict[int, str]:
    """Map runs that wait for a parent to why, in words: 'waits for chain.sft', with what to do if that ended."""
    return {run_id: _why(*parent) for run_id, *parent in connection.execute(_WAITS).fetchall()}


def _why(name: str, state: str, held: bool) -> str:
    word = state.partition('"type":"')[2].partition('"')[0]
    if word in DOES:
        which, verb = DOES[word]
        return f"waits for {name}, which {which}: finetop {verb} {name}"
    return f"waits for {name}" + (f", which is held: finetop queue release {name}" if held else "")

"""A supervisor in memory with a real store of checked runs, which answers Triage like the real one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from triage_store import add_run, take_in, told_of
from tui_fakes import FakeSupervisor

from finetop.core.features.triage import flipped_items_sql as flipped_items, requests as triage, sql as stored
from finetop.core.features.triage.messages import LookAtCell, LostItems, SetStanding, TriageRun
from finetop.core.protocol.messages.bisect import Earlier, EarlierAnswer, LookEarlier, LookEarlierAnswer
from finetop.core.protocol.messages.session import ChangesAnswer
from finetop.core.protocol.request import Ask
from finetop.core.store import triage_states
from finetop.core.store.database import open_store

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

TASKS = ("arith", "knowledge", "lambada", "arc", "hellaswag", "piqa", "openbookqa")
RUNS: dict[str, tuple[int, ...]] = {  # name -> how many of 20 items of each task were lost
    "support-full-1e-4": (9, 6, 4, 3, 2, 1, 0),
    "sql-full-2e-5": (1, 5, 3, 0, 1, 0, 0),
    "legal-continued-pretraining-qwen3-4b-lr1e-4-seed2": (0, 0, 4, 0, 1, 0, 0),
    "support-r16": (0, 1, 0, 0, 0, 0, 0),
}


def make_store(
    folder: Path, runs: dict[str, tuple[int, ...]] | None = None, *, steps: bool = True
) -> duckdb.DuckDBPyConnection:
    """Return a store in which the first run was checked at four steps, the others at one."""
    connection = open_store(folder / "finetop.duckdb")
    chosen = RUNS if runs is None else runs
    for at, (name, lost) in enumerate(chosen.items()):
        _, job = add_run(connection, name, method="lora" if "-r" in name else "full")
        for step, share in (
            ((300, 0.0), (400, 0.4), (600, 0.7), (1200, 1.0)) if not at and steps else ((1200, 1.0),)
        ):
            tasks = {task: (int(n * share), n % 2) for task, n in zip(TASKS, lost, strict=True)}
            take_in(connection, job, folder, *told_of(tasks, step, watch=step < 1200))
    connection.execute("UPDATE checks SET time = 1790000000")
    return connection


class FakeTriage(FakeSupervisor):
    """The fake supervisor of the other screens' tests, with a real store for Triage's requests."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__([])
        self.connection = connection
        self._own: Any = SimpleNamespace(connection=connection, revision=1, touch=lambda runs: self.change())

    async def ask(self, ask: Ask) -> Any:
        if isinstance(ask, Earlier):
            return EarlierAnswer(ask.run, 7, 3, "regressed since step 1200.", 40.0)
        if isinstance(ask, LookEarlier):
            self.asked.append(ask)
            return LookEarlierAnswer(ask.run, 900, f"step 900 of {ask.run} is looked at.")
        if type(ask) in triage.ANSWERS:
            self.asked.append(ask)
            if isinstance(ask, SetStanding):  # none of its weights are on disk
                return triage.set_standing(self._own, ask)
            if isinstance(ask, LookAtCell):
                return flipped_items.cell(self.connection, ask)
            if isinstance(ask, TriageRun):
                return stored.run_detail(self.connection, ask)
            if isinstance(ask, LostItems):
                return flipped_items.list_lost(self.connection, ask)
            return triage.ANSWERS[type(ask)](self._own, ask)
        answer = await super().ask(ask)
        if isinstance(answer, ChangesAnswer):
            answer = replace(answer, to_triage=triage_states.to_triage(self.connection))
        return answer

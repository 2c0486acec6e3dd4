"""What the supervisor answers about regressions, and what it keeps of how people see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core import protocol, run as data
from finetop.core.check import curve
from finetop.core.errors import Refused
from finetop.core.store import checks, lost_items, runs, standings, triage
from finetop.core.store.open import transaction
from finetop.core.supervisor import orders
from finetop.core.supervisor.aside import aside
from finetop.core.supervisor.recording import record

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor

PAGE_LIMIT = 500
ITEM_LIMIT = 1000


def page(supervisor: Supervisor, ask: protocol.Triage) -> protocol.TriageAnswer:
    return triage.page(
        supervisor.connection,
        text=ask.filter,
        offset=max(0, ask.offset),
        limit=max(1, min(ask.limit, PAGE_LIMIT)),
        revision=supervisor.revision,
    )


def turned(supervisor: Supervisor, ask: protocol.TriageRun) -> protocol.TriageRunAnswer:
    return triage.turned(supervisor.connection, *runs.find_run(supervisor.connection, ask.run))


def cell(supervisor: Supervisor, ask: protocol.LookAtCell) -> protocol.CellAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    return lost_items.cell(supervisor.connection, *found, ask.task, max(0, min(ask.items, 100)))


def items(supervisor: Supervisor, ask: protocol.LostItems) -> protocol.LostItemsAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    limit = max(1, min(ask.limit, ITEM_LIMIT))
    bounded = protocol.LostItems(
        ask.run, ask.task, ask.kind, ask.only, ask.margin, ask.runs, ask.text, max(0, ask.offset), limit
    )
    return lost_items.listed(supervisor.connection, *found, bounded)


def item(supervisor: Supervisor, ask: protocol.LookAtItem) -> protocol.ItemAnswer:
    found = runs.find_run(supervisor.connection, ask.run)
    return lost_items.one(supervisor.connection, *found, ask.task, ask.item)


def to_triage(supervisor: Supervisor) -> int:
    """Count the runs whose regression nobody has looked at."""
    return standings.to_triage(supervisor.connection)


def say(supervisor: Supervisor, ask: protocol.SetStanding) -> protocol.SetStandingAnswer:
    """Keep how a regression is seen. Raises what `triage.say` raises."""
    run_id, name = runs.find_run(supervisor.connection, ask.run)
    with transaction(supervisor.connection):
        answer = triage.say(supervisor.connection, run_id, name, ask)
    supervisor.touch([run_id])
    return answer


async def look_earlier(supervisor: Supervisor, ask: protocol.LookEarlier) -> protocol.LookEarlierAnswer:
    """Queue the look at a checkpoint that says most about since when a run has regressed.

    Raises Refused while the run trains, and what `orders.check` raises. The folders are looked for in a thread:
    a network file system may take its time.
    """
    connection = supervisor.connection
    run_id, name = runs.find_run(connection, ask.run)
    detail = runs.detail(connection, run_id)
    if isinstance(detail.row.state, data.Queued | data.Running):
        raise Refused(
            f"{name} is {data.word(detail.row.state)}: its checkpoints are compared when it has ended."
        )
    folder = supervisor.home.root / detail.folder
    there = await aside(lambda: {one.step for one in detail.checkpoints if (folder / one.path).is_dir()})
    results = curve.comparable(checks.results(connection, run_id), curve.wanted_settings(detail.recipe, {}))
    steps = sorted({one.step for one in detail.checkpoints} | set(results))
    seen: dict[int, curve.Seen] = {step: result["verdict"] for step, result in results.items()}
    seen |= {step: "missing" for step in steps if step not in seen and step not in there}
    step = curve.next_step(steps, seen)
    if step is None:
        said = curve.conclude(steps, seen).text if steps else "it has no checkpoint."
        return protocol.LookEarlierAnswer(name, None, f"{name}: {said}")
    newest = max(one for one in steps if seen.get(one) != "missing")
    queued = orders.check(supervisor, protocol.Check(ask.run, step, watch=step != newest))
    await record(supervisor)
    return protocol.LookEarlierAnswer(
        name, queued.step, f"step {queued.step:,} of {name} is looked at; s looks on when that is done."
    )

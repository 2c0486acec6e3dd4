"""Every suggested next step of a run, in each possible state, is a request that the supervisor accepts."""

from inspect import isawaitable
from typing import Any

import pytest
from run_states import make_all
from still import Still

from finetop.core.commands.show import next_command
from finetop.core.errors import FinetopError
from finetop.core.features.remedies.messages import Remedies, Remedy
from finetop.core.protocol.accepts import RequestName, accepts
from finetop.core.protocol.messages.bisect import LookEarlier
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Retry
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.messages.submit import Resume
from finetop.core.protocol.runs import RunRow
from finetop.core.store import runs
from finetop.core.supervisor.requests import dispatch
from finetop.core.wording.next_step import Order, advised

ORDERS: dict[Order, Any] = {
    "resume": Resume,
    "retry": Retry,
    "check": Check,
    "check again": Check,
    "remedies": Remedy,  # the command tries them; the app's key shows them first
}
STEPS: dict[Order, str] = {
    "resume": "held paused check-held",
    "check": "stopped killed unchecked check-failed imported",
    "retry": "stopped-unsaved killed-unsaved lost lost-unsaved",
    "check again": "target-failed",
    "remedies": "regressed regressed-killed remedies-few-tried remedies-half-tried remedies-failed"
    " remedies-none-fine remedies-found",
}
WANTED = {name: step for step, names in STEPS.items() for name in names.split()}


@pytest.mark.slow
async def test_what_is_advised_of_each_state_is_done_and_the_rule_says_what_is_refused(quiet: Still) -> None:
    results: dict[str, Order] = {}
    differ = []
    names, connection = make_all(quiet), quiet.supervisor.connection
    rows = {row.name: row for row in (await ask(quiet, Runs(limit=200))).rows}
    changed: set[str] = set()

    def row_of(name: str) -> RunRow:
        if name in changed:
            changed.remove(name)
            rows[name] = runs.row(connection, rows[name].id)
        return rows[name]

    async def expect(name: str, asked: Any, *, accepted: bool, may_be_done: bool = False) -> None:
        try:
            await ask(quiet, asked)
        except FinetopError as error:
            differ.extend([f"{name}: {error}"] if accepted else [])
        else:
            differ.extend([] if accepted or may_be_done else [f"{name}: {asked} is done"])
            if not isinstance(asked, Remedies):  # it may take less now
                changed.add(name)

    for name in names:
        if order := advised(rows[name]):
            results[name] = order
        assert bool(order) == bool(next_command(rows[name])), name
        await expect(name, Remedies(name), accepted=accepts(row_of(name), "remedies"))
        if order:
            await expect(name, ORDERS[order](name), accepted=True)
        asked: list[tuple[RequestName, Any]] = [
            ("check", Check(name)),
            ("bisect", LookEarlier(name, on=False)),  # if nothing can be bisected, that is the answer
            ("remedy", Remedy(name)),
        ]
        for what, request in reversed(asked) if name.startswith("re") else asked:
            may = accepts(row_of(name), what)
            await expect(name, request, accepted=may, may_be_done=what == "bisect")
        # a queue of all these jobs would slow down each of the following requests
        connection.execute(
            "UPDATE jobs SET word = 'stopped' WHERE word = 'queued' AND run_id = ?", [rows[name].id]
        )
    assert results == WANTED
    assert differ == []


async def ask(still: Still, request: Any) -> Any:
    """Answer a request without writing records: that is a third of the time, and nothing here reads them."""
    reply = dispatch.ANSWERS[type(request)](still.supervisor, request)
    return await reply if isawaitable(reply) else reply

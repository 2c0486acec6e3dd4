"""Every suggested next step of a run, in each possible state, is a request that the supervisor accepts."""

import asyncio
from typing import Any

from run_states import make_all
from still import Still

from finetop.core.commands.show import next_command
from finetop.core.errors import FinetopError
from finetop.core.protocol.accepts import RequestName, accepts
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Retry
from finetop.core.protocol.messages.remedies import Remedies, Remedy
from finetop.core.protocol.messages.runs import Runs
from finetop.core.protocol.messages.submit import Resume
from finetop.core.protocol.messages.triage import LookEarlier
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


def test_what_is_advised_of_each_state_is_done_and_the_rule_says_what_is_refused(quiet: Still) -> None:
    results: dict[str, Order] = {}
    differ = []
    names = make_all(quiet)
    rows = {row.name: row for row in ask(quiet, Runs(limit=200)).rows}
    changed: set[str] = set()

    def row_of(name: str) -> RunRow:
        if name in changed:
            changed.remove(name)
            rows[name] = runs.row(quiet.supervisor.connection, rows[name].id)
        return rows[name]

    def expect(name: str, asked: Any, *, accepted: bool, may_be_done: bool = False) -> None:
        try:
            ask(quiet, asked)
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
        expect(name, Remedies(name), accepted=accepts(row_of(name), "remedies"))
        if order:
            expect(name, ORDERS[order](name), accepted=True)
        asked: list[tuple[RequestName, Any]] = [
            ("check", Check(name)),
            ("bisect", LookEarlier(name, on=False)),  # if nothing can be bisected, that is the answer
            ("remedy", Remedy(name)),
        ]
        for what, request in reversed(asked) if name.startswith("re") else asked:
            expect(name, request, accepted=accepts(row_of(name), what), may_be_done=what == "bisect")
    assert results == WANTED
    assert differ == []


def ask(still: Still, request: Any) -> Any:
    return asyncio.run(dispatch.answer(still.supervisor, request))

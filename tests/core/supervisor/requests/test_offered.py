"""What is advised next of a run, in each state that it can be in, is an order that the supervisor does."""

from __future__ import annotations

import asyncio
from typing import Any

from run_states import make_all
from still import Still

from finetop.core.commands.show import next_command
from finetop.core.errors import FinetopError
from finetop.core.protocol.accepts import Asked, accepts
from finetop.core.protocol.messages.checks import Check
from finetop.core.protocol.messages.queue import Retry
from finetop.core.protocol.messages.remedies import Remedies, Remedy
from finetop.core.protocol.messages.runs import GetRun
from finetop.core.protocol.messages.submit import Resume
from finetop.core.protocol.messages.triage import LookEarlier
from finetop.core.supervisor.requests import dispatch
from finetop.core.wording.next_step import Order, advised

ORDERS: dict[Order, Any] = {
    "resume": Resume,
    "retry": Retry,
    "check": Check,
    "check again": Check,
    "remedies": Remedy,  # the command tries them; the app's key looks at them first
}
WANTED: dict[str, Order] = {
    "held": "resume",
    "paused": "resume",
    "check-held": "resume",
    "stopped": "check",
    "stopped-unsaved": "retry",
    "killed": "check",
    "killed-unsaved": "retry",
    "lost": "retry",
    "lost-unsaved": "retry",
    "unchecked": "check",
    "check-failed": "check",
    "target-failed": "check again",
    "imported": "check",
    "regressed": "remedies",
    "regressed-killed": "remedies",
    "remedies-few-tried": "remedies",
    "remedies-half-tried": "remedies",
    "remedies-failed": "remedies",
    "remedies-none-fine": "remedies",
    "remedies-found": "remedies",
}


def ask(still: Still, request: Any) -> Any:
    return asyncio.run(dispatch.answer(still.supervisor, request))


def test_what_is_advised_is_done(quiet: Still) -> None:
    found = {}
    for name in make_all(quiet):
        row = ask(quiet, GetRun(name)).row
        order = advised(row)
        found[name] = order
        assert bool(order) == bool(next_command(row)), name
        if order:
            ask(quiet, ORDERS[order](name))
    assert {name: order for name, order in found.items() if order} == WANTED


def test_the_rule_says_what_the_supervisor_does(quiet: Still) -> None:
    requests: dict[Asked, Any] = {
        "bisect": lambda run: LookEarlier(run, on=False),
        "remedies": Remedies,
        "check": Check,
        "remedy": Remedy,
    }
    differ = []
    for name in make_all(quiet):
        for asked, request in requests.items():
            expected = accepts(ask(quiet, GetRun(name)).row, asked)
            try:
                ask(quiet, request(name))
            except FinetopError as error:
                differ += [f"{name}: {error}"] if expected else []
            else:  # where there is nothing to bisect, that is the answer
                differ += [] if expected or asked == "bisect" else [f"{asked} of {name} is done"]
    assert differ == []

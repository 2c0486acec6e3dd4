"""What is advised next of a run, in each state that it can be in, is an order that the supervisor does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from run_states import STATES
from still import Still

from finetop.core.commands.show import next_command
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
    **dict.fromkeys(("regressed", "regressed-killed"), "remedies"),
    **dict.fromkeys((f"remedies-{how}" for how in ("few-tried", "half-tried", "failed", "none-fine", "found")), "remedies"),
}  # fmt: skip


def ask(still: Still, request: Any) -> Any:
    return asyncio.run(dispatch.answer(still.supervisor, request))


@pytest.mark.parametrize("name", STATES)
def test_what_is_advised_is_done(quiet: Still, name: str) -> None:
    STATES[name](quiet, name)
    row = ask(quiet, GetRun(name)).row
    order = advised(row)
    assert order == WANTED.get(name, "")
    assert bool(order) == bool(next_command(row))
    if order:
        ask(quiet, ORDERS[order](name))


@pytest.mark.parametrize("asked", ["check", "remedies", "remedy", "bisect"])
def test_the_rule_says_what_the_supervisor_does(quiet: Still, asked: Asked) -> None:
    requests: dict[Asked, Any] = {"check": Check, "remedies": Remedies, "remedy": Remedy, "bisect": LookEarlier}
    differ = []
    for name, build in STATES.items():
        build(quiet, name)
        expected = accepts(ask(quiet, GetRun(name)).row, asked)
        request = requests[asked](name, on=False) if asked == "bisect" else requests[asked](name)
        try:
            ask(quiet, request)
        except Exception as error:
            differ += [f"{name}: {error}"] if expected else []
        else:
            differ += [] if expected else [f"{name} is done"]
    assert differ == []

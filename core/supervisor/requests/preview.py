"""Finds out what a run would come to on this machine, for a client that is elsewhere: in a process of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from finetop.core import protocol
from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.runtime import child

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor

LONGEST_S = 50.0  # a client waits for a minute


async def look_ahead(supervisor: Supervisor, ask: protocol.LookAhead) -> protocol.LookAheadAnswer:
    """Return the plan of a recipe, and its first row as rendered; one at a time, as it reads all of the data.

    Raises EnvironmentTrouble where that takes too long.
    """
    home = str(supervisor.home.root)
    asked = msgspec.json.encode({"recipe": ask.recipe, "row": ask.row})
    try:
        async with asyncio.timeout(LONGEST_S), supervisor.looking_ahead:
            answer = await child.answer("finetop.core.client.plan_preview", home, asked=asked)
    except TimeoutError as error:
        raise EnvironmentTrouble(
            f"a plan took longer than {LONGEST_S:g} s.", hint="Ask there: `finetop plan RECIPE`."
        ) from error
    lines = answer.output.splitlines()
    if not lines:
        raise FinetopError("no plan could be made of this recipe.", hint="Ask there: `finetop plan RECIPE`.")
    return protocol.LookAheadAnswer([msgspec.json.decode(line) for line in lines])

"""Finds out what a run would come to on this machine, for a client that is elsewhere: in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec

from finetop.core import protocol
from finetop.core.errors import EnvironmentTrouble, FinetopError

if TYPE_CHECKING:
    from finetop.core.supervisor.state import Supervisor

LONGEST_S = 50.0  # a client waits for a minute


async def look_ahead(supervisor: Supervisor, ask: protocol.LookAhead) -> protocol.LookAheadAnswer:
    """Give the plan of a recipe, and its first row as rendered; one at a time, as it reads all of the data.

    Raises EnvironmentTrouble where that takes too long.
    """
    asked = msgspec.json.encode({"recipe": ask.recipe, "row": ask.row})
    try:
        async with asyncio.timeout(LONGEST_S), supervisor.looking_ahead:
            lines = await _lines(str(supervisor.home.root), asked)
    except TimeoutError as error:
        raise EnvironmentTrouble(
            f"a plan took longer than {LONGEST_S:g} s.", hint="Ask there: `finetop plan RECIPE`."
        ) from error
    if not lines:
        raise FinetopError("no plan could be made of this recipe.", hint="Ask there: `finetop plan RECIPE`.")
    return protocol.LookAheadAnswer([msgspec.json.decode(line) for line in lines])


async def _lines(home: str, asked: bytes) -> list[bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "finetop.core.client.plan_preview",
        home,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    said = b""
    try:
        said, _ = await process.communicate(asked)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.splitlines()

"""The loop of a screen that asks for what it shows; what changes while it asks is asked for once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.text import clean_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.dom import DOMNode


async def load_for_ever(
    screen: DOMNode,
    wake: asyncio.Event,
    load: Callable[[], Awaitable[None]],
    tell: Callable[[str], None],
    redraw: Callable[[], None],
    least_s: float = 0.0,
) -> None:
    """Load whenever somebody wakes it, then draw, until the screen is taken down; `least_s` lie between two loads.

    `tell` hears what went wrong, cleaned, and "" when all went well.
    """
    while True:
        await wake.wait()
        wake.clear()
        try:
            await load()
            tell("")
        except NoSupervisor:
            continue  # the app says so on its own row, and a StoreChanged comes when it is back
        except FinetopError as error:
            tell(clean_line(str(error)))
        except NoMatches:
            return  # an answer came while the screen is taken down
        if screen.is_attached and screen.children:
            redraw()
        await asyncio.sleep(least_s)

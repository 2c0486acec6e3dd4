"""Queues what `finetop demo` queues: what a list without runs offers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.submit import Submit

if TYPE_CHECKING:
    from finetop.tui.app_interface import Host


async def queue_demo(host: Host) -> None:
    """Queue the demo's runs, whose recipes are built in, and say so."""
    from finetop.core.commands.demo import RECIPES
    from finetop.core.recipe.load import check_files, load_recipe

    try:
        for name in RECIPES:
            loaded = await asyncio.to_thread(load_recipe, name)
            check_files(loaded)
            await host.ask(Submit(loaded.resolved, loaded.text, loaded.recipe.name))
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(f"{len(RECIPES)} runs are queued; each is checked for forgetting at its end.")

"""Which runs write to a folder: no two commands write their models to the same one, and no program is watched twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.errors import Refused
from finetop.core.recipe.command import output_of
from finetop.core.recipe.schema import Command
from finetop.core.store import jobs, runs
from finetop.core.text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from finetop.core.protocol.messages.submit import Watch
    from finetop.core.supervisor.state import Supervisor


def require_free(supervisor: Supervisor, recipe: Mapping[str, Any]) -> None:
    """Require that no run has its model, or will have it, in the folder that a command writes to. Raises Refused."""
    folder = folder_of(recipe)
    if folder is None:
        return
    for name, other in jobs.commands(supervisor.connection):
        if folder_of(other) == folder:
            raise Refused(
                f"{plain(str(folder))} is the output of {name}, and this run would overwrite its model.",
                hint=f"Give another folder, or remove that run: finetop rm {name}.",
            )


def require_unwatched(supervisor: Supervisor, ask: Watch) -> None:
    """Require that no run watches this program already. Raises Refused."""
    own = (ask.pid, ask.start) if ask.pid else folder_of(ask.recipe)
    for job in (*jobs.queued(supervisor.connection), *jobs.live(supervisor.connection)):
        if not job.kind.only_watches:
            continue
        pid = job.args.get("pid")
        if own == (
            (pid, job.args.get("start")) if pid else folder_of(runs.recipe(supervisor.connection, job.run_id))
        ):
            raise Refused(
                f"it is watched already, as {job.run_name}.", hint=f"Follow it: finetop tail {job.run_name}."
            )


def folder_of(recipe: Mapping[str, Any]) -> Path | None:
    """Return the folder that a recipe's command writes its model to, if that is known."""
    command = recipe.get("command")
    output = None if command is None else output_of(msgspec.convert(command, Command))
    return None if output is None else Path(os.path.normpath(output))

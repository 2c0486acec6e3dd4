"""Queues a comparison of approaches on what the form says: prompt, examples, retrieval and training side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core.text import clean_line
from finetop.tui.screens.launch.form import source_of
from finetop.tui.screens.launch.submit import require_files
from finetop.tui.text import counted, cut_end

if TYPE_CHECKING:
    from finetop.core.protocol.messages.approaches import SubmitApproaches
    from finetop.core.runtime.home import Home
    from finetop.tui.app_interface import Host
    from finetop.tui.line import Line
    from finetop.tui.screens.launch.form import Form


async def request(host: Host, form: Form, home: Home) -> SubmitApproaches:
    """Make the runs of a comparison; nothing is queued. Raises FinetopError, for a recipe without check.target too."""
    from finetop.core.approaches._request import request as make

    assert form.loaded is not None
    await require_files(host, home, form.loaded)
    # Files are hashed: runs of the same recipe on the same data are used again.
    ask = await asyncio.to_thread(make, form.loaded, home, source=source_of(form))
    return ask if len(host.homes) == 1 else msgspec.structs.replace(ask, name=f"{home.label}:{ask.name}")


def question(ask: SubmitApproaches) -> Line:
    """Ask whether they shall be queued, with how many runs that is and what is left out."""
    names = dict.fromkeys(run.approach for run in ask.runs)
    words: Line = (
        (
            f" Compare {counted(len(names), 'approach', 'approaches')}: queue {counted(len(ask.runs), 'run')}?",
            "bold",
        ),
    )
    if not ask.left_out:
        return words
    left_out = ", ".join(clean_line(name) for name in ask.left_out)
    return (*words, (f"  Not {cut_end(left_out, 30)}", ""))


async def submit(host: Host, ask: SubmitApproaches) -> tuple[str, str]:
    """Queue the runs. Returns the comparison's name, and what came of it in words. Raises FinetopError."""
    made: Any = await host.ask(ask)
    new = sum(not one.was_there for one in made.runs)
    again = len(made.runs) - new
    words = f"{counted(new, 'run')} {'is' if new == 1 else 'are'} queued"
    if again:
        words += f", {again} of before {'is' if again == 1 else 'are'} used again"
    return made.comparison, f"{words}."

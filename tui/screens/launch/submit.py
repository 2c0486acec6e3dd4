"""Queues what the form says on a machine: one run, or the runs of a sweep."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from finetop.core.client.remote.recipe_files import judge, own_paths, sent
from finetop.core.protocol.messages.machine import Paths
from finetop.core.protocol.messages.submit import Submit, SubmitSweep, SweepRun
from finetop.core.text import clean_line
from finetop.tui.screens.launch.form import source_of
from finetop.tui.screens.launch.sweep import axes_of, points_of
from finetop.tui.text import count, counted

if TYPE_CHECKING:
    from finetop.core.recipe.load import Loaded
    from finetop.core.runtime.home import Home
    from finetop.tui.app_interface import Host
    from finetop.tui.screens.launch.form import Form


async def submit(host: Host, form: Form, home: Home) -> tuple[str, str]:
    """Queue what a form without problems says. Returns the run to show, and what came of it in words.

    Raises FinetopError; then nothing is queued.
    """
    assert form.loaded is not None
    wanted = form.loaded.recipe.name
    name = wanted if len(host.homes) == 1 else f"{home.label}:{wanted}"
    if axes_of(form):
        return await _submit_sweep(host, form, home, name)
    await require_files(host, home, form.loaded)
    one = await host.ask(Submit(sent(form.loaded, home), source_of(form), name))
    return one.name, f"{one.name} is queued, place {count(one.place)}."


async def _submit_sweep(host: Host, form: Form, home: Home, name: str) -> tuple[str, str]:
    points = await asyncio.to_thread(points_of, form)
    for point in points:
        await require_files(host, home, point.loaded)
    runs = [SweepRun(point.name, sent(point.loaded, home)) for point in points]
    made = await host.ask(SubmitSweep(name, runs, source_of(form)))
    on = "" if home.link is None else f"--on {home.link.word} "
    words = f"{counted(len(made.runs), 'run')} are queued. What comes of them: finetop {on}sweep {made.sweep}"
    return made.runs[0].name, clean_line(words)


async def require_files(host: Host, home: Home, loaded: Loaded) -> None:
    """See that the files that a run needs are on another machine. Raises FinetopError."""
    if home.link is None:
        return
    facts = await host.ask_on(home, Paths(own_paths(loaded)))
    judge(loaded, facts.found, home.label)

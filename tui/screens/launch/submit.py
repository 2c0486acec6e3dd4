"""Queues what the form says: a run, the runs of a sweep, or prompt, examples, retrieval and training side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from finetop.core import protocol
from finetop.core.client.remote.recipe_files import judge, own_paths, sent
from finetop.core.errors import FinetopError
from finetop.core.text import clean_line
from finetop.tui.screens.launch.form import source_of
from finetop.tui.screens.launch.sweep import axes_of, points_of
from finetop.tui.text import count, counted, cut_end
from finetop.tui.widgets.frame import Answer

if TYPE_CHECKING:
    from finetop.core.recipe.load import Loaded
    from finetop.core.runtime.home import Home
    from finetop.tui.app_interface import Host
    from finetop.tui.line import Line
    from finetop.tui.screens.launch.form import Form
    from finetop.tui.screens.shared.check_action import Start
    from finetop.tui.widgets.frame import Bottom


async def queue_form(host: Host, form: Form, home: Home) -> None:
    """Queue what a form without problems says, show it in the list, and say what came of it."""
    try:
        run, words = await _submit(host, form, home)
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.show_runs(run)
        host.say(words)


async def ask_comparison(bottom: Bottom, host: Host, start: Start, form: Form, home: Home) -> None:
    """Ask with how many runs approaches are compared on what a form says, then queue them and show the comparison."""
    try:
        ask = await _comparison(host, form, home)
    except FinetopError as error:
        host.say(str(error), "red")
        return

    async def queue() -> None:
        try:
            comparison, words = await _submit_comparison(host, ask)
        except FinetopError as error:
            host.say(str(error), "red")
        else:
            host.open_approaches(comparison)
            host.say(words)

    bottom.ask(_question(ask), [Answer("y", "queue them", lambda: start(queue()))], leave="queue nothing")


async def _submit(host: Host, form: Form, home: Home) -> tuple[str, str]:
    """Queue what a form without problems says. Returns the run to show, and what came of it in words.

    Raises FinetopError; then nothing is queued.
    """
    assert form.loaded is not None
    wanted = form.loaded.recipe.name
    name = wanted if len(host.homes) == 1 else f"{home.label}:{wanted}"
    if axes_of(form):
        return await _submit_sweep(host, form, home, name)
    await require_files(host, home, form.loaded)
    one = await host.ask(protocol.Submit(sent(form.loaded, home), source_of(form), name))
    return one.name, f"{one.name} is queued, place {count(one.place)}."


async def _submit_sweep(host: Host, form: Form, home: Home, name: str) -> tuple[str, str]:
    points = await asyncio.to_thread(points_of, form)
    for point in points:
        await require_files(host, home, point.loaded)
    runs = [protocol.SweepRun(point.name, sent(point.loaded, home)) for point in points]
    made = await host.ask(protocol.SubmitSweep(name, runs, source_of(form)))
    on = "" if home.link is None else f"--on {home.link.word} "
    words = f"{counted(len(made.runs), 'run')} are queued. What comes of them: finetop {on}sweep {made.sweep}"
    return made.runs[0].name, clean_line(words)


async def require_files(host: Host, home: Home, loaded: Loaded) -> None:
    """See that the files that a run needs are on another machine. Raises FinetopError."""
    if home.link is None:
        return
    facts = await host.ask_on(home, protocol.Paths(own_paths(loaded)))
    judge(loaded, facts.found, home.label)


async def _comparison(host: Host, form: Form, home: Home) -> protocol.SubmitApproaches:
    """Make the runs of a comparison; nothing is queued. Raises FinetopError, for a recipe without check.target too."""
    from finetop.core.approaches._request import request

    assert form.loaded is not None
    await require_files(host, home, form.loaded)
    # Files are hashed: runs of the same recipe on the same data are used again.
    ask = await asyncio.to_thread(request, form.loaded, home, source=source_of(form))
    return ask if len(host.homes) == 1 else msgspec.structs.replace(ask, name=f"{home.label}:{ask.name}")


def _question(ask: protocol.SubmitApproaches) -> Line:
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


async def _submit_comparison(host: Host, ask: protocol.SubmitApproaches) -> tuple[str, str]:
    """Queue the runs. Returns the comparison's name, and what came of it in words. Raises FinetopError."""
    made: Any = await host.ask(ask)
    new = sum(not run.was_there for run in made.runs)
    again = len(made.runs) - new
    words = f"{counted(new, 'run')} {'is' if new == 1 else 'are'} queued"
    if again:
        words += f", {again} of before {'is' if again == 1 else 'are'} used again"
    return made.comparison, f"{words}."

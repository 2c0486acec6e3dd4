"""Confirms and queues a form: a run, a sweep, or a comparison of approaches; and confirms before writing it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.client.remote.recipe_files import judge, own_paths, sent
from finetop.core.errors import FinetopError
from finetop.core.plan.result import READ_BY
from finetop.core.protocol.messages.approaches import SubmitApproaches
from finetop.core.protocol.messages.machine import Paths
from finetop.core.protocol.messages.submit import Submit, SubmitSweep, SweepRun
from finetop.core.recipe.load import Loaded
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, count, counted
from finetop.tui.app_interface import Host, host_of, refusals_said
from finetop.tui.screens.launch.form import Form, source_of, value_of
from finetop.tui.screens.launch.plan_preview import require_sound
from finetop.tui.screens.launch.recipe_file import recipe_path, recipe_text, write
from finetop.tui.screens.launch.sweep import axes_of, points_of, runs_of
from finetop.tui.text import Line, cut_end
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Answer


async def queue_form(host: Host, form: Form, home: Home) -> None:
    """Queue a valid form, show its run in the list and report the result."""
    with refusals_said(host):
        run, words = await _submit(host, form, home)
        host.show_runs(run)
        host.say(words)


async def ask_comparison(screen: AppScreen[Any], form: Form, home: Home) -> None:
    """Ask before queueing a comparison, with its number of runs; then queue it and show it."""
    host = host_of(screen)
    with refusals_said(host):
        ask = await _comparison(host, form, home)
        answer = Answer("y", "queue them", lambda: screen.run_worker(_queue_comparison(host, ask)))
        screen.bottom.ask(_question(ask), [answer], leave="cancel")


async def _submit(host: Host, form: Form, home: Home) -> tuple[str, str]:
    """Queue a valid form. Returns the run to show, and a message.

    Raises FinetopError, and then nothing is queued.
    """
    assert form.loaded is not None
    name = form.loaded.recipe.name
    if len(host.homes) > 1:
        name = f"{home.label}:{name}"
    if axes_of(form):
        return await _submit_sweep(host, form, home, name)
    await require_files(host, home, form.loaded)
    await require_sound(host, home, form.loaded)
    run = await host.ask(Submit(sent(form.loaded, home), source_of(form), name))
    return run.name, f"{run.name} is queued, place {count(run.place)}."


async def _submit_sweep(host: Host, form: Form, home: Home, name: str) -> tuple[str, str]:
    points = await asyncio.to_thread(points_of, form)
    for point in points:
        await require_files(host, home, point.loaded)
    alike = {repr([point.loaded.resolved[name] for name in READ_BY]): point.loaded for point in points}
    for loaded in alike.values():
        await require_sound(host, home, loaded)
    runs = [SweepRun(point.name, sent(point.loaded, home)) for point in points]
    made = await host.ask(SubmitSweep(name, runs, source_of(form)))
    on = "" if home.link is None else f"--on {home.link.word} "
    words = f"{counted(len(made.runs), 'run')} are queued. Results: finetop {on}sweep {made.sweep}"
    return made.runs[0].name, clean_line(words)


async def require_files(host: Host, home: Home, loaded: Loaded) -> None:
    """Check that the files a run needs exist on another machine. Raises FinetopError."""
    if home.link is None:
        return
    facts = await host.ask_on(home, Paths(own_paths(loaded)))
    judge(loaded, facts.found, home.label)


async def _comparison(host: Host, form: Form, home: Home) -> SubmitApproaches:
    """Build the request of a comparison without sending it. Raises FinetopError, also without check.target."""
    from finetop.core.approaches._request import request

    assert form.loaded is not None
    await require_files(host, home, form.loaded)
    # in a thread, because files are hashed: earlier runs of the same recipe and data are reused
    ask = await asyncio.to_thread(request, form.loaded, home, source=source_of(form))
    return ask if len(host.homes) == 1 else msgspec.structs.replace(ask, name=f"{home.label}:{ask.name}")


def _question(ask: SubmitApproaches) -> Line:
    """Return the question before a comparison is queued: its number of runs, and the approaches left out."""
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


async def _queue_comparison(host: Host, ask: SubmitApproaches) -> None:
    """Queue the runs, show the comparison and report the result."""
    with refusals_said(host):
        made: Any = await host.ask(ask)
        new = sum(not run.was_there for run in made.runs)
        again = len(made.runs) - new
        words = f"{counted(new, 'run')} {'is' if new == 1 else 'are'} queued"
        if again:
            words += f", {counted(again, 'earlier run')} reused"
        host.open_approaches(made.comparison)
        host.say(f"{words}.")


def ask_before(screen: AppScreen[Any], form: Form, submit: Callable[[Home], object]) -> None:
    """Queue a valid form after asking for consent to remote code, for the number of runs, and for the machine."""
    assert form.loaded is not None
    model = form.loaded.recipe.model
    go_on = partial(_ask_how_many, screen, form, submit)
    if not model.trust_remote_code:
        go_on()
        return
    words: Line = ((f" Run Python code that comes with {clean_line(model.id)}?", "red"),)
    screen.bottom.ask(words, [Answer("y", "I have read it", go_on)], leave="cancel")


def _ask_how_many(screen: AppScreen[Any], form: Form, submit: Callable[[Home], object]) -> None:
    """Ask before several runs are queued; a single run needs no question."""
    number = runs_of(form)
    go_on = partial(_ask_where, screen, submit)
    if number == 1:
        go_on()
        return
    name = clean_line(value_of(form, "name"))
    words: Line = ((f" Queue {counted(number, 'run')} in the sweep {name}?", "bold"), ("  All or none.", ""))
    screen.bottom.ask(words, [Answer("y", "queue them", go_on)], leave="cancel")


def _ask_where(screen: AppScreen[Any], submit: Callable[[Home], object]) -> None:
    """Queue on the only machine, or ask which of several."""
    homes = host_of(screen).homes
    if len(homes) == 1:
        submit(homes[0])
        return
    answers = [
        Answer(str(number), clean_line(home.label), partial(submit, home))
        for number, home in enumerate(homes[:9], start=1)
    ]
    words: Line = ((" On which machine?", "bold"), ("  Its data must be there.", ""))
    screen.bottom.ask(words, answers, leave="cancel")


def write_recipe(screen: AppScreen[Any], form: Form) -> None:
    """Write the form's recipe to a file; ask before an existing one is overwritten."""
    host = host_of(screen)
    try:
        path = recipe_path(form, host.folder)
        text = recipe_text(form, host.folder)
        write(path, text, overwrite=False)
    except FileExistsError:
        words: Line = ((f" {clean_line(path.name)} already exists.", "bold"), ("  Overwrite it?", ""))
        over = Answer("y", "overwrite", partial(_write_over, host, path, text))
        screen.bottom.ask(words, [over], leave="cancel")
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(f"wrote {path.name}. To queue it: finetop run {path.name}")


def _write_over(host: Host, path: Path, text: str) -> None:
    with refusals_said(host):
        write(path, text, overwrite=True)
        host.say(f"wrote {path.name}.")

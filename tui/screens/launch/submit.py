"""Confirms and queues a form: a run, a sweep, or a comparison of approaches; and confirms before writing it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from finetop.core.client.remote.recipe_files import own_paths, portable_recipe, require_there
from finetop.core.errors import FinetopError
from finetop.core.features.approaches.messages import SubmitApproaches
from finetop.core.plan.result import READ_BY
from finetop.core.protocol.messages.machine import Paths
from finetop.core.protocol.messages.submit import Submit, SubmitSweep, SweepRun
from finetop.core.recipe.load import Loaded
from finetop.core.runtime.home import Home
from finetop.core.text import clean_line, count, counted
from finetop.tui.app_interface import Host, host_of, show_refusals
from finetop.tui.screens.launch.form import Form, source_of, value_of
from finetop.tui.screens.launch.plan_preview import require_sound
from finetop.tui.screens.launch.recipe_file import recipe_path, recipe_text, write
from finetop.tui.screens.launch.sweep import axes_of, points_of, runs_of
from finetop.tui.text import Line, cut_end
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.frame import Answer


async def queue_form(host: Host, form: Form, home: Home) -> None:
    """Queue a valid form, show its run in the list and report the result."""
    with show_refusals(host):
        run, message = await _submit(host, form, home)
        host.show_runs(run)
        host.say(message)


async def ask_comparison(screen: AppScreen[Any], form: Form, home: Home) -> None:
    """Ask before queueing a comparison, with its number of runs; then queue it and show it."""
    host = host_of(screen)
    with show_refusals(host):
        request = await _comparison(host, form, home)
        answer = Answer("y", "queue them", lambda: screen.run_worker(_queue_comparison(host, request)))
        screen.bottom.ask(_question(request), [answer], leave="cancel")


async def _submit(host: Host, form: Form, home: Home) -> tuple[str, str]:
    """Queue a valid form; return the run to show, and a message. Raises FinetopError: nothing is queued then."""
    assert form.loaded is not None
    name = form.loaded.recipe.name
    if len(host.homes) > 1:
        name = f"{home.label}:{name}"
    if axes_of(form):
        return await _submit_sweep(host, form, home, name)
    await require_files(host, home, form.loaded)
    await require_sound(host, home, form.loaded)
    run = await host.ask(Submit(_sent(form.loaded, home), source_of(form), name))
    return run.name, f"{run.name} is queued, place {count(run.place)}."


def _sent(loaded: Loaded, home: Home) -> dict[str, Any]:
    """Return the recipe as sent to a home; a command gets this shell's environment there, as with `finetop run`.

    Raises BadInput if its program is not found.
    """
    recipe = portable_recipe(loaded, home)
    if loaded.recipe.command is None or home.link is not None:
        return recipe
    from finetop.core.external.recipe import with_environment

    return with_environment(recipe)


async def _submit_sweep(host: Host, form: Form, home: Home, name: str) -> tuple[str, str]:
    points = await asyncio.to_thread(points_of, form)
    for point in points:
        await require_files(host, home, point.loaded)
    alike = {repr([point.loaded.resolved[name] for name in READ_BY]): point.loaded for point in points}
    for loaded in alike.values():
        await require_sound(host, home, loaded)
    runs = [SweepRun(point.name, _sent(point.loaded, home)) for point in points]
    answer = await host.ask(SubmitSweep(name, runs, source_of(form)))
    on = "" if home.link is None else f"--on {home.link.word} "
    message = f"{counted(len(answer.runs), 'run')} are queued. Results: finetop {on}sweep {answer.sweep}"
    return answer.runs[0].name, clean_line(message)


async def require_files(host: Host, home: Home, loaded: Loaded) -> None:
    """Check that the files a run needs exist on another machine. Raises FinetopError."""
    if home.link is None:
        return
    answer = await host.ask_on(home, Paths(own_paths(loaded)))
    require_there(loaded, answer.facts, home.label)


async def _comparison(host: Host, form: Form, home: Home) -> SubmitApproaches:
    """Build the request of a comparison without sending it. Raises FinetopError, also without check.target."""
    from finetop.core.features.approaches.request import request

    assert form.loaded is not None
    await require_files(host, home, form.loaded)
    # in a thread, because files are hashed: earlier runs of the same recipe and data are reused
    comparison = await asyncio.to_thread(request, form.loaded, home, source=source_of(form))
    if len(host.homes) == 1:
        return comparison
    return msgspec.structs.replace(comparison, name=f"{home.label}:{comparison.name}")


def _question(comparison: SubmitApproaches) -> Line:
    names = dict.fromkeys(run.approach for run in comparison.runs)
    approaches, runs = counted(len(names), "approach", "approaches"), counted(len(comparison.runs), "run")
    question: Line = ((f" Compare {approaches}: queue {runs}?", "bold"),)
    if not comparison.left_out:
        return question
    left_out = ", ".join(clean_line(name) for name in comparison.left_out)
    return (*question, (f"  Not {cut_end(left_out, 30)}", ""))


async def _queue_comparison(host: Host, comparison: SubmitApproaches) -> None:
    with show_refusals(host):
        answer: Any = await host.ask(comparison)
        new = sum(not run.was_there for run in answer.runs)
        again = len(answer.runs) - new
        message = f"{counted(new, 'run')} {'is' if new == 1 else 'are'} queued"
        if again:
            message += f", {counted(again, 'earlier run')} reused"
        host.open_approaches(answer.comparison)
        host.say(f"{message}.")


def ask_before(screen: AppScreen[Any], form: Form, submit: Callable[[Home], object]) -> None:
    """Queue a valid form after asking for consent to remote code, for the number of runs, and for the machine."""
    assert form.loaded is not None
    model = form.loaded.recipe.model
    go_on = partial(_ask_how_many, screen, form, submit)
    if not model.trust_remote_code:
        go_on()
        return
    question: Line = ((f" Run Python code that comes with {clean_line(model.id)}?", "red"),)
    screen.bottom.ask(question, [Answer("y", "I have read it", go_on)], leave="cancel")


def _ask_how_many(screen: AppScreen[Any], form: Form, submit: Callable[[Home], object]) -> None:
    number = runs_of(form)
    go_on = partial(_ask_where, screen, submit)
    if number == 1:
        go_on()
        return
    runs, name = counted(number, "run"), clean_line(value_of(form, "name"))
    question: Line = ((f" Queue {runs} in the sweep {name}?", "bold"), ("  All or none.", ""))
    screen.bottom.ask(question, [Answer("y", "queue them", go_on)], leave="cancel")


def _ask_where(screen: AppScreen[Any], submit: Callable[[Home], object]) -> None:
    homes = host_of(screen).homes
    if len(homes) == 1:
        submit(homes[0])
        return
    answers = [
        Answer(str(number), clean_line(home.label), partial(submit, home))
        for number, home in enumerate(homes[:9], start=1)
    ]
    question: Line = ((" On which machine?", "bold"), ("  Its data must be there.", ""))
    screen.bottom.ask(question, answers, leave="cancel")


def write_recipe(screen: AppScreen[Any], form: Form) -> None:
    """Write the form's recipe to a file; ask before an existing one is overwritten."""
    host = host_of(screen)
    try:
        path = recipe_path(form, host.folder)
        text = recipe_text(form, host.folder)
        write(path, text, overwrite=False)
    except FileExistsError:
        question: Line = ((f" {clean_line(path.name)} already exists.", "bold"), ("  Overwrite it?", ""))
        over = Answer("y", "overwrite", partial(_write_over, host, path, text))
        screen.bottom.ask(question, [over], leave="cancel")
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(f"wrote {path.name}. To queue it: finetop run {path.name}")


def _write_over(host: Host, path: Path, text: str) -> None:
    with show_refusals(host):
        write(path, text, overwrite=True)
        host.say(f"wrote {path.name}.")

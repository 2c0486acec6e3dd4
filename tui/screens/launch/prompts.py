"""What Launch asks before it queues a run or writes over a file: above the footer, and esc leaves all as it is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from finetop.core.errors import FinetopError
from finetop.core.text import clean_line, counted
from finetop.tui.screens.launch.form import value_of
from finetop.tui.screens.launch.recipe_file import recipe_path, recipe_text, write
from finetop.tui.screens.launch.sweep import runs_of
from finetop.tui.widgets.frame import Answer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from finetop.core.runtime.home import Home
    from finetop.tui.app_interface import Host
    from finetop.tui.line import Line
    from finetop.tui.screens.launch.form import Form
    from finetop.tui.widgets.frame import Bottom


def ask_before(bottom: Bottom, host: Host, form: Form, submit: Callable[[Home], object]) -> None:
    """Queue a form that has nothing to mend; before, ask for what must be agreed to, and for the machine."""
    assert form.loaded is not None
    model = form.loaded.recipe.model
    go_on = partial(_ask_how_many, bottom, host, form, submit)
    if not model.trust_remote_code:
        go_on()
        return
    words: Line = ((f" Run Python code that comes with {clean_line(model.id)}?", "red"),)
    bottom.ask(words, [Answer("y", "I have read it", go_on)], leave="don't")


def _ask_how_many(bottom: Bottom, host: Host, form: Form, submit: Callable[[Home], object]) -> None:
    """Ask before many runs are queued, with how many; one run is queued at once."""
    number = runs_of(form)
    go_on = partial(_ask_where, bottom, host, submit)
    if number == 1:
        go_on()
        return
    name = clean_line(value_of(form, "name"))
    words: Line = ((f" Queue {counted(number, 'run')} in the sweep {name}?", "bold"), ("  All or none.", ""))
    bottom.ask(words, [Answer("y", "queue them", go_on)], leave="queue nothing")


def _ask_where(bottom: Bottom, host: Host, submit: Callable[[Home], object]) -> None:
    """Queue on the machine there is; of several, on the one that is answered with."""
    homes = host.homes
    if len(homes) == 1:
        submit(homes[0])
        return
    answers = [
        Answer(str(number), clean_line(home.label), partial(submit, home))
        for number, home in enumerate(homes[:9], start=1)
    ]
    words: Line = ((" On which machine?", "bold"), ("  Its data must lie there.", ""))
    bottom.ask(words, answers, leave="don't queue it")


def write_recipe(bottom: Bottom, host: Host, form: Form) -> None:
    """Write the form's recipe as a file; one that is there is asked about by name."""
    try:
        path = recipe_path(form, host.folder)
        text = recipe_text(form, host.folder)
        write(path, text, overwrite=False)
    except FileExistsError:
        words: Line = ((f" {clean_line(path.name)} is there.", "bold"), ("  Write over it?", ""))
        over = Answer("y", "write over it", partial(_write_over, host, path, text))
        bottom.ask(words, [over], leave="leave it")
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(f"{path.name} is written. Edit it, then: finetop run {path.name}")


def _write_over(host: Host, path: Path, text: str) -> None:
    try:
        write(path, text, overwrite=True)
    except FinetopError as error:
        host.say(str(error), "red")
    else:
        host.say(f"{path.name} is written.")

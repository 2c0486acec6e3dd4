"""Opens a run's folder in the editor, the pager or a shell, which borrow the app's terminal."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from textual.app import App, SuspendNotSupported

from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.text import Line, cut_middle
from finetop.tui.widgets.frame import Answer, Bottom

SHOWN = 44  # most cells of a path


def ask_to_open(bottom: Bottom, folder: Path, newest_job: str, copy: Callable[[str], object]) -> None:
    """Ask which program opens a run's folder, or copy the folder's path."""
    app = bottom.app
    log = folder / newest_job / "log.txt"
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    pager = shlex.split(os.environ.get("PAGER") or "less")
    shell = os.environ.get("SHELL") or "sh"
    answers = [
        Answer("c", "copy its path", partial(copy, str(folder))),
        Answer("s", "shell there", partial(run_in_terminal, app, [shell], folder)),
        Answer("e", "editor", partial(run_in_terminal, app, [*editor, "."], folder)),
    ]
    if newest_job and log.is_file():
        page = partial(run_in_terminal, app, [*pager, str(log)], folder)
        answers.append(Answer("l", "log in the pager", page))
    place = cut_middle(clean_line(str(folder)), SHOWN)
    question: Line = ((" Open the run's folder?", "bold"), (f"  {place}", ""))
    bottom.ask(question, answers, leave="cancel")


def run_in_terminal(app: App[str], command: Sequence[str], folder: Path) -> None:
    """Suspend the app while an external program owns the terminal; report if it could not start."""
    try:
        with app.suspend(), ignored_interrupts():
            subprocess.run(command, cwd=folder, check=False)
    except SuspendNotSupported:
        host_of(app.screen).say("can't start a program in this terminal; copy the path instead.", "red")
    except OSError as error:
        host_of(app.screen).say(f"{clean_line(command[0])}: {error.strerror or error}.", "red")
    host_of(app.screen).action_redraw()  # the other program has overwritten the screen


@contextmanager
def ignored_interrupts() -> Iterator[None]:
    """Ignore ctrl+c and ctrl+\\ here: they reach the whole process group, and are meant for the other program."""
    kinds = (signal.SIGINT, signal.SIGQUIT)
    before = [signal.signal(kind, lambda *_: None) for kind in kinds]  # ignoring would be inherited
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)

"""Asks for a file's name and writes what a screen shows, on this machine, in the folder where finetop was started."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetop.core.errors import FinetopError
from finetop.core.runtime.files import write_whole
from finetop.core.text import clean_line
from finetop.tui.app_interface import host_of
from finetop.tui.save import Sheet
from finetop.tui.save.formats import endings, written
from finetop.tui.text import cut_middle
from finetop.tui.widgets.frame import Answer, Bottom

if TYPE_CHECKING:
    from textual.screen import Screen

    from finetop.tui.app_interface import Host


async def ask_of(screen: Screen[Any], picture: str) -> None:
    """Ask where to write what a screen shows: its own tables and charts, else the picture of it."""
    host, give = host_of(screen), getattr(screen, "to_save", None)
    try:
        shown = Sheet((screen.title or "screen").lower()) if give is None else await give()
    except FinetopError as error:
        host.say(str(error), "red")
        return
    bottom = screen.query_one(Bottom)
    if screen.is_current and bottom.question is None:
        ask(bottom, host, shown, picture)


def ask(bottom: Bottom, host: Host, shown: Sheet, screen: str) -> None:
    """Ask for the name above the footer, then write the file; nothing is overwritten without asking.

    `screen` is the picture of the screen.
    """

    def done(text: str, is_kept: bool) -> None:
        target = _target(host, text)
        if not is_kept:
            return
        if not (target.exists() or target.is_symlink()):
            _write(host, target, shown, screen)
            return
        words = f" {cut_middle(clean_line(target.name), 40)} is there already."
        over = Answer("y", "write over it", lambda: _write(host, target, shown, screen))
        bottom.ask(((words, "bold"),), [over], leave="leave it")

    bottom.ask_text(
        "save as",
        f"{clean_line(shown.name)}{endings(shown)[0]}",
        changed=lambda text: None,
        done=done,
        keep=f"save; {', '.join(endings(shown))} say how",
        leave="don't",
        fault=lambda text: _fault(_target(host, text), shown),
    )


def _target(host: Host, text: str) -> Path:
    return host.folder / Path(text.strip()).expanduser()


def _fault(target: Path, shown: Sheet) -> str:
    """Say why that can't be written; nothing where it can."""
    forms = endings(shown)
    if target.suffix.lower() not in forms:
        return f"end it in {' or '.join(forms)}"
    if not target.parent.is_dir():
        return f"there is no folder {cut_middle(clean_line(str(target.parent)), 30)}"
    return "that is a folder" if target.is_dir() else ""


def _write(host: Host, target: Path, shown: Sheet, screen: str) -> None:
    try:
        write_whole(target, written(shown, target.suffix.lower(), screen))
    except OSError as error:
        host.say(f"not saved: {error.strerror or error}.", "red")
    else:
        host.say(f"saved: {target}")

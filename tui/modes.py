"""The places of the app, the number that the top row shows beside each, and the keys that work on every screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from textual.screen import Screen

from finetop.tui.connection.machines import Machine
from finetop.tui.keys import Key
from finetop.tui.theme import StyleName


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `counted` returns how many things of a machine need attention there, or are waiting."""

    key: str
    mode: str
    name: str
    command: str
    counted: Callable[[Machine], int] = lambda machine: 0
    hue: StyleName = ""  # of that number

    @property
    def as_key(self) -> Key:
        return Key(self.key, "", f"place('{self.mode}')", self.name, self.command)


PLACES = (
    Place("1", "runs", "Runs", "finetop ls"),
    Place("2", "triage", "Triage", "finetop triage", lambda machine: machine.counts.to_triage, "red"),
    Place("3", "queue", "Queue", "finetop queue", lambda machine: machine.counts.queued, "queued"),
    Place("4", "launch", "Launch", "finetop run RECIPE"),
)
EVERYWHERE = (
    *(place.as_key for place in PLACES),
    Key("", "", "live", "live view of running jobs", "finetop queue", sign=":"),
    Key("question_mark,f1", "", "help", "all keys of this screen (also F1)"),
    Key("colon,ctrl+p", "", "palette", "find a command, screen, run or theme by name"),
    Key("e", "", "save", "save this view as csv, md, png or svg"),
    Key(
        "y,ctrl+y",
        "",
        "copy",
        "copy what is under the cursor (charts: ctrl+y); again: the next step as a command",
    ),
    Key("ctrl+l", "", "redraw", "redraw the screen"),
    Key("ctrl+z", "", "suspend", "suspend finetop; fg in the shell continues it"),
    Key("q", "", "leave", "quit; running jobs keep running"),
)
MESSAGES = Key("", "", "messages", "all messages")
THEME = Key("", "", "theme", "choose a theme", sign=":")


def new_screen(name: str, *arguments: Any) -> Screen[Any]:
    """Return a screen by its folder's name, imported when first opened: `compare` is CompareScreen."""
    screens = import_module(f"finetop.tui.screens.{name}.screen")
    screen: Screen[Any] = getattr(screens, f"{name.capitalize()}Screen")(*arguments)
    return screen

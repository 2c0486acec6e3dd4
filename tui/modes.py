"""The places of the app, what the top row says beside each, and the keys that work on every screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from finetop.tui.keys import Key
from finetop.tui.screens.runs.screen import RunsScreen

if TYPE_CHECKING:
    from finetop.tui.connection.machines import Machine


@dataclass(frozen=True, slots=True)
class Place:
    """One place. `counted` says of a machine how many things there wait for a person, or are to come."""

    key: str
    mode: str
    name: str
    command: str
    open: Callable[[], Screen[Any]]
    counted: Callable[[Machine], int] = lambda machine: 0

    @property
    def as_key(self) -> Key:
        return Key(self.key, self.key, "", f"place('{self.mode}')", self.name, self.command)


def _queue() -> Screen[Any]:
    from finetop.tui.screens.queue.screen import QueueScreen

    return QueueScreen()


def _launch() -> Screen[Any]:
    from finetop.tui.screens.launch.screen import LaunchScreen

    return LaunchScreen()


def _triage() -> Screen[Any]:
    from finetop.tui.screens.triage.screen import TriageScreen

    return TriageScreen()


PLACES = (
    Place("1", "runs", "Runs", "finetop ls", RunsScreen),
    Place("2", "triage", "Triage", "finetop triage", _triage, lambda machine: machine.to_triage),
    Place("3", "queue", "Queue", "finetop queue", _queue, lambda machine: machine.queued),
    Place("4", "launch", "Launch", "finetop run RECIPE", _launch),
)
EVERYWHERE = (
    *(place.as_key for place in PLACES),
    Key("question_mark", "?", "", "help", "all keys of this screen"),
    Key("colon,ctrl+p", ":", "", "palette", "every command by name"),
    Key("e", "e", "", "save", "save what is shown: csv, md, svg"),
    Key(
        "y,ctrl+y",
        "y",
        "",
        "copy",
        "copy what the cursor is on (charts: ctrl+y); again, next's command",
    ),
    Key("ctrl+l", "ctrl+l", "", "redraw", "draw all again, after line noise"),
    Key("q", "q", "", "leave", "leave; runs go on"),
)
MESSAGES = Key("", "", "", "messages", "all messages so far")

"""What a screen may use of the app around it: the connection, the look, the clock, and a place for messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from textual.dom import DOMNode

from finetop.core.errors import FinetopError
from finetop.core.features.chat.messages import ChatPrompt, ChatSettings, ChatSide
from finetop.core.features.triage.messages import TriageRow
from finetop.core.protocol.request import Answer, Request
from finetop.core.runtime.home import Home
from finetop.tui.keys import Key
from finetop.tui.messages import ShownMessage
from finetop.tui.text import Line
from finetop.tui.theme import Look, StyleName


@dataclass(frozen=True, slots=True)
class ChatStart:
    """How a chat with a run begins."""

    model: ChatSide | None = None  # beside the base; None: the run's best or newest checkpoint
    at_hand: ChatPrompt | None = None  # on the prompt line
    joins: bool = False  # goes on with the chat that is open
    settings: ChatSettings = field(default_factory=ChatSettings)


class Asker(Protocol):
    """One connection to a supervisor: finetop.core.client.connection.AsyncClient, or a test's own."""

    async def ask(self, ask: Request[Answer]) -> Answer: ...

    def close(self) -> None: ...


class Host(Protocol):
    """The app, as its screens see it."""

    look: Look
    theme_chosen: str  # "" follows the terminal
    trouble: str  # what is wrong overall, in words; empty if nothing is
    supervisor_is_lost: bool
    shown_message: ShownMessage | None  # the message above the footer, until the next key
    messages: list[ShownMessage]
    homes: Sequence[Home]  # on one machine or several
    home_shown: str
    restart: str  # what R does while a connection is lost
    folder: Path  # where `finetop` was started: recipes are searched here

    def now(self) -> float: ...

    def where(self, width: int) -> Line: ...

    def load(self, width: int) -> Line: ...

    def places(self) -> Sequence[tuple[str, str, int, StyleName]]: ...

    async def ask(self, ask: Request[Answer]) -> Answer: ...

    async def ask_on(self, home: Home, ask: Request[Answer]) -> Answer: ...

    def own_asker(self) -> Asker: ...

    async def ask_aside(self, home: Home, ask: Request[Answer]) -> Answer: ...

    def say(self, text: str, style: StyleName = "") -> None: ...

    def hush(self) -> None: ...

    def show_theme(self, theme: str) -> None: ...

    def choose_theme(self, theme: str) -> object: ...

    def start_supervisor(self) -> object: ...

    def copy_text(self, text: str) -> object: ...

    def action_redraw(self) -> object: ...

    def action_live(self) -> object: ...

    def press(self, sign: str, keys: Sequence[Key] = ()) -> object: ...

    def keys_everywhere(self) -> Sequence[Key]: ...

    def open_run(self, run: str) -> object: ...

    def open_compare(self, runs: Sequence[str]) -> object: ...

    def open_remedies(self, run: str) -> object: ...

    def open_chat(self, run: str, start: ChatStart | None = None) -> object: ...

    def open_sweep(self, sweep: str) -> object: ...

    def open_approaches(self, comparison: str) -> object: ...

    def open_launch(
        self, *, from_run: str = "", settings: Mapping[str, Any] | None = None, recipe: str = ""
    ) -> object: ...

    def sort_runs(self, key: str) -> object: ...

    def open_triage(self, run: str) -> object: ...

    def open_items(self, row: TriageRow, task: str, text: str) -> object: ...

    def show_runs(self, run: str = "") -> object: ...


def host_of(node: DOMNode) -> Host:
    """Return the app around a widget or screen."""
    return cast("Host", node.app)


def files_are_here(host: Host) -> bool:
    """Return whether everything shown uses the files of this machine."""
    return all(home.link is None for home in host.homes)


@contextmanager
def show_refusals(host: Host) -> Iterator[None]:
    """Show a FinetopError raised in the block in red; the rest of the block is skipped."""
    try:
        yield
    except FinetopError as error:
        host.say(str(error), "red")

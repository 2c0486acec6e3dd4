"""The app: its places, the keys that work everywhere, the connection and what it says. Nothing of any one screen."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App

from finetop.core import protocol
from finetop.core.client import AsyncClient, start_supervisor
from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.text import clean_line
from finetop.tui.keys import Key, bindings
from finetop.tui.live import PACE_S, follow
from finetop.tui.messages import Said, StoreChanged
from finetop.tui.screens.runs import RunsScreen
from finetop.tui.theme import Look, StyleName, find_look
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.words import clock, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.driver import Driver
    from textual.screen import Screen

    from finetop.core.home import Home
    from finetop.tui.host import Asker

MINUTE_S = 60.0

EVERYWHERE = (
    Key("1", "1", "", "runs", "Runs", "finetop ls"),
    Key("2", "2", "", "launch", "Launch", "finetop run RECIPE"),
    Key("question_mark", "?", "", "help", "all keys of this screen"),
    Key("colon,ctrl+p", ":", "", "palette", "every command by name"),
    Key("ctrl+l", "ctrl+l", "", "redraw", "draw all again, after line noise"),
    Key("q", "q", "", "leave", "leave; runs go on"),
)
MESSAGES = Key("", "", "", "messages", "all messages so far")


def _launch() -> Screen[Any]:
    from finetop.tui.screens.launch import LaunchScreen

    return LaunchScreen()


class FinetopApp(App[str], inherit_bindings=False):
    """The terminal app of one home. Tests give it another connection, clock, machine and look."""

    AUTO_FOCUS = "Bottom"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "finetop"
    BINDINGS: ClassVar = [*bindings(EVERYWHERE), ("ctrl+c", "how_to_leave")]
    MODES: ClassVar = {"runs": RunsScreen, "launch": _launch}
    DEFAULT_MODE = "runs"

    def __init__(
        self,
        home: Home,
        *,
        connect: Callable[[Home], Asker] = AsyncClient,
        start: Callable[[Home], None] = start_supervisor,
        now: Callable[[], float] = time.time,
        machine: str | None = None,
        look: Look | None = None,
        folder: Path | None = None,
        pace_s: float = PACE_S,
        driver_class: type[Driver] | None = None,
    ) -> None:
        self.look = find_look() if look is None else look
        super().__init__(driver_class=driver_class, ansi_color=True)
        self.home = home
        self.folder = Path.cwd() if folder is None else folder
        self.machine = clean_line(socket.gethostname()) if machine is None else machine
        self.trouble = ""
        self.supervisor_is_lost = False
        self.said: Said | None = None
        self.messages: list[Said] = []
        self.running = 0
        self._lost_at = 0.0
        self._now, self._pace_s = now, pace_s
        self._start = start
        self._asker, self._watcher = connect(home), connect(home)

    # --- what screens ask of it -------------------------------------------------------------------------

    @property
    def home_shown(self) -> str:
        return clean_line(str(self.home.root))

    def now(self) -> float:
        return self._now()

    async def ask(self, ask: protocol.Ask) -> Any:
        """Ask the supervisor. Raises NoSupervisor when it is gone; the connection comes back by itself."""
        answer = await self._asker.ask(ask)
        if isinstance(answer, protocol.RunsAnswer):
            self.running = answer.running
        return answer

    def say(self, text: str, style: StyleName = "") -> None:
        """Show a message above the footer until the next key, and keep it."""
        self.said = Said(self.now(), clean_line(text), style)
        self.messages.append(self.said)
        self._redraw_frame()

    def hush(self) -> None:
        if self.said is not None:
            self.said = None
            self._redraw_frame()

    def keys_everywhere(self) -> Sequence[Key]:
        return EVERYWHERE

    def open_run(self, run: str) -> None:
        from finetop.tui.screens.run import RunScreen

        self.push_screen(RunScreen(run))

    @work
    async def open_launch(self, *, from_run: str = "") -> None:
        """Go to Launch: with the form as it was left, or filled with the settings of a run."""
        from finetop.tui.screens.launch import LaunchScreen

        await self.switch_mode("launch")
        screen = self.screen
        assert isinstance(screen, LaunchScreen)
        if from_run:
            await screen.fill_from_run(from_run)

    @work
    async def show_runs(self, run: str = "") -> None:
        """Go to the list of runs, with the cursor on that run."""
        await self.switch_mode("runs")
        while not isinstance(self.screen, RunsScreen):
            await self.pop_screen()
        self.screen.load_anew(run)

    # --- the connection -----------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._follow()
        self.set_timer(MINUTE_S - self.now() % MINUTE_S, self._minute)

    @work
    async def _follow(self) -> None:
        await follow(self._watcher, self, lambda: self._start(self.home), self._pace_s)

    def connected(self, hello: protocol.HelloAnswer) -> None:
        """Hear that a supervisor answers."""
        self.supervisor_is_lost = False
        self.trouble = ""
        self.machine = "  ".join(filter(None, [clean_line(hello.host), clean_line(hello.device)]))
        self._redraw_frame()

    def changed(self, revision: int, trouble: str) -> None:
        """Hear that the store is newer."""
        if trouble != self.trouble:
            self.trouble = clean_line(trouble)
            self._redraw_frame()
        self.screen.post_message(StoreChanged(revision))

    def lost(self) -> None:
        """Hear that no supervisor answers."""
        if not self.supervisor_is_lost:
            self.supervisor_is_lost, self._lost_at = True, self.now()
        self.trouble = (
            f"NO SUPERVISOR since {clock(self._lost_at)}, numbers are from then. Runs go on without it."
        )
        self._redraw_frame()

    def refused(self, error: FinetopError) -> None:
        """Hear that it would not start, or will not be followed."""
        self.trouble = clean_line(str(error))
        self._redraw_frame()

    @work
    async def start_supervisor(self) -> None:
        """Start a supervisor in place of one that is gone; the connection finds it."""
        self.say("starting it …")
        try:
            await asyncio.to_thread(self._start, self.home)
        except FinetopError as error:
            self.say(str(error), "red")
        else:
            self.hush()

    def _minute(self) -> None:
        """Once a minute: the clock, and all times that are said relative to it."""
        self._redraw_frame()
        self.screen.post_message(StoreChanged(-1))
        self.set_timer(MINUTE_S - self.now() % MINUTE_S, self._minute)

    def _redraw_frame(self) -> None:
        for screen in self.screen_stack if self._screen_stacks else ():
            for part in screen.query(".frame"):
                assert isinstance(part, Top | Bottom)
                part.redraw()

    # --- keys ---------------------------------------------------------------------------------------------

    def action_runs(self) -> None:
        self.show_runs()

    def action_launch(self) -> None:
        self.open_launch()

    def action_help(self) -> None:
        from finetop.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen.title or "", self._screen_keys()))

    def action_palette(self) -> None:
        from finetop.tui.screens.palette import PaletteScreen

        behind = self.screen
        if isinstance(behind, PaletteScreen):
            return

        async def chosen(key: Key | None) -> None:
            if key is not None:
                await self.run_action(key.action, self if key in (*EVERYWHERE, MESSAGES) else behind)

        self.push_screen(PaletteScreen([*self._screen_keys(), *EVERYWHERE, MESSAGES]), chosen)

    def action_messages(self) -> None:
        from finetop.tui.screens.said import SaidScreen

        self.push_screen(SaidScreen())

    def _screen_keys(self) -> tuple[Key, ...]:
        keys = getattr(self.screen, "keys", None)
        return tuple(keys()) if callable(keys) else ()

    def action_redraw(self) -> None:
        forget = getattr(self._driver, "forget", None)
        if forget is not None:
            forget()
        self.screen.refresh(layout=True)

    def action_how_to_leave(self) -> None:
        self.say("q leaves. Nothing that runs is stopped by leaving.")

    def action_leave(self) -> None:
        goes_on = counted(self.running, "run")
        self.exit(
            f"{goes_on} go{'es' if self.running == 1 else ''} on. See them again with: finetop"
            if self.running
            else ""
        )

    async def on_unmount(self) -> None:
        self._asker.close()
        self._watcher.close()


def run_app(home: Home) -> int:
    """Run the app on this terminal until the user leaves; 0 is the exit code.

    Raises EnvironmentTrouble where there is no terminal.
    """
    from finetop.tui.driver import DifferenceDriver

    if not (sys.stdin.isatty() and sys.stderr.isatty()) or os.environ.get("TERM") == "dumb":
        raise EnvironmentTrouble("the app needs a terminal.", hint="`finetop ls` lists the runs without one.")
    goes_on = FinetopApp(home, driver_class=DifferenceDriver).run()
    if goes_on:
        print(goes_on)
    return 0

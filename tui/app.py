"""The app: its places, the keys that work everywhere, the connection and what it says. Nothing of any one screen."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import App

from finetop.core import protocol
from finetop.core.client import AsyncClient, start_supervisor
from finetop.core.errors import EnvironmentTrouble, FinetopError
from finetop.core.notices import needs_a_person
from finetop.core.text import clean_line
from finetop.tui import news
from finetop.tui.clipboard import copying
from finetop.tui.host import host_of
from finetop.tui.keys import Key, bindings
from finetop.tui.live import FAR_PACE_S, PACE_S, follow
from finetop.tui.machines import Machine, mend_words, top_words, trouble_words
from finetop.tui.messages import Said, StoreChanged
from finetop.tui.places import PLACES
from finetop.tui.screens.runs import RunsScreen
from finetop.tui.theme import Look, StyleName, find_look, require_theme
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.words import counted, cut_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual.driver import Driver

    from finetop.core.home import Home
    from finetop.core.remote.fleet import Fleet
    from finetop.tui.host import Asker
    from finetop.tui.widgets.lines import Line

MINUTE_S = 60.0

EVERYWHERE = (
    *(place.as_key for place in PLACES),
    Key("question_mark", "?", "", "help", "all keys of this screen"),
    Key("colon,ctrl+p", ":", "", "palette", "every command by name"),
    Key("e", "e", "", "save", "save what is shown: csv, md, svg"),
    Key("y,ctrl+y", "y", "", "copy", "copy what the cursor is on (in charts ctrl+y)"),
    Key("ctrl+l", "ctrl+l", "", "redraw", "draw all again, after line noise"),
    Key("q", "q", "", "leave", "leave; runs go on"),
)
MESSAGES = Key("", "", "", "messages", "all messages so far")


class FinetopApp(App[str], inherit_bindings=False):
    """The terminal app of one home, or of `others` on more machines too; it begins on `run` where one is named.

    Tests give it another connection, clock, machine and look.
    """

    AUTO_FOCUS = "Bottom"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "finetop"
    BINDINGS: ClassVar = [*bindings(EVERYWHERE), ("ctrl+c", "how_to_leave")]
    MODES: ClassVar = {place.mode: place.open for place in PLACES}
    DEFAULT_MODE = PLACES[0].mode

    def __init__(
        self,
        home: Home,
        *,
        others: Sequence[Home] = (),
        run: str = "",
        connect: Callable[[Home], Asker] = AsyncClient,
        start: Callable[[Home], None] = start_supervisor,
        now: Callable[[], float] = time.time,
        machine: str | None = None,
        look: Look | None = None,
        folder: Path | None = None,
        pace_s: float | None = None,
        driver_class: type[Driver] | None = None,
    ) -> None:
        self.look = find_look() if look is None else look
        super().__init__(driver_class=driver_class, ansi_color=True)
        self.homes = (home, *others)
        self.folder = Path.cwd() if folder is None else folder
        own = clean_line(socket.gethostname()) if machine is None else machine
        self.machines = [Machine(one, own if one.link is None else "") for one in self.homes]
        self.trouble = ""
        self.said: Said | None = None
        self.messages: list[Said] = []
        self.large: tuple[str, ...] = ()
        self.running = 0
        self._ringer = news.Ringer()
        self._now, self._pace_s = now, pace_s
        self._first_run = run
        self._start, self._connect = start, connect
        self._askers = {one.label: connect(one) for one in self.homes}
        self._watchers = [connect(one) for one in self.homes]
        self._fleet: Fleet | None = None
        if others:
            from finetop.core.remote import fleet

            self._fleet = fleet.Fleet(self._askers)

    # --- what screens ask of it -------------------------------------------------------------------------

    @property
    def home_shown(self) -> str:
        return clean_line(", ".join(home.shown for home in self.homes))

    @property
    def supervisor_is_lost(self) -> bool:
        return any(machine.is_lost for machine in self.machines)

    @property
    def mend(self) -> str:
        return mend_words(self.machines)

    def where(self, width: int) -> Line:
        return top_words(self.machines, width)

    def places(self) -> Sequence[tuple[str, str, int]]:
        """Give key, name and number of each place."""
        return [
            (place.key, place.name, sum(place.counted(machine) for machine in self.machines))
            for place in PLACES
        ]

    def now(self) -> float:
        return self._now()

    async def ask(self, ask: protocol.Ask) -> Any:
        """Ask the supervisor. Raises NoSupervisor when it is gone; the connection comes back by itself."""
        asker = self._fleet or self._askers[self.homes[0].label]
        answer = await asker.ask(ask)
        if isinstance(answer, protocol.RunsAnswer):
            self.running = answer.running
        return answer

    async def ask_on(self, home: Home, ask: protocol.Ask) -> Any:
        """Ask the supervisor of one of the homes."""
        return await self._askers[home.label].ask(ask)

    async def ask_aside(self, home: Home, ask: protocol.Ask) -> Any:
        """Ask one of them over a connection of its own: what takes seconds keeps nothing else waiting."""
        asker = self._connect(home)
        try:
            return await asker.ask(ask)
        finally:
            asker.close()

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

    def open_remedies(self, run: str) -> None:
        from finetop.tui.screens.remedies import RemediesScreen

        self.push_screen(RemediesScreen(run))

    def open_sweep(self, sweep: str) -> None:
        from finetop.tui.screens.sweep import SweepScreen

        self.push_screen(SweepScreen(sweep))

    def open_compare(self, runs: Sequence[str]) -> None:
        from finetop.tui.screens.compare import CompareScreen

        self.push_screen(CompareScreen(runs))

    @work
    async def open_launch(self, *, from_run: str = "", settings: Mapping[str, Any] | None = None) -> None:
        """Go to Launch: with the form as it was left, or filled with the settings of a run, and others over them."""
        from finetop.tui.screens.launch import LaunchScreen

        await self.switch_mode("launch")
        screen = self.screen
        assert isinstance(screen, LaunchScreen)
        if from_run:
            await screen.fill_from_run(from_run, settings)

    @work
    async def open_triage(self, run: str) -> None:
        """Go to Triage, with the cursor on that run."""
        from finetop.tui.screens.triage import TriageScreen

        await self.switch_mode("triage")
        while not isinstance(self.screen, TriageScreen):
            await self.pop_screen()
        self.screen.load_anew(run)

    @work
    async def show_runs(self, run: str = "") -> None:
        """Go to the list of runs, with the cursor on that run."""
        await self.switch_mode("runs")
        while not isinstance(self.screen, RunsScreen):
            await self.pop_screen()
        self.screen.load_anew(run)

    # --- the connection -----------------------------------------------------------------------------------

    def on_mount(self) -> None:
        if self._first_run:
            self.open_run(self._first_run)
        for watcher, machine in zip(self._watchers, self.machines, strict=True):
            self._follow(watcher, machine)
        self.set_timer(MINUTE_S - self.now() % MINUTE_S, self._minute)

    @work
    async def _follow(self, watcher: Asker, machine: Machine) -> None:
        pace_s = PACE_S if machine.home.link is None else FAR_PACE_S
        pace_s = pace_s if self._pace_s is None else self._pace_s
        await follow(watcher, Heard(self, machine), lambda: self._begin(machine), pace_s)

    def _begin(self, machine: Machine) -> None:
        """Start a machine's supervisor where none answers. Runs in a thread. Raises FinetopError."""
        if machine.home.link is None:
            self._start(machine.home)
        else:
            machine.home.link.try_now()

    def connected(self, hello: protocol.HelloAnswer, machine: Machine) -> None:
        """Hear that a supervisor answers."""
        machine.is_lost, machine.trouble, machine.refusal = False, "", ""
        machine.name, machine.device = clean_line(hello.host), clean_line(hello.device)
        self._say_how_it_stands()

    def changed(self, answer: protocol.ChangesAnswer, machine: Machine) -> None:
        """Hear that a store is newer."""
        if answer.trouble != machine.trouble:
            machine.trouble = clean_line(answer.trouble)
            self._say_how_it_stands()
        if (answer.queued, answer.to_triage) != (machine.queued, machine.to_triage):
            machine.queued, machine.to_triage = answer.queued, answer.to_triage
            self._redraw_frame()
        after, machine.noticed = machine.noticed, answer.noticed
        if after is not None and answer.noticed > after:
            self._hear(machine, after)
        self.screen.post_message(StoreChanged(answer.revision))

    @work
    async def _hear(self, machine: Machine, after: int) -> None:
        """Say what has happened on a machine since a notice, and ring."""
        try:
            answer = await self.ask_on(machine.home, protocol.Notices(after, news.AT_ONCE))
        except FinetopError:
            machine.noticed = after  # it is heard when the connection is back
            return
        label = machine.home.label if len(self.machines) > 1 else ""
        found = [news.words(one, label) for one in answer.notices if needs_a_person(one.kind)]
        if not found:
            return
        for text in reversed(found[1:]):
            self.messages.append(Said(self.now(), text, "amber"))
        self.say(news.sentence(found), "amber")
        wanted = await asyncio.to_thread(news.own_settings, self.homes[0])
        if not self._ringer.may_ring(self.now()) or self._driver is None or self.is_headless:
            return
        text = news.BELL * wanted.bell + news.notification(wanted.notify, news.sentence(found))
        if text:
            self._driver.write(text)

    def lost(self, machine: Machine) -> None:
        """Hear that a supervisor does not answer."""
        if not machine.is_lost:
            machine.is_lost, machine.lost_at, machine.trouble = True, self.now(), ""
        self._say_how_it_stands()

    def refused(self, error: FinetopError, machine: Machine) -> None:
        """Hear that it would not start, or will not be followed."""
        machine.refusal = clean_line(str(error))
        self._say_how_it_stands()

    def _say_how_it_stands(self) -> None:
        self.trouble = trouble_words(self.machines)
        self._redraw_frame()

    @work
    async def start_supervisor(self) -> None:
        """Start a supervisor in place of one that is gone, or try a broken link now; the connection finds it."""
        lost = [machine for machine in self.machines if machine.is_lost]
        self.say("trying …" if any(machine.is_unlinked for machine in lost) else "starting it …")
        try:
            for machine in lost:
                await asyncio.to_thread(self._begin, machine)
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

    def action_place(self, mode: str) -> None:
        if mode == "runs":
            self.show_runs()
        else:
            self.switch_mode(mode)

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

    @work
    async def action_save(self) -> None:
        """Ask for a file's name, and write there what the screen shows."""
        from finetop.tui.saving import Sheet
        from finetop.tui.saving.asking import ask

        screen = self.screen
        picture = self.export_screenshot(title="finetop")
        give = getattr(screen, "to_save", None)
        try:
            shown = Sheet((screen.title or "screen").lower()) if give is None else await give()
        except FinetopError as error:
            self.say(str(error), "red")
            return
        bottom = screen.query_one(Bottom)
        if self.screen is screen and bottom.question is None:
            ask(bottom, host_of(screen), shown, picture)

    def action_copy(self) -> None:
        """Copy what the cursor is on to the clipboard of the user's own terminal."""
        give = getattr(self.screen, "to_copy", None)
        text = give() if give is not None else ""
        if not text:
            self.say("nothing to copy here.")
            return
        if self._driver is not None:
            self._driver.write(copying(text))
        self.say(f"copied: {cut_end(clean_line(text), 60)}")

    def action_how_to_leave(self) -> None:
        self.say("q leaves. Nothing that runs is stopped by leaving.")

    def action_leave(self) -> None:
        goes_on = counted(self.running, "run")
        on = "".join(f" --on {'.' if home.link is None else home.link.word}" for home in self.homes)
        again = "finetop" + ("" if on == " --on ." else on)
        self.exit(
            f"{goes_on} go{'es' if self.running == 1 else ''} on. See them again with: {again}"
            if self.running
            else ""
        )

    async def on_unmount(self) -> None:
        for asker in (*self._askers.values(), *self._watchers):
            asker.close()


@dataclass(frozen=True, slots=True)
class Heard:
    """Hears of one machine's connection for the app."""

    app: FinetopApp
    machine: Machine

    def connected(self, hello: protocol.HelloAnswer) -> None:
        self.app.connected(hello, self.machine)

    def changed(self, answer: protocol.ChangesAnswer) -> None:
        self.app.changed(answer, self.machine)

    def lost(self) -> None:
        self.app.lost(self.machine)

    def refused(self, error: FinetopError) -> None:
        self.app.refused(error, self.machine)


def run_app(homes: Sequence[Home], run: str = "") -> int:
    """Run the app on this terminal, on a run where one is named, until the user leaves; 0 is the exit code.

    Raises EnvironmentTrouble where there is no terminal.
    """
    from finetop.tui.driver import DifferenceDriver

    require_theme(os.environ.get("FINETOP_THEME", ""))
    without = "`finetop ls` lists the runs without one."
    if os.environ.get("TERM") == "dumb":
        raise EnvironmentTrouble(
            "TERM is dumb, and the app needs a terminal that moves its cursor.", hint=without
        )
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise EnvironmentTrouble("the app needs a terminal.", hint=without)
    goes_on = FinetopApp(homes[0], others=homes[1:], run=run, driver_class=DifferenceDriver).run()
    if goes_on:
        print(goes_on)
    return 0

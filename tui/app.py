"""The app: its places, the keys that work everywhere, the connection and its messages. Nothing of any one screen."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import time
import traceback
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.console import Console
from textual import events, work

from finetop.core.client.connection import AsyncClient, start_supervisor
from finetop.core.errors import Fault, FinetopError
from finetop.core.protocol.messages.runs import RunsAnswer
from finetop.core.protocol.request import Answer, Request
from finetop.core.runtime.files import write_whole
from finetop.core.text import clean, clean_line
from finetop.core.wording import jobs
from finetop.tui.app_interface import Asker, ChatStart, host_of
from finetop.tui.connection.listener import FAR_PACE_S, PACE_S, MachineListener, Ringer, follow
from finetop.tui.connection.machines import Machine, load_words, restart_words, top_words, trouble_words
from finetop.tui.kept import kept
from finetop.tui.keys import Key, bindings, key_of
from finetop.tui.messages import GroundTold, ShownMessage, StoreChanged
from finetop.tui.modes import EVERYWHERE, MESSAGES, PLACES, THEME, new_screen
from finetop.tui.navigation import NavigatingApp
from finetop.tui.terminal.clipboard import Copied, copying, to_copy
from finetop.tui.terminal.driver import is_continued_by_a_shell
from finetop.tui.terminal.look_of import find_look
from finetop.tui.text import Line, cut_end, cut_middle
from finetop.tui.theme import Look, StyleName
from finetop.tui.widgets.frame import Bottom, Top

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from textual.driver import Driver

    from finetop.core.client.remote.fleet import Fleet
    from finetop.core.features.chat.messages import ChatSettings
    from finetop.core.runtime.home import Home
    from finetop.tui.finder import Match
    from finetop.tui.widgets.app_screen import AppScreen

MINUTE_S = 60.0


class FinetopApp(NavigatingApp, inherit_bindings=False):
    """The app of one home, or with `others` of several; it opens on `run`, or on the `chat` with it."""

    AUTO_FOCUS = "Bottom"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    TITLE = "finetop"
    BINDINGS: ClassVar = [*bindings(EVERYWHERE), ("ctrl+c", "how_to_leave")]
    MODES: ClassVar = {place.mode: partial(new_screen, place.mode) for place in PLACES}
    DEFAULT_MODE = PLACES[0].mode

    def __init__(
        self,
        home: Home,
        *,
        others: Sequence[Home] = (),
        run: str = "",
        chat: ChatSettings | None = None,
        connect: Callable[[Home], Asker] = AsyncClient,
        start: Callable[[Home], None] = start_supervisor,
        now: Callable[[], float] = time.time,
        machine: str | None = None,
        look: Look | None = None,
        folder: Path | None = None,
        pace_s: float | None = None,
        driver_class: type[Driver] | None = None,
    ) -> None:
        self.theme_chosen = kept(home).theme if look is None else ""
        self.look = find_look(kept=self.theme_chosen) if look is None else look
        self._ground = ""  # dark or light, once the terminal has answered
        super().__init__(driver_class=driver_class, ansi_color=True)
        # the palette already fits the terminal: no further colour conversion
        self.console = Console(
            color_system="truecolor", file=io.StringIO(), force_terminal=True, legacy_windows=False
        )
        self.homes = (home, *others)
        self.folder = Path.cwd() if folder is None else folder
        own = clean_line(socket.gethostname()) if machine is None else machine
        self.machines = [Machine(each, own if each.link is None else "") for each in self.homes]
        self.trouble = ""
        self.fault: Fault | None = None  # the fault that ended the app
        self.shown_message: ShownMessage | None = None
        self._hushed: ShownMessage | None = None  # the message that the latest key has hidden
        self._copied = Copied()
        self.messages: list[ShownMessage] = []
        self.running: Mapping[str, int] = {}  # jobs, by their verbs
        self._ringer = Ringer()
        self._now, self._pace_s = now, pace_s
        self._first_run, self._first_chat = run, chat
        self._start, self._connect = start, connect
        self._askers = {home.label: connect(home) for home in self.homes}
        self._watchers = [connect(home) for home in self.homes]
        self._fleet: Fleet | None = None
        if others:
            from finetop.core.client.remote import fleet

            self._fleet = fleet.Fleet(self._askers)

    @property
    def shown(self) -> AppScreen[Any]:
        """The current screen; every screen of the app is an AppScreen."""
        return cast("AppScreen[Any]", self.screen)

    # --- what screens use -------------------------------------------------------------------------------

    @property
    def home_shown(self) -> str:
        return clean_line(", ".join(home.shown for home in self.homes))

    @property
    def supervisor_is_lost(self) -> bool:
        return any(machine.is_lost for machine in self.machines)

    @property
    def restart(self) -> str:
        return restart_words(self.machines)

    def where(self, width: int) -> Line:
        return top_words(self.machines, width)

    def load(self, width: int) -> Line:
        return load_words(self.machines, width)

    def places(self) -> Sequence[tuple[str, str, int, StyleName]]:
        """Return each place's key, name, number, and the number's style."""
        return [(each.key, each.name, sum(map(each.counted, self.machines)), each.hue) for each in PLACES]

    def now(self) -> float:
        return self._now()

    async def ask(self, ask: Request[Answer]) -> Answer:
        """Send a request to the supervisor. Raises NoSupervisor if it is gone; the connection recovers by itself."""
        asker = self._fleet or self._askers[self.homes[0].label]
        answer = await asker.ask(ask)
        if isinstance(answer, RunsAnswer):
            self.running = answer.jobs
        return answer

    async def ask_on(self, home: Home, ask: Request[Answer]) -> Answer:
        """Send a request to the supervisor of one of the homes."""
        return await self._askers[home.label].ask(ask)

    def own_asker(self) -> Asker:
        """Return a connection of the caller's own, for requests that wait long; the caller closes it."""
        askers = {home.label: self._connect(home) for home in self.homes}
        if self._fleet is None:
            return askers[self.homes[0].label]
        from finetop.core.client.remote import fleet

        return fleet.Fleet(askers)

    async def ask_aside(self, home: Home, ask: Request[Answer]) -> Answer:
        """Send a request over a separate connection, so that a slow one blocks nothing else."""
        asker = self._connect(home)
        try:
            return await asker.ask(ask)
        finally:
            asker.close()

    def say(self, text: str, style: StyleName = "") -> None:
        """Show a message above the footer until the next key, and keep it."""
        self.shown_message = ShownMessage(self.now(), clean_line(text), style)
        self.messages.append(self.shown_message)
        self.redraw_frame()

    def hush(self) -> None:
        self._hushed, self.shown_message = self.shown_message, None
        if self._hushed is not None:
            self.redraw_frame()

    @property
    def asks_ground(self) -> bool:
        """Return whether to query the terminal's background."""
        return self.look.colours == "either"

    def on_ground_told(self, event: GroundTold) -> None:
        self._ground = event.ground
        self.show_theme(self.theme_chosen)

    def show_theme(self, theme: str) -> None:
        """Draw in a theme from now on; "" follows the terminal."""
        self.theme_chosen = theme
        self.look = find_look(kept=theme, ground=self._ground)
        for stack in self._screen_stacks.values():
            for screen in stack:
                screen.query("*").refresh()

    def choose_theme(self, theme: str) -> None:
        """Draw in a theme, and keep it."""
        from finetop.tui.screens.themes import apply_theme

        apply_theme(host_of(self), theme)

    def keys_everywhere(self) -> Sequence[Key]:
        return EVERYWHERE

    # --- the connection -----------------------------------------------------------------------------------

    def on_mount(self) -> None:
        if self._first_run:
            self.open_run(self._first_run)
            if self._first_chat is not None:
                self.open_chat(self._first_run, ChatStart(joins=True, settings=self._first_chat))
        for watcher, machine in zip(self._watchers, self.machines, strict=True):
            self._follow(watcher, machine)
        self.set_timer(MINUTE_S - self.now() % MINUTE_S, self._minute)

    @work
    async def _follow(self, watcher: Asker, machine: Machine) -> None:
        usual = PACE_S if machine.home.link is None else FAR_PACE_S
        pace_s = usual if self._pace_s is None else self._pace_s
        listener = MachineListener(self, machine, self._ringer)
        await follow(watcher, listener, lambda: self._begin(machine), pace_s)

    def _begin(self, machine: Machine) -> None:
        """Start a machine's supervisor if none answers. Runs in a thread. Raises FinetopError."""
        if machine.home.link is None:
            self._start(machine.home)
        else:
            machine.home.link.try_now()

    def ring(self, text: str) -> None:
        """Write a bell or a notification to the terminal, if there is one."""
        if text and self._driver is not None and not self.is_headless:
            self._driver.write(text)

    def say_how_it_stands(self) -> None:
        """Show what is wrong with the machines, or nothing."""
        self.trouble = trouble_words(self.machines)
        self.redraw_frame()

    @work
    async def start_supervisor(self) -> None:
        """Start a supervisor to replace one that is gone, or retry a broken link now; the connection finds it."""
        lost = [machine for machine in self.machines if machine.is_lost]
        is_unlinked = any(machine.is_unlinked for machine in lost)
        self.say("connecting …" if is_unlinked else "starting the supervisor …")
        try:
            for machine in lost:
                await asyncio.to_thread(self._begin, machine)
        except FinetopError as error:
            self.say(str(error), "red")
        else:
            self.hush()

    def _minute(self) -> None:
        """Once a minute, update the clock and all relative times."""
        self.redraw_frame()
        self.screen.post_message(StoreChanged(-1))
        self.set_timer(MINUTE_S - self.now() % MINUTE_S, self._minute)

    def redraw_frame(self) -> None:
        """Redraw the frame around every screen."""
        for screen in chain.from_iterable(self._screen_stacks.values()):
            for part in screen.query(".frame"):
                assert isinstance(part, Top | Bottom)
                part.redraw()

    def _fatal_error(self) -> None:
        """Exit after a bug in the app: one line reports it, a file has the traceback."""
        error, hint = self._exception, "Running jobs keep running."
        with contextlib.suppress(OSError):
            write_whole(self.fault_file, "".join(traceback.format_exception(error)).encode())
            hint += f" The traceback is in {self.fault_file}."
        self.fault = Fault(f"the app crashed: {clean_line(repr(error))}.", hint=hint)
        self._close_messages_no_wait()

    @property
    def fault_file(self) -> Path:
        return self.homes[0].root / "app-fault.txt"

    # --- keys ---------------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """For a key without a binding, say which key to press."""
        known = self.active_bindings
        if event.key in known or not event.is_printable or event.character is None:
            return
        near = known.get(event.character.swapcase())
        suggestion = f" {event.character.swapcase()}: {near.binding.description}." if near is not None else ""
        self.say(f"{event.character} does nothing here.{suggestion} ? lists the keys.")

    def press(self, sign: str, keys: Sequence[Key] = ()) -> None:
        """Perform the key shown by a sign that was clicked."""
        name = key_of(sign, keys)
        self.post_message(events.Key(name, sign if len(sign) == 1 else None))

    def action_help(self) -> None:
        from finetop.tui.screens.pages import KeysPage

        if not isinstance(self.screen, KeysPage):
            self.push_screen(KeysPage(self.screen.title or "", self.shown.KEYS))

    def action_palette(self) -> None:
        from finetop.tui.screens.pages import CommandsPage

        behind = self.shown
        if isinstance(behind, CommandsPage):
            return

        async def chosen(choice: Key | Match | None) -> None:
            if isinstance(choice, Key):
                is_ours = choice in (*EVERYWHERE, MESSAGES, THEME)
                await self.run_action(choice.action, self if is_ours else behind)
            elif choice is not None:
                choice.open()

        self.push_screen(CommandsPage([*behind.KEYS, *EVERYWHERE, MESSAGES, THEME]), chosen)

    def action_messages(self) -> None:
        from finetop.tui.screens.pages import MessagesPage

        self.push_screen(MessagesPage())

    def action_theme(self) -> None:
        from finetop.tui.screens.themes import open_themes

        open_themes(self)

    def action_redraw(self) -> None:
        forget = getattr(self._driver, "forget", None)
        if forget is not None:
            forget()
        self.screen.refresh(layout=True)

    def action_save(self) -> None:
        """Ask for a file name, and write what the screen shows to it."""
        from finetop.tui.save.prompt import ask_of

        self.run_worker(ask_of(self.shown, self.export_screenshot(title="finetop")))

    def action_copy(self) -> None:
        """Copy what the cursor is on to the user's own terminal; again: the command of the next step."""
        self._copied = to_copy(self._copied, self._hushed, self.shown, self._on())
        text, more = self._copied.text, self._copied.following
        if not clean(text).strip():  # nothing remains, and an empty copy would clear the clipboard
            self.say("nothing to copy here.")
            return
        if self._driver is not None:
            self._driver.write(copying(text))
        again = f"   y again: {cut_end(clean_line(more), 40)}" if more else ""
        self.say(f"copied: {cut_end(clean_line(text), 40 if more else 60)}{again}")
        self._copied.message = self.shown_message

    def copy_text(self, text: str) -> None:
        """Copy a text to the user's own terminal, with a message."""
        if self._driver is not None:
            self._driver.write(copying(text))
        self.say(f"copied: {cut_middle(clean_line(text), 60)}")

    def _on(self) -> str:
        """Return the command line's options for these machines; empty for this one alone."""
        on = "".join(f" --on {'.' if home.link is None else home.link.word}" for home in self.homes)
        return "" if on == " --on ." else on

    def action_how_to_leave(self) -> None:
        self.say("q quits. Running jobs keep running.")

    def action_suspend(self) -> None:
        if self._driver is not None and self._driver.can_suspend and is_continued_by_a_shell():
            self.action_suspend_process()
        else:
            self.say("No shell with job control could continue finetop. q quits.")

    def action_leave(self) -> None:
        number = sum(self.running.values())
        keep = "keeps" if number == 1 else "keep"
        words = f"{jobs.counts(self.running)} {keep} running. To return: finetop{self._on()}"
        self.exit(words if number else "")

    async def on_unmount(self) -> None:
        for asker in (*self._askers.values(), *self._watchers):
            asker.close()

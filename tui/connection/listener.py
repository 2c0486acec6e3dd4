"""Events of one machine's connection: its supervisor answers or is gone, its store is newer, and its notices."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from finetop.core.errors import FinetopError, NoSupervisor
from finetop.core.protocol.messages.session import Changes, ChangesAnswer, Hello, HelloAnswer, Notices
from finetop.core.protocol.notices import Notice, needs_a_person
from finetop.core.protocol.request import Answer, Request
from finetop.core.runtime.home import Home, find_home
from finetop.core.text import clean_line, counted
from finetop.tui.messages import ShownMessage, StoreChanged
from finetop.tui.text import cut_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from textual.screen import Screen

    from finetop.core.recipe.home_settings import Settings
    from finetop.tui.app_interface import Asker
    from finetop.tui.connection.machines import Machine
    from finetop.tui.theme import StyleName

# Between two polls. After the supervisor's own interval, a change is seen within a second; over an SSH link each poll
# costs two round trips, whatever it returns.
PACE_S, FAR_PACE_S = 0.4, 2.0
AGAIN_S = 0.6  # between two attempts to connect
NEVER = -1
AT_ONCE = 20  # notices read at a time; the list has the rest
BELL_S = 10.0  # between two bells
NOTIFICATION = 200  # cells
BELL = "\x07"


class ListeningApp(Protocol):
    """The app, as far as the listener uses it."""

    messages: list[ShownMessage]

    @property
    def homes(self) -> Sequence[Home]: ...

    @property
    def machines(self) -> Sequence[Machine]: ...

    @property
    def screen(self) -> Screen[Any]: ...

    def now(self) -> float: ...

    async def ask_on(self, home: Home, ask: Request[Answer]) -> Answer: ...

    def say(self, text: str, style: StyleName = "") -> None: ...

    def say_how_it_stands(self) -> None: ...

    def redraw_frame(self) -> None: ...

    def ring(self, text: str) -> None: ...

    def run_worker(self, work: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class MachineListener:
    """Reports one machine's connection to the app."""

    app: ListeningApp
    machine: Machine
    ringer: Ringer

    def connected(self, hello: HelloAnswer) -> None:
        machine = self.machine
        machine.is_lost, machine.trouble, machine.refusal = False, "", ""
        machine.name, machine.device = clean_line(hello.host), clean_line(hello.device)
        self.app.say_how_it_stands()

    def changed(self, answer: ChangesAnswer) -> None:
        app, machine = self.app, self.machine
        if answer.trouble != machine.trouble:
            machine.trouble = clean_line(answer.trouble)
            app.say_how_it_stands()
        counts = msgspec.structs.replace(answer, revision=0, trouble="", noticed=0)
        if counts != machine.counts:
            machine.counts = counts
            app.redraw_frame()
        after, machine.noticed = machine.noticed, answer.noticed
        if after is not None and answer.noticed > after:
            app.run_worker(self._announce(after))
        app.screen.post_message(StoreChanged(answer.revision))

    def lost(self) -> None:
        """Handle a supervisor that does not answer."""
        machine = self.machine
        if not machine.is_lost:
            machine.is_lost, machine.lost_at, machine.trouble = True, self.app.now(), ""
        self.app.say_how_it_stands()

    def refused(self, error: FinetopError) -> None:
        """Handle a supervisor that refuses to start, or to be followed."""
        self.machine.refusal = clean_line(str(error))
        self.app.say_how_it_stands()

    async def _announce(self, after: int) -> None:
        """Show what has happened on the machine since a notice, and ring."""
        app, machine = self.app, self.machine
        try:
            answer = await app.ask_on(machine.home, Notices(after, AT_ONCE))
        except FinetopError:
            machine.noticed = after  # retried when the connection is back
            return
        label = machine.home.label if len(app.machines) > 1 else ""
        news = [notice_text(notice, label) for notice in answer.notices if needs_a_person(notice.kind)]
        if not news:
            return
        for text in reversed(news[1:]):
            app.messages.append(ShownMessage(app.now(), text, "amber"))
        app.say(sentence(news), "amber")
        settings = await asyncio.to_thread(own_settings, app.homes[0])
        if self.ringer.may_ring(app.now()):
            app.ring(BELL * settings.bell + notification(settings.notify, sentence(news)))


async def follow(
    asker: Asker,
    listener: MachineListener,
    start: Callable[[], None],
    pace_s: float = PACE_S,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Follow the store forever. If no supervisor runs at first, `start` is called once, in a thread."""
    revision, trouble = NEVER, ""
    is_connected, was_started = False, False
    while True:
        try:
            if not is_connected:
                hello = await asker.ask(Hello())
                is_connected, was_started, revision = True, True, NEVER
                listener.connected(hello)
            answer = await asker.ask(Changes(since=revision))
        except NoSupervisor:
            if not was_started:
                was_started = True
                try:
                    await asyncio.to_thread(start)
                except FinetopError as error:
                    listener.refused(error)
                continue
            is_connected = False
            listener.lost()
        except FinetopError as error:
            listener.refused(error)
        else:
            if (answer.revision, answer.trouble) != (revision, trouble):
                revision, trouble = answer.revision, answer.trouble
                listener.changed(answer)
        await pause(pace_s if is_connected else min(pace_s, AGAIN_S))


@dataclass(slots=True)
class Ringer:
    """Tracks when the terminal last rang."""

    rang_at: float = -math.inf

    def may_ring(self, now: float) -> bool:
        """Return whether the bell may ring now, and count it as rung."""
        if 0 <= now - self.rang_at < BELL_S:
            return False
        self.rang_at = now
        return True


def notice_text(notice: Notice, label: str) -> str:
    """Return what happened, and to which run; `label` names the machine if there are several."""
    name = f"{label}:{notice.run}" if label and notice.run else notice.run or label
    return clean_line(f"{name}: {notice.text}" if name else notice.text)


def sentence(news: Sequence[str]) -> str:
    """Return the newest item of some news, with the number of others."""
    more = len(news) - 1
    return f"{news[0]} (and {counted(more, 'other')}: :messages)" if more else news[0]


def own_settings(home: Home) -> Settings:
    """Read the settings of this machine, where the terminal is; the defaults if they can't be read."""
    from finetop.core.recipe import home_settings  # takes 50 ms, which the start must not wait for

    try:
        return home_settings.load(home if home.link is None else find_home())
    except FinetopError:
        return home_settings.Settings()


def notification(how: str, text: str) -> str:
    """Return the sequence that makes the terminal show a notification; empty if none is wanted."""
    shown = cut_end(clean_line(text).replace(";", ","), NOTIFICATION)
    forms = {"osc9": f"\x1b]9;finetop: {shown}\x07", "osc777": f"\x1b]777;notify;finetop;{shown}\x07"}
    return forms.get(how, "")

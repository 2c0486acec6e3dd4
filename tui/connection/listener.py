"""What is heard of one machine: that its supervisor answers or is gone, that its store is newer, and the news there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from finetop.core.errors import FinetopError
from finetop.core.protocol.messages.session import ChangesAnswer, HelloAnswer, Notices
from finetop.core.protocol.notices import needs_a_person
from finetop.core.protocol.request import Answer, Request
from finetop.core.text import clean_line
from finetop.tui.connection import notifications
from finetop.tui.messages import Said, StoreChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.screen import Screen

    from finetop.core.runtime.home import Home
    from finetop.tui.connection.machines import Machine
    from finetop.tui.theme import StyleName


class Listening(Protocol):
    """The app, as far as it is told what is heard."""

    messages: list[Said]

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
class Heard:
    """Hears of one machine's connection for the app; live.Listener is its shape."""

    app: Listening
    machine: Machine
    ringer: notifications.Ringer

    def connected(self, hello: HelloAnswer) -> None:
        """Hear that a supervisor answers."""
        machine = self.machine
        machine.is_lost, machine.trouble, machine.refusal = False, "", ""
        machine.name, machine.device = clean_line(hello.host), clean_line(hello.device)
        self.app.say_how_it_stands()

    def changed(self, answer: ChangesAnswer) -> None:
        """Hear that a store is newer."""
        app, machine = self.app, self.machine
        if answer.trouble != machine.trouble:
            machine.trouble = clean_line(answer.trouble)
            app.say_how_it_stands()
        if (answer.queued, answer.to_triage) != (machine.queued, machine.to_triage):
            machine.queued, machine.to_triage = answer.queued, answer.to_triage
            app.redraw_frame()
        after, machine.noticed = machine.noticed, answer.noticed
        if after is not None and answer.noticed > after:
            app.run_worker(self._tell(after))
        app.screen.post_message(StoreChanged(answer.revision))

    def lost(self) -> None:
        """Hear that a supervisor does not answer."""
        machine = self.machine
        if not machine.is_lost:
            machine.is_lost, machine.lost_at, machine.trouble = True, self.app.now(), ""
        self.app.say_how_it_stands()

    def refused(self, error: FinetopError) -> None:
        """Hear that it would not start, or will not be followed."""
        self.machine.refusal = clean_line(str(error))
        self.app.say_how_it_stands()

    async def _tell(self, after: int) -> None:
        """Say what has happened on the machine since a notice, and ring."""
        app, machine = self.app, self.machine
        try:
            answer = await app.ask_on(machine.home, Notices(after, notifications.AT_ONCE))
        except FinetopError:
            machine.noticed = after  # it is heard when the connection is back
            return
        label = machine.home.label if len(app.machines) > 1 else ""
        found = [notifications.words(one, label) for one in answer.notices if needs_a_person(one.kind)]
        if not found:
            return
        for text in reversed(found[1:]):
            app.messages.append(Said(app.now(), text, "amber"))
        app.say(notifications.sentence(found), "amber")
        wanted = await asyncio.to_thread(notifications.own_settings, app.homes[0])
        if self.ringer.may_ring(app.now()):
            app.ring(
                notifications.BELL * wanted.bell
                + notifications.notification(wanted.notify, notifications.sentence(found))
            )

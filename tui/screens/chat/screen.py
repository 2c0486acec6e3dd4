"""The Chat screen: two models answer the same prompts side by side, streaming."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Container
from textual.css.query import NoMatches

from finetop.core.errors import FinetopError
from finetop.core.features.chat.chat_commands import NEW, QUIT, command_in, unknown
from finetop.core.features.chat.messages import (
    AskChat,
    ChatPrompt,
    ChatSettings,
    ChatSide,
    CloseChat,
    StopAnswers,
)
from finetop.core.protocol.runs import Queued
from finetop.tui.app_interface import ChatStart, Host, host_of
from finetop.tui.keys import NO_MORE, rows_of
from finetop.tui.save import Sheet
from finetop.tui.screens.chat import pane, prompt_entry
from finetop.tui.screens.chat.keep import ask_where, send_reference
from finetop.tui.screens.chat.keys import KEYS, footer_keys, next_lines
from finetop.tui.screens.chat.models_page import ModelsPage
from finetop.tui.screens.chat.prompts_page import PromptsPage
from finetop.tui.screens.chat.session import AWAY_S, Session
from finetop.tui.screens.chat.settings_page import SettingsPage
from finetop.tui.screens.chat.state import BASE, ChatState
from finetop.tui.screens.shared.run_actions import send
from finetop.tui.widgets.app_screen import AppScreen
from finetop.tui.widgets.entry import Entry, entry_of
from finetop.tui.widgets.frame import Bottom, Top
from finetop.tui.widgets.lines import Lines, set_height
from finetop.tui.widgets.pointed_lines import PointedLines

BESIDE = 100  # columns from which the sides are side by side
CLOSE_S = 2.0  # the longest that leaving waits for the chat's end to be requested
TICK_S = 1.0  # between two numbers of a countdown
WHEEL = 3  # rows
# Keys that work while a prompt is typed.
PASSED = ("f1", "ctrl+p", "ctrl+l", "ctrl+c", "ctrl+d", "pageup", "pagedown", "tab", "shift+tab")


class ChatScreen(AppScreen[None], inherit_bindings=False):
    """A chat with a run: opened with the screen and ended with it; one that was left open is offered first."""

    CSS_PATH = "screen.tcss"
    KEYS = KEYS
    TITLE = "Chat"
    COPIES_LINES = True

    def __init__(self, run: str, start: ChatStart) -> None:
        super().__init__()
        self.state = ChatState(run, settings=start.settings)
        self._models = [] if start.model is None else [BASE, start.model]
        self._joins = start.joins
        if start.at_hand is not None:
            self.state.put_at_hand(start.at_hand)
        self._key_at = 0.0

    def compose(self) -> ComposeResult:
        yield Top("Runs")
        yield Lines(id="title")
        yield Lines(id="settings")
        with Container(id="sides"):
            yield PointedLines(id="side-0", box="whole")
            yield PointedLines(id="side-1", box="whole")
        yield Lines(id="prompt", box="whole")
        yield Bottom()

    def to_copy(self) -> str:
        """Return the chosen answer, else the run's name."""
        answer = self.state.answer
        return answer.text if answer is not None and answer.text.strip() else self.state.run

    def to_fill(self) -> dict[str, str]:
        return {"RUN": self.state.run}

    async def to_save(self) -> Sheet:
        from finetop.tui.save.tables import chat

        return chat(self.state)

    # --- what is seen ---------------------------------------------------------------------------------

    def _side_part(self, at: int) -> PointedLines:
        return self.query_one(f"#side-{at}", PointedLines)

    def _side_width(self, at: int) -> int:
        part = self._side_part(at)
        has_gap = not part.box and self.has_class("-beside") and at == 0  # boxes divide panes themselves
        return max(20, part.size.width - 2 * bool(part.box) - 2 * has_gap)

    def redraw(self) -> None:
        with suppress(NoMatches):  # it is being closed
            self._redraw()

    def _redraw(self) -> None:
        state, now, width = self.state, host_of(self).now(), self.size.width
        self.query_one("#title", Lines).show((pane.title_line(state, width, now),))
        self.query_one("#settings", Lines).show((pane.settings_line(state, width),))
        prompt = self.query_one("#prompt", Lines)
        lines = pane.prompt_lines(state, prompt.room.width, max(1, min(10, self.size.height // 5)))
        set_height(prompt, len(lines) + bool(prompt.box))
        prompt.show(lines)
        is_beside = self.has_class("-beside") and len(state.sides) > 1 and not state.is_full
        state.widths = tuple(map(self._side_width, range(2))) if is_beside else ()
        for at in range(2):
            part = self._side_part(at)
            part.display = at < len(state.sides) and (not state.is_full or at == state.chosen)
            if part.display and part.size.height:
                size = {"width": self._side_width(at), "height": part.room.height}
                part.show(pane.side_lines(state, at, now=now, **size))
        self.bottom.is_typed_above = state.is_typing
        self.bottom.offer(next_lines(state), footer_keys(state))

    def _tick(self) -> None:
        if not self.state.is_over and (self.state.ends_at or self.state.is_waiting):
            self.redraw()

    # --- what happens ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.session = Session(host_of(self), self.state, self.redraw, self._is_away, self._prompt_refused)
        self._stir()
        self.redraw()
        self.set_interval(TICK_S, self._tick)
        self.attend(partial(self.session.begin, self._models, joins=self._joins))

    def on_resize(self) -> None:
        self.set_class(self.size.width >= BESIDE, "-beside")
        self.call_after_refresh(self.redraw)

    @on(Lines.Resized)
    def _resized(self) -> None:
        self.redraw()

    def on_screen_resume(self) -> None:
        self._stir()

    async def on_unmount(self) -> None:
        """End the chat if the screen goes otherwise than by its key: to another place, or with the app."""
        if (request := self.session.close()) is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(_end(host_of(self), request), CLOSE_S)

    @work(exclusive=True, group="chat")
    async def attend(self, chat: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Open or take up a chat and attend it to its end, in place of the one before."""
        await chat()

    def _prompt_refused(self, ask: AskChat, error: FinetopError) -> None:
        """Put a refused prompt back on the prompt line, unless the next one is typed there."""
        if not self.state.entry.text:
            self.state.entry = entry_of(ask.text)
        host_of(self).say(str(error), "red")
        self.redraw()

    def _stir(self) -> None:
        """Note that somebody is here."""
        self._key_at = asyncio.get_running_loop().time()
        self.session.stir()

    def _is_away(self) -> bool:
        return asyncio.get_running_loop().time() - self._key_at > AWAY_S

    # --- typing ---------------------------------------------------------------------------------------

    def on_key(self, event: events.Key) -> None:
        """Edit the prompt while it is typed; enter sends it, esc leaves it for the other keys."""
        self._stir()
        state = self.state
        if not state.is_typing or event.key in PASSED:
            return
        event.stop()
        event.prevent_default()
        if event.key == "enter" and state.keeping is not None:
            send_reference(self, state)
        elif event.key == "enter" and (command := command_in(state.entry.text)):
            self._obey(command)
        elif message := prompt_entry.press(state, event.key, event.character):
            host_of(self).say(message)
        self.session.put_prompts()
        self.redraw()

    def _obey(self, command: str) -> None:
        """Do what a line of the prompt commands."""
        if command not in (NEW, QUIT):
            host_of(self).say(unknown(command))
            return
        self.state.entry = Entry()
        if command == QUIT:
            self._leave()
        else:
            self.action_fresh()

    def on_paste(self, event: events.Paste) -> None:
        self._stir()
        if self.state.is_closed:
            return
        event.stop()
        self.state.is_typing = True
        self.state.entry = prompt_entry.inserted(self.state.entry, event.text.rstrip("\r\n"))
        self.redraw()

    # --- keys -----------------------------------------------------------------------------------------

    def action_type(self) -> None:
        """Type a prompt; or go on with the chat that was left open."""
        state = self.state
        if state.left_open is not None:
            self.attend(self.session.take_up)
        elif state.is_closed:
            host_of(self).say(state.trouble or "the chat has ended: R opens it again.")
        else:
            state.is_typing = True
            self.redraw()

    def action_prompts(self) -> None:
        def picked(prompt: ChatPrompt | None) -> None:
            if prompt is not None and not self.state.is_closed:
                self.state.put_at_hand(prompt)
            self.redraw()

        self.app.push_screen(PromptsPage(self.state.run), picked)

    def action_settings(self) -> None:
        def changed(settings: ChatSettings | None) -> None:
            self.state.settings = settings or self.state.settings
            self.redraw()

        labels = [side.model.label for side in self.state.sides]
        self.app.push_screen(SettingsPage(self.state.settings, self.state.trained_system, labels), changed)

    def action_model(self) -> None:
        """Open another chat, with another model on the chosen side."""
        at, sides = self.state.chosen, self._open_models()

        def chosen(model: ChatSide | None) -> None:
            if model is not None:
                self._open_anew([*sides[:at], model, *sides[at + 1 :]])

        self.app.push_screen(ModelsPage(self.state.run, sides[at].label), chosen)

    def _open_models(self) -> list[ChatSide]:
        return [side.model for side in self.state.sides]

    def _open_anew(self, sides: list[ChatSide], *, on_cpu: bool = False) -> None:
        self.attend(partial(self.session.open_anew, sides, on_cpu=on_cpu))

    def action_fresh(self) -> None:
        """Begin a new conversation with the next prompt; instead of one that was left open: a new chat."""
        state = self.state
        if state.left_open is not None:
            self._open_anew(self._models)
        elif state.is_closed:
            host_of(self).say("the chat has ended: R opens it again.")
        else:
            state.is_fresh, state.is_typing = True, True
            self.redraw()

    @work
    async def action_stop(self) -> None:
        state = self.state
        if not state.is_answering or state.job_id is None:
            host_of(self).say("nothing is being answered.")
            return
        await send(host_of(self), StopAnswers(state.run, state.job_id, state.side_to_stop))

    def action_keep(self) -> None:
        ask_where(self, self.state, self.redraw)

    def action_on_cpu(self) -> None:
        if not isinstance(self.state.job, Queued):
            host_of(self).say("the chat has started: only one that waits can change to the CPU.")
            return
        self._open_anew(self._open_models(), on_cpu=True)

    def action_again(self) -> None:
        if not self.state.is_over and not self.state.trouble:
            host_of(self).say("the chat is open.")
            return
        self._open_anew(self._open_models())

    def action_choose(self, direction: int) -> None:
        """Choose the left or upper side (-1), the right or lower one (1), or the other one (0)."""
        at = max(0, direction) if direction else 1 - self.state.chosen
        if at == self.state.chosen or at >= len(self.state.sides):
            host_of(self).say(NO_MORE)
            return
        self.state.chosen = at
        self._redraw_after_layout()

    def action_full(self) -> None:
        self.state.is_full = not self.state.is_full
        self._redraw_after_layout()

    def _redraw_after_layout(self) -> None:
        self.redraw()
        self.call_after_refresh(self.redraw)

    def action_turn(self, by: int) -> None:
        """Choose another prompt, and show it at the top of both panes."""
        if not self.state.go_to_turn(by):
            host_of(self).say(NO_MORE)
            return
        for at, side in enumerate(self.state.sides):
            side.first = pane.row_of_turn(self.state, at, self._side_width(at))
        self.redraw()

    # --- scrolling ------------------------------------------------------------------------------------

    def action_move(self, rows: int) -> None:
        self._scroll(self.state.chosen, rows)

    def action_page(self, pages: float) -> None:
        self.action_move(rows_of(pages, self._side_part(self.state.chosen).room.height))

    def action_ends(self, direction: int) -> None:
        self.action_move(direction * 1_000_000)

    def _scroll(self, at: int, rows: int) -> None:
        size = {"width": self._side_width(at), "height": self._side_part(at).room.height}
        if pane.scrolled(self.state, at, rows, **size):
            self.redraw()
        else:
            host_of(self).say(NO_MORE)

    @on(PointedLines.Wheel)
    def _wheel(self, message: PointedLines.Wheel) -> None:
        self._stir()
        self._scroll(self._pointed_side(message), -WHEEL * message.direction)

    @on(PointedLines.Pointed)
    def _pointed(self, message: PointedLines.Pointed) -> None:
        at = self._pointed_side(message)
        if not message.is_dragged and at != self.state.chosen:
            self.action_choose(1 if at else -1)

    def _pointed_side(self, message: PointedLines.Used) -> int:
        return int(message.control is self._side_part(1))

    def action_back(self) -> None:
        """Show both sides again; else end the chat and leave."""
        if self.state.is_full:
            self.action_full()
            return
        self._leave()

    def _leave(self) -> None:
        if (request := self.session.close()) is not None:
            self.app.run_worker(_end(host_of(self), request))
        self.dismiss()


async def _end(host: Host, request: CloseChat) -> None:
    """End a chat; one that can't be ended now ends by itself when nobody reads it."""
    with suppress(FinetopError):
        await host.ask(request)

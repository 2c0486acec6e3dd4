"""Opens the pages of a chat, and applies what is chosen there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetop.core.protocol.messages.chat import ChatPrompt, ChatSettings, ChatSide
from finetop.tui.screens.chat.models_page import ModelsPage
from finetop.tui.screens.chat.prompts_page import PromptsPage
from finetop.tui.screens.chat.settings_page import SettingsPage

if TYPE_CHECKING:
    from finetop.tui.screens.chat.screen import ChatScreen


def pick_prompt(screen: ChatScreen) -> None:
    """Put a prompt at hand on the prompt line."""

    def picked(prompt: ChatPrompt | None) -> None:
        if prompt is not None and not screen.state.is_closed:
            screen.state.put_at_hand(prompt)
        screen.redraw()

    screen.app.push_screen(PromptsPage(screen.state.run), picked)


def change_settings(screen: ChatScreen) -> None:
    """Change how answers are generated from the next prompt on."""

    def changed(settings: ChatSettings | None) -> None:
        if settings is not None:
            screen.state.settings = settings
        screen.redraw()

    screen.app.push_screen(SettingsPage(screen.state.settings), changed)


def choose_model(screen: ChatScreen) -> None:
    """Open another chat, with another model on the chosen side."""
    state, at = screen.state, screen.state.chosen

    def chosen(model: ChatSide | None) -> None:
        if model is not None:
            sides = [side.model for side in state.sides]
            sides[at] = model
            screen.attend(screen.session.open_anew(sides))

    screen.app.push_screen(ModelsPage(state.run, state.sides[at].model.label), chosen)

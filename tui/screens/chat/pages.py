"""Opens the pages of a chat, and applies what is chosen there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetop.core.protocol.messages.chat import ChatPrompt, ChatSettings, ChatSide
from finetop.tui.screens.chat.models_page import ModelsPage
from finetop.tui.screens.chat.prompts_page import PromptsPage
from finetop.tui.screens.chat.settings_page import SettingsPage
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.widgets.app_screen import AppScreen

Redraw = Callable[[], object]


def pick_prompt(screen: AppScreen[Any], state: ChatState, redraw: Redraw) -> None:
    """Put a prompt at hand on the prompt line."""

    def picked(prompt: ChatPrompt | None) -> None:
        if prompt is not None and not state.is_closed:
            state.put_at_hand(prompt)
        redraw()

    screen.app.push_screen(PromptsPage(state.run), picked)


def change_settings(screen: AppScreen[Any], state: ChatState, redraw: Redraw) -> None:
    """Change how answers are generated from the next prompt on."""

    def changed(settings: ChatSettings | None) -> None:
        if settings is not None:
            state.settings = settings
        redraw()

    screen.app.push_screen(SettingsPage(state.settings), changed)


def choose_model(
    screen: AppScreen[Any], state: ChatState, open_anew: Callable[[list[ChatSide]], object]
) -> None:
    """Open another chat, with another model on the chosen side."""
    at = state.chosen

    def chosen(model: ChatSide | None) -> None:
        if model is not None:
            sides = [side.model for side in state.sides]
            sides[at] = model
            open_anew(sides)

    screen.app.push_screen(ModelsPage(state.run, state.sides[at].model.label), chosen)

"""What each key does while a prompt is typed: edit, send, leave the line, go through earlier prompts."""

from __future__ import annotations

from finetop.tui.screens.chat import prompt_entry
from finetop.tui.screens.chat.state import ChatState
from finetop.tui.widgets.entry import Entry


def press(state: ChatState, key: str, character: str | None) -> str:
    """Change the state as a key says; return a message for the user, or an empty string."""
    match key:
        case "enter":
            return "" if state.to_send() is not None else "nothing to send: type a prompt first."
        case "escape":
            _leave(state)
        case "up" | "down":
            return _up_or_down(state, -1 if key == "up" else 1)
        case _:
            entry = prompt_entry.typed(state.entry, key, character)
            state.entry = state.entry if entry is None else entry
    return ""


def _leave(state: ChatState) -> None:
    """Leave the line to the other keys; a prompt stays on it, a reference answer is dropped."""
    state.is_typing = False
    if state.keeping is not None:
        state.keeping, state.entry = None, Entry()


def _up_or_down(state: ChatState, by: int) -> str:
    """Move to another line of the text, else to an earlier or later prompt."""
    entry = prompt_entry.moved(state.entry, by)
    if entry is not None:
        state.entry = entry
    elif state.keeping is None and not state.recall(by):
        return "no earlier prompt." if by < 0 else "no later prompt."
    return ""

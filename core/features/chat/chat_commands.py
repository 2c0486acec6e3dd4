"""The commands of a chat's prompt line, in the app as on the command line."""

from __future__ import annotations

import re

NEW, QUIT = "/new", "/quit"
HELP = f"{NEW} begins a new conversation, {QUIT} ends the chat"
_COMMAND = re.compile(r"/[a-z?]+\s*")


def command_in(text: str) -> str:
    """Return the command that a whole line is, known or not; an empty string if it is a prompt."""
    return text.rstrip() if _COMMAND.fullmatch(text) else ""


def unknown(command: str) -> str:
    """Return that there is no such command. A blank before it makes any line a prompt."""
    return f"there is no command {command}: {HELP}. To send it as it is, put a blank before it."

"""Messages inside the app: events of the live connection for the current screen, and messages shown to the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from finetop.tui.theme import StyleName


@dataclass
class StoreChanged(Message):
    """The store is newer than what was shown. A newer message replaces one that still waits."""

    revision: int

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StoreChanged)


@dataclass
class GroundTold(Message):
    """The terminal has reported its background."""

    ground: Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message to the user: shown above the footer until the next key, and kept under :messages."""

    at: float
    text: str
    style: StyleName = ""

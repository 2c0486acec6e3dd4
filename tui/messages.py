"""Messages inside the app: events of the live connection for the current screen, and messages shown to the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.message import Message

from finetop.tui.theme import StyleName


class StoreChanged(Message):
    """The store is newer than what was shown. A newer message replaces one that still waits."""

    def __init__(self, revision: int) -> None:
        super().__init__()
        self.revision = revision

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StoreChanged)


class GroundTold(Message):
    """The terminal has reported its background."""

    def __init__(self, ground: Literal["dark", "light"]) -> None:
        super().__init__()
        self.ground = ground


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message to the user: shown above the footer until the next key, and kept under :messages."""

    at: float
    text: str
    style: StyleName = ""

"""One client of a chat in tests: asks, and reads the transcript as clients do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waiting import TORCH_LIMIT_S, wait_until

from finetop.core.features.chat import messages
from finetop.core.features.chat.messages import ChatLine, ChatSettings, ChatSide


def endpoint(url: str, label: str = "far", **more: Any) -> ChatSide:
    """Return a side that a server answers: its job needs no model."""
    return ChatSide(label, "endpoint", url=url, model="m", **more)


@dataclass
class Reader:
    """Reads one chat."""

    rig: Any
    opened: messages.ChatOpened
    offset: int = 0
    state: Any = None
    lines: list[ChatLine] = field(default_factory=list)

    @property
    def chat(self) -> tuple[str, int]:
        return self.opened.run, self.opened.job_id

    def ask(
        self, number: int, text: str, *, fresh: bool = False, sides: tuple[int, ...] = (), **how: Any
    ) -> None:
        settings = ChatSettings(**how)
        self.rig.ask(messages.AskChat(*self.chat, number, text, settings, fresh, list(sides)))

    def read(self, wait_s: float = 0.5) -> list[ChatLine]:
        piece = self.rig.ask(messages.ReadChat(*self.chat, self.offset, wait_s))
        self.offset, self.state = piece.next, piece.state
        self.lines += piece.lines
        return piece.lines

    def until(self, kind: str, number: int = 0, count: int = 1) -> list[ChatLine]:
        """Read until there are so many lines of a kind (of a prompt), and return them."""

        def there() -> list[ChatLine]:
            self.read()
            own = [line for line in self.lines if line.kind == kind and number in (0, line.number)]
            return own if len(own) >= count else []

        return wait_until(there, lambda: f"{count} {kind}: {self.lines}, {self.state}", TORCH_LIMIT_S)

    def text(self, number: int, side: int = 0) -> str:
        own = [line for line in self.lines if (line.kind, line.number, line.side) == ("text", number, side)]
        return "".join(line.text for line in own)


def open_chat(rig: Any, run: str, *sides: ChatSide, **more: Any) -> Reader:
    return Reader(rig, rig.ask(messages.OpenChat(run, list(sides), **more)))

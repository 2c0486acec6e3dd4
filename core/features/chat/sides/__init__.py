"""What can be a side of a chat: a file each, which ends with its instance of SideKind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.plugins import Plugin, PluginKind

if TYPE_CHECKING:
    from finetop.core.data.formats import Message
    from finetop.core.features.chat.messages import ChatSettings, ChatSide
    from finetop.core.features.chat.transcript import Side
    from finetop.core.runtime.event_log import EventLog
    from finetop.core.runtime.home import Home

Why = Literal["end", "length", "stopped"]  # an answer ends there
KEY_VARIABLE = "FINETOP_CHAT_KEY_"  # and a side's place: its key, in the environment of the job


@dataclass(frozen=True)
class Request:
    """What a side is to answer: the conversation, which ends with the prompt, and how."""

    messages: Sequence[Message]
    settings: ChatSettings
    piece: Callable[[str], None]  # takes a piece of the answer
    is_stopped: Callable[[], bool]  # a user wants no more of it


@dataclass(frozen=True)
class Answered:
    """How an answer ended."""

    why: Why
    tokens: int
    first_s: float = 0.0
    prompt_tokens: int = 0


class Writer(ABC):
    """An opened side."""

    answers_alone = True  # it computes here: such sides answer one after the other

    def forget(self) -> None:  # noqa: B027  # most keep nothing
        """Begin a new conversation: what was kept of the old one goes."""

    @abstractmethod
    def answer(self, request: Request) -> Answered:
        """Answer a prompt. Raises FinetopError with one clear line if it can't."""


@dataclass
class Opening:
    """What sides are opened with, and share: the device, the home, and the models that are in memory."""

    home: Home
    device: str
    events: EventLog
    tell: Callable[[int, str], None]  # a side's reader: its place, in words
    keys: dict[int, str] = field(default_factory=dict)  # by a side's place
    models: list[Any] = field(default_factory=list)


class SideKind(Plugin):
    """A kind of sides."""

    needs_model = False  # it loads a model of a run, so the job needs a device and its libraries
    opens_last = False  # it may use a model that another side loads

    def check(self, side: ChatSide) -> None:
        """Check a side before its chat is queued, without loading anything. Raises FinetopError."""

    @abstractmethod
    def open(self, side: Side, place: int, opening: Opening) -> Writer:
        """Load or connect what answers. Raises FinetopError."""


KIND: PluginKind[SideKind] = PluginKind("kind of side", "finetop.core.features.chat.sides", base=SideKind)

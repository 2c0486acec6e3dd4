"""Shapes that rows of data come in: one file a shape, found by listing this folder.

A format module has `ABOUT` (one line, with an example), `matches(row)`, and `read(row, place)`, which gives a
Conversation or raises BadInput that names the place, the key and the fix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from finetop.core.errors import BadInput
from finetop.core.listing import listed_names, load_listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is asked and what is to be answered.

    `prompt` is all before the last answer, earlier answers included; `answer` is the text to learn or score.
    `is_plain` marks a prompt and an answer written as two texts without roles: the prompt is a user turn.
    """

    prompt: tuple[Message, ...]
    answer: str
    is_plain: bool = False

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation, the last answer included."""
        return (*self.prompt, Message("assistant", self.answer))

    @property
    def answers(self) -> tuple[str, ...]:
        """Every text of the assistant, in order."""
        return tuple(message.content for message in self.messages if message.role == "assistant")


def names() -> tuple[str, ...]:
    """List the formats there are, without importing them."""
    return listed_names(__name__)


def load(name: str) -> ModuleType:
    """Import one format by its name. Raises NotFound with a suggestion."""
    return load_listed(__name__, name, kind="format")


def detect(row: Mapping[str, Any], place: str) -> str:
    """Name the format that a row has. Raises BadInput that lists the formats there are."""
    for name in names():
        if load(name).matches(row):
            return name
    keys = ", ".join(str(key)[:30] for key in list(row)[:8]) or "nothing"
    forms = "; or ".join(load(name).ABOUT for name in names())
    raise BadInput(f"{place}: a row with {keys} has no shape that is known.", hint=f"Write {forms}.")


def read(row: Mapping[str, Any], place: str, format_name: str = "auto") -> Conversation:
    """Read one row in the named format, or in the one it has. Raises BadInput."""
    name = detect(row, place) if format_name == "auto" else format_name
    conversation: Conversation = load(name).read(row, place)
    return conversation


def read_turns(value: Any, key: str, place: str) -> tuple[Message, ...]:
    """Read a list of {role, content}, as several formats have it. Raises BadInput."""
    if not isinstance(value, list) or not value:
        example = '[{"role": "user", "content": "…"}]'
        raise BadInput(f"{place}: {key} must be a list of turns.", hint=f"Write {example}.")
    return tuple(_turn(turn, f"{key}[{i}]", place, is_first=i == 0) for i, turn in enumerate(value))


def _turn(turn: Any, key: str, place: str, *, is_first: bool) -> Message:
    if not isinstance(turn, dict):
        raise BadInput(f"{place}: {key} must be a mapping.", hint='Write {"role": "user", "content": "…"}.')
    role, content = turn.get("role"), turn.get("content")
    if role not in ("system", "user", "assistant", "tool"):
        said = f"is {str(role)[:30]!r}" if "role" in turn else "is missing"
        hint = "It is one of system, user, assistant, tool."
        if "from" in turn:
            hint = "Rename from to role (human is user, gpt is assistant), and value to content."
        raise BadInput(f"{place}: {key}.role {said}.", hint=hint)
    if role == "system" and not is_first:
        raise BadInput(f"{place}: {key} is a system turn.", hint="Only the first turn may be: move it there.")
    return Message(role, read_text(content, f"{key}.content", place, may_be_empty=role == "system"))


def read_text(value: Any, key: str, place: str, *, may_be_empty: bool = False) -> str:
    """Read a text that must not be missing or blank. Raises BadInput."""
    if value is None:
        raise BadInput(f"{place}: {key} is missing.", hint="Give it a text, or remove the row.")
    if not isinstance(value, str):
        kind = {dict: "a mapping", list: "a list", bool: "true or false"}.get(type(value), "a number")
        raise BadInput(f"{place}: {key} is {kind}, and must be text.", hint="Put it in quotes, as one text.")
    if not value.strip() and not may_be_empty:
        raise BadInput(f"{place}: {key} is empty.", hint="Give it a text, or remove the row.")
    return value

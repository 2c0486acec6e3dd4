"""Shapes that rows of data come in: a file a shape, which ends with its instance of Format."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from finetop.core import plugins
from finetop.core.data import columns
from finetop.core.errors import BadData

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["conversation", "text", "preference", "labelled", "prompt"]
OBJECTIVE_OF: dict[Kind, str] = {  # the usual objective for rows of a kind
    "preference": "dpo",
    "labelled": "kto",
    "conversation": "sft",
    "text": "continued-pretraining",
    "prompt": "grpo",
}
WEIGHTS = ("weight", "train", "loss")  # keys of a turn that say whether it is learned
TURN_KEYS = {"role": {"role", "content", "tool_calls", *WEIGHTS}, "from": {"from", "value", *WEIGHTS}}


@dataclass(frozen=True, slots=True)
class Call:
    """A function call by the assistant, with its arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `calls` are the function calls in an assistant's turn."""

    role: Role
    content: str
    calls: tuple[Call, ...] = ()
    is_learned: bool = True  # False: an answer of weight 0, which is read but not learned


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt and the answer to it.

    `prompt` is everything before the last answer, including earlier answers; `answer` is the text to learn or score.
    `is_plain` marks a prompt and an answer written as two texts without roles: the prompt is a user turn.
    `tools` are descriptions of functions that the assistant may call, `calls` are those called in the last answer.
    """

    prompt: tuple[Message, ...]
    answer: str
    is_plain: bool = False
    tools: tuple[Mapping[str, Any], ...] = ()
    calls: tuple[Call, ...] = ()
    is_learned: bool = True  # the last answer

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation, including the last answer."""
        return (*self.prompt, Message("assistant", self.answer, self.calls, self.is_learned))

    @property
    def answers(self) -> tuple[str, ...]:
        """Every text of the assistant, in order."""
        return tuple(message.content for message in self.messages if message.role == "assistant")


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, to be continued."""

    text: str


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt with a better and a worse answer."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt with one answer that is good or bad."""

    prompt: tuple[Message, ...]
    answer: str
    is_good: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that the model itself answers; `answer` is the right one, if known."""

    prompt: tuple[Message, ...]
    answer: str | None = None
    tools: tuple[Mapping[str, Any], ...] = ()


Record = Conversation | Text | Preference | Labelled | Prompt


class Format(plugins.FormatFacts):
    """A shape that rows of data come in; `about` is a row of it."""

    kind: Kind  # what its rows are
    needs: tuple[str, ...] = ()  # keys that a row must have

    def matches(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has this format."""
        return all(map(row.__contains__, self.needs))

    @abstractmethod
    def read(self, row: Mapping[str, Any], place: str = "row") -> Record:
        """Read a row at a place. Raises BadData that names the place, the key and the fix."""

    def unused(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the keys of a row, and of its turns, that are not read: `topic`, `messages.name`."""
        unused = {key for key in row if key not in self.keys}
        for key in self.keys:
            value = row.get(key)
            turns = value if isinstance(value, list) else [value]
            read = next((read for mark, read in TURN_KEYS.items() if _has(turns, mark)), None)
            if read is not None:
                unused.update(
                    f"{key}.{name}" for turn in turns if isinstance(turn, dict) for name in turn.keys() - read
                )
        return tuple(sorted(unused))

    def require(self, row: Mapping[str, Any], place: str) -> None:
        """Raise BadData for a row that lacks a key."""
        for key in self.needs:
            if key not in row:
                raise BadData(f"{place}: {key} is missing.", hint=f"Write {self.about}.")


KIND: plugins.PluginKind[Format] = plugins.FORMATS.of(Format)
names, load = KIND.names, KIND.load


def detect(row: Mapping[str, Any], place: str, kinds: Sequence[Kind] = ("conversation",)) -> str:
    """Return the name of a row's format, among those of these kinds. Raises BadData that lists these formats."""
    for format in of_kinds(kinds):
        if format.matches(row):
            return format.name
    keys = ", ".join(str(key)[:30] for key in list(row)[:8]) or "nothing"
    raise BadData(f"{place}: no format fits a row with {keys}.", hint=renaming([dict(row)], kinds))


def renaming(rows: Sequence[dict[str, Any]], kinds: Sequence[Kind]) -> str:
    """Return how to give rows of an unknown shape a known one: lines to paste, or what learns such rows, and shapes."""
    if lines := columns.guess(rows, kinds):
        return f"Add to this source in the recipe (lint and select take it as --columns): {lines}"
    for kind in (kind for kind in OBJECTIVE_OF if kind not in kinds):
        fits = any(format.matches(rows[0]) for format in of_kinds((kind,)))
        is_guessed = kind != "text" or len(rows[0]) == 1  # any row has a text to continue
        lines = "" if fits or not is_guessed else columns.guess(rows, (kind,))
        if fits or lines:
            way = f" with {lines}" if lines else ""
            return (
                f"Such rows are learned by {OBJECTIVE_OF[kind]} (extends){way}; here, write {shapes(kinds)}."
            )
    return f"Write {shapes(kinds)}."


def shapes(kinds: Sequence[Kind]) -> str:
    """Return an example row of each format of these kinds."""
    return "; or ".join(format.about for format in of_kinds(kinds))


def of_kinds(kinds: Sequence[Kind]) -> list[Format]:
    """Return the formats of these kinds, in their order."""
    return [format for kind in kinds for format in map(load, names()) if format.kind == kind]


def read(
    row: Mapping[str, Any], place: str, format_name: str = "auto", kinds: Sequence[Kind] = ("conversation",)
) -> Record:
    """Read one row in the named format, or in the detected one. Raises BadData."""
    format = load(detect(row, place, kinds) if format_name == "auto" else format_name)
    if format.kind not in kinds:
        fitting = " or ".join(fitting.name for fitting in of_kinds(kinds))
        raise BadData(f"{place}: rows of format {format_name} do not fit here.", hint=f"Use {fitting}.")
    return format.read(row, place)


def _has(turns: Sequence[Any], mark: str) -> bool:
    return bool(turns) and isinstance(turns[0], dict) and mark in turns[0]


def as_prompt(record: Record) -> Prompt:
    """Return a row as a prompt, for objectives whose model generates its own answers."""
    match record:
        case Prompt():
            return record
        case Conversation(prompt, answer):
            return Prompt(prompt, answer, record.tools)
        case Labelled(prompt, answer):
            return Prompt(prompt, answer)
        case Preference(prompt):
            return Prompt(prompt)
        case Text():
            raise TypeError("plain text has no prompt")


def texts_of(record: Record) -> tuple[str, ...]:
    """Return all texts of a row, whatever their role."""
    match record:
        case Conversation():
            return tuple(message.content for message in record.messages)
        case Text(text):
            return (text,)
        case Preference(prompt, chosen, rejected):
            return (*(message.content for message in prompt), chosen, rejected)
        case Labelled(prompt, answer) | Prompt(prompt, answer):
            return (*(message.content for message in prompt), *([] if answer is None else [answer]))


def read_turns(value: Any, key: str, place: str) -> tuple[Message, ...]:
    """Read a list of {role, content}, common to several formats, or JSON text of one. Raises BadData."""
    value = from_json(value) if isinstance(value, str) else value
    if not isinstance(value, list) or not value:
        example = '[{"role": "user", "content": "…"}]'
        raise BadData(f"{place}: {key} must be a list of turns.", hint=f"Write {example}.")
    return tuple(_turn(turn, f"{key}[{i}]", place, is_first=i == 0) for i, turn in enumerate(value))


def _turn(turn: Any, key: str, place: str, *, is_first: bool) -> Message:
    if not isinstance(turn, dict):
        raise BadData(f"{place}: {key} must be a mapping.", hint='Write {"role": "user", "content": "…"}.')
    role, content = turn.get("role"), turn.get("content")
    if role not in ("system", "user", "assistant", "tool"):
        fault = f"is {str(role)[:30]!r}" if "role" in turn else "is missing"
        hint = "It is one of system, user, assistant, tool."
        if "from" in turn:
            hint = "Rename from to role (human is user, gpt is assistant), and value to content."
        raise BadData(f"{place}: {key}.role {fault}.", hint=hint)
    if role == "system" and not is_first:
        raise BadData(f"{place}: {key} is a system turn.", hint="Only the first turn may be: move it there.")
    calls: tuple[Call, ...] = ()
    if role == "assistant" and turn.get("tool_calls"):
        calls = read_calls(turn["tool_calls"], f"{key}.tool_calls", place)
        content = content or ""
    may_be_empty = role == "system" or bool(calls)
    text = read_text(content, f"{key}.content", place, may_be_empty=may_be_empty)
    return Message(role, text, calls, read_weight(turn, role, key, place))


def read_weight(turn: Mapping[str, Any], role: Role, key: str, place: str) -> bool:
    """Return whether a turn is learned: `weight` of OpenAI, `train` of Axolotl, `loss` of ms-swift. Raises BadData."""
    weights = {name: turn[name] for name in WEIGHTS if turn.get(name) is not None}
    for name, weight in weights.items():
        if not isinstance(weight, bool | int | float) or weight not in (0, 1):
            hint = "It is 0 for an answer that is not learned, or 1."
            raise BadData(f"{place}: {key}.{name} is {str(weight)[:30]!r}.", hint=hint)
        if weight and role != "assistant":
            hint = "Remove it; objective.loss: all learns every turn."
            raise BadData(f"{place}: {key}.{name} is 1, but the turn is no answer.", hint=hint)
    return all(weights.values())


def require_learned(is_learned: bool, key: str, place: str) -> None:
    """Refuse weight 0 at an answer that is preferred or rated: there it can't be kept. Raises BadData."""
    if not is_learned:
        hint = "Remove the weight, or the row."
        raise BadData(f"{place}: {key} has weight 0, but a rated answer is always learned from.", hint=hint)


def read_calls(value: Any, key: str, place: str) -> tuple[Call, ...]:
    """Read function calls, in OpenAI's form ({function: {…}}) or bare. Raises BadData."""
    calls = []
    for i, given in enumerate(value if isinstance(value, list) else [value]):
        call = given.get("function", given) if isinstance(given, dict) else None
        arguments = call.get("arguments", {}) if isinstance(call, dict) else None
        if isinstance(arguments, str):
            arguments = from_json(arguments)
        name = call.get("name") if isinstance(call, dict) else None
        if not isinstance(name, str) or not isinstance(arguments, dict):
            hint = 'Write {"name": "…", "arguments": {…}}.'
            raise BadData(f"{place}: {key}[{i}] is not a function call.", hint=hint)
        calls.append(Call(name, arguments))
    return tuple(calls)


def read_tools(value: Any, place: str) -> tuple[Mapping[str, Any], ...]:
    """Read the functions that may be called: a list, or JSON text of one. Raises BadData."""
    tools = from_json(value) if isinstance(value, str) and value.strip() else value or []
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        hint = 'Write [{"name": "…", "description": "…", "parameters": {…}}].'
        raise BadData(f"{place}: tools is not a list of functions.", hint=hint)
    return tuple(tools)


def from_json(text: str) -> Any:
    """Decode JSON text, as tables store lists; None for any other text."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def read_text(value: Any, key: str, place: str, *, may_be_empty: bool = False) -> str:
    """Read a text that must not be missing or blank. Raises BadData."""
    if value is None:
        raise BadData(f"{place}: {key} is missing.", hint="Give it a text, or remove the row.")
    if not isinstance(value, str):
        kind = {dict: "a mapping", list: "a list", bool: "true or false"}.get(type(value), "a number")
        hint = "Put it in quotes, as one text."
        if isinstance(value, bool | int | float) and key.isidentifier():
            hint = "Put it in quotes, or name its column in `columns`, which makes it text."
        raise BadData(f"{place}: {key} is {kind}; it must be text.", hint=hint)
    if not value.strip() and not may_be_empty:
        raise BadData(f"{place}: {key} is empty.", hint="Give it a text, or remove the row.")
    return value

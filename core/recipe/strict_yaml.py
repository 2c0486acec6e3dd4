"""Strict YAML: parse text into a tree whose values know their file and line.

Plain data only: no tags, no anchors or aliases, no duplicate keys, no second document, at most 256 KiB and 24
levels. Scalars follow the YAML 1.2 core schema: 1e-4 is a number; yes, no, on and off are text; NaN and Inf
are refused.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from finetop.core.errors import RecipeError
from finetop.core.text import plain, quoted

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

Scalar = str | int | float | bool | None

MAX_BYTES = 256 * 1024
MAX_DEPTH = 24
LEAST_RECIPE_HINT = "Write at least `recipe: 1` and `extends: lora`."  # hint for an empty recipe
TOO_LARGE = "Move the data into its own file."
MAX_VALUES = 5_000  # parsed in about a second

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# What libyaml and PyYAML read differently: tabs, rare line ends and marks, empty documents, comments in a block's head
_READ_TWO_WAYS = re.compile(r"[\t\r\x85\u2028\u2029\ufeff]|^---|[|>][^\n ]*#", re.MULTILINE)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a text: its name in errors, and the folder that its relative paths start from."""

    label: str
    folder: Path

    def at(self, line: int) -> str:
        """Return a line's place as in errors: recipes/dora.yaml:12."""
        return f"{self.label}:{line}" if line else self.label


@dataclass(frozen=True, slots=True)
class Node:
    """One value with its place; `line` is 0 without lines (--set, JSON).

    A value that nobody wrote is `implied` by what these words name; its place is where an error of it is fixed.
    """

    value: Scalar | list[Node] | dict[str, Node]
    origin: Origin
    line: int
    implied: str = ""

    @property
    def place(self) -> str:
        """The place as in errors: recipes/dora.yaml:12."""
        return self.origin.at(self.line)

    @property
    def settings(self) -> dict[str, Node]:
        """The entries of a mapping; none of any other value."""
        return self.value if isinstance(self.value, dict) else {}

    def with_value(self, value: Scalar | list[Node] | dict[str, Node]) -> Node:
        """Return another value at the same place."""
        return Node(value, self.origin, self.line)

    def implies(self, value: Scalar | list[Node] | dict[str, Node], by: str) -> Node:
        """Return a value that this one implies, which nobody wrote."""
        return Node(value, self.origin, self.line, by)


@lru_cache(maxsize=8)  # a command looks for stages in a file before it loads it as one recipe
def parse(text: str, origin: Origin, *, numbered: bool = True, least: str = LEAST_RECIPE_HINT) -> Node:
    """Parse one YAML document; `least` is the hint for an empty one. Raises only RecipeError.

    libyaml is ten times as fast; what it refuses is parsed again in Python, whose errors name the fault better.
    """
    import yaml

    hint = least if numbered else ""
    if yaml.__with_libyaml__ and not _READ_TWO_WAYS.search(text):
        try:
            return _Composer(text, origin, numbered, yaml.CSafeLoader).document(hint)
        except (RecipeError, UnicodeEncodeError):
            pass
    return _Composer(text, origin, numbered, yaml.SafeLoader).document(hint)


def from_plain(value: Any, origin: Origin) -> Node:
    """Return a tree of plain data (from JSON, for example); its places have no line."""
    if isinstance(value, dict):
        return Node({str(key): from_plain(item, origin) for key, item in value.items()}, origin, 0)
    if isinstance(value, list | tuple):
        return Node([from_plain(item, origin) for item in value], origin, 0)
    return Node(value, origin, 0)


def to_plain(node: Node) -> Any:
    """Return the tree as plain data, without places."""
    if isinstance(node.value, dict):
        return {key: to_plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [to_plain(item) for item in node.value]
    return node.value


class _Composer:
    """Builds the tree from PyYAML's events: its own composer has no depth limit and keeps the last of equal keys."""

    def __init__(self, text: str, origin: Origin, numbered: bool, loader: Any) -> None:
        from yaml import SafeLoader

        self.origin = origin
        self.numbered = numbered
        self.values = 0
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise RecipeError(f"is larger than {MAX_BYTES // 1024} KiB.", place=origin.label, hint=TOO_LARGE)
        # The reader refuses characters that YAML forbids, but without the line.
        bad = SafeLoader.NON_PRINTABLE.search(text)
        if bad:
            line = text.count("\n", 0, bad.start()) + 1
            raise self.error(line, f"the character {quoted(bad.group())} is not allowed.", "Remove it.")
        self.loader = loader(text)

    def error(self, line: int, message: str, hint: str = "") -> RecipeError:
        return RecipeError(message, place=self.origin.at(line if self.numbered else 0), hint=hint)

    def next(self) -> Any:
        """Return the next event; each of PyYAML's ways to refuse text becomes a RecipeError."""
        from yaml import YAMLError

        try:
            return self.loader.get_event()
        except YAMLError as error:
            context_mark = getattr(error, "context_mark", None)
            mark = getattr(error, "problem_mark", None) or context_mark
            problem = str(getattr(error, "problem", None) or "this is not YAML")
            if context_mark is not None and mark is not None and context_mark.line != mark.line:
                problem += f", {getattr(error, 'context', '')} that begins on line {context_mark.line + 1}"
            line = (mark.line if mark else self.loader.line) + 1
        # an escape such as "\UFFFFFFFF"; a directive %YAML 1.
        except (ValueError, OverflowError, IndexError):
            problem, line = "this is not YAML", self.loader.line + 1
        raise self.error(line, f"{plain(problem)}.", _syntax_hint(problem))

    def document(self, least: str) -> Node:
        from yaml import DocumentStartEvent, StreamEndEvent

        self.next()  # the start of the stream
        if not isinstance(self.next(), DocumentStartEvent):
            raise self.error(1, "is empty.", least)
        root = self.node(self.next(), depth=1)
        self.next()  # the end of the document
        after = self.next()
        if not isinstance(after, StreamEndEvent):
            line, hint = after.start_mark.line + 1, "A file holds one document: remove the `---`."
            raise self.error(line, "a second document starts here.", hint)
        return root

    def node(self, event: Any, depth: int) -> Node:
        from yaml import AliasEvent, MappingStartEvent, SequenceStartEvent

        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent) or event.anchor is not None:
            hint = "Write the value out, or start from another recipe with extends."
            raise self.error(line, "anchors and aliases (&name, *name) are not allowed.", hint)
        if event.tag is not None:
            raise self.error(line, f"the tag {quoted(event.tag)} is not allowed.", "Write a plain value.")
        if depth > MAX_DEPTH:
            raise self.error(line, f"is nested deeper than {MAX_DEPTH} levels.", "Check the brackets.")
        self.values += 1
        if self.values > MAX_VALUES:
            raise self.error(line, f"holds more than {MAX_VALUES} values.", TOO_LARGE)
        if isinstance(event, MappingStartEvent):
            return self.located(self.mapping(depth), line)
        if isinstance(event, SequenceStartEvent):
            return self.located(self.sequence(depth), line)
        return self.located(self.scalar(event, line), line)

    def located(self, value: Scalar | list[Node] | dict[str, Node], line: int) -> Node:
        return Node(value, self.origin, line if self.numbered else 0)

    def mapping(self, depth: int) -> dict[str, Node]:
        from yaml import MappingEndEvent

        entries: dict[str, Node] = {}
        while not isinstance(event := self.next(), MappingEndEvent):
            line = event.start_mark.line + 1
            key = self.node(event, depth + 1).value
            if isinstance(key, int):  # a label's number, or true: use its text
                key = str(event.value)
            if not isinstance(key, str):
                raise self.error(line, f"the key {quoted(key)} is not text.", "Put it in quotes.")
            if key in entries:
                first = f" (first on line {entries[key].line})" if self.numbered else ""
                raise self.error(line, f"{plain(key)} is set twice{first}.", "Remove one of them.")
            # A setting's place is its key's line: the value of a nested mapping begins a line later.
            entries[key] = self.located(self.node(self.next(), depth + 1).value, line)
        return entries

    def sequence(self, depth: int) -> list[Node]:
        from yaml import SequenceEndEvent

        items: list[Node] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            items.append(self.node(event, depth + 1))
        return items

    def scalar(self, event: Any, line: int) -> Scalar:
        text: str = event.value
        if event.style:  # quoted or a block; plain is None, of libyaml empty
            return self.text(text, line)
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            number = int(text[:25], 0) if text[:2] in ("0o", "0x") else int(text[:25])
            if len(text) > 25 or abs(number) >= 2**63:
                hint = "Put it in quotes if it is text."
                raise self.error(line, f"{quoted(text)} is too large a number.", hint)
            return number
        if _FLOAT.fullmatch(text):
            real = float(text)
            if math.isinf(real):
                raise self.error(line, f"{quoted(text)} is too large a number.")
            return real
        if _NOT_FINITE.fullmatch(text):
            raise self.error(line, f"{text} is not a number that can be used.", "Write a finite number.")
        return self.text(text, line)

    def text(self, text: str, line: int) -> str:
        """Refuse characters from escapes that no file name or JSON document can hold."""
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            message = f"{quoted(text)} holds a character that is not text."
            raise self.error(line, message, "Remove the escape.")
        return text


def _syntax_hint(problem: str) -> str:
    if "\\t" in problem:
        return "Indent with spaces, not tabs."
    if "mapping values are not allowed" in problem:
        return "Put text that holds ': ' in quotes, or check the indentation."
    if "expected" in problem:
        return "Check the brackets, quotes and indentation above."
    return ""

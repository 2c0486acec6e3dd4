"""The source of a row's key: a column, or a template such as "Classify: {text}" in which {name} is a column."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from finetop.core.errors import did_you_mean
from finetop.core.plugins import FORMATS
from finetop.core.text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
_COLUMNS = "Which column each key is: {prompt: question}; or a template: {prompt: 'Classify: {text}'}."
_LABELS = "Names of labels: {0: negative, 1: positive}; for KTO {up: true, down: false}."
Columns = Annotated[dict[Text, Text], Meta(description=_COLUMNS)]
Labels = Annotated[dict[Text, Text | bool], Meta(description=_LABELS)]


class ColumnSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings for the columns of rows."""

    columns: Columns = {}
    labels: Labels = {}


ANSWERS = ("completion", "output", "answer")  # keys that hold the label in a row without `label`
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+|[{}]")


@lru_cache
def parts(written: str) -> tuple[tuple[str, bool], ...]:
    """Split a column or template into texts (False) and columns (True). Raises ValueError for an unmatched brace."""
    if not is_template(written):
        return ((written, True),)
    pieces: list[tuple[str, bool]] = []
    for match in _PIECE.finditer(written):
        piece = match[0]
        if match[1] is not None:
            pieces.append((match[1].strip(), True))
        elif piece in ("{", "}"):
            raise ValueError(f"has a {piece} that stands alone")
        else:
            pieces.append(({"{{": "{", "}}": "}"}.get(piece, piece), False))
    return tuple(pieces)


def is_template(written: str) -> bool:
    """Return True for a template, False for a column's name."""
    return "{" in written or "}" in written


def row_keys() -> tuple[str, ...]:
    """Return the keys that rows of any format may have."""
    return tuple(sorted({key for name in FORMATS.names() for key in FORMATS.load(name).keys}))


def problems(
    columns: Mapping[str, str], labels: Mapping[str, str | bool], key: str
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with columns and labels as written: key, message, hint."""
    for name, written in columns.items():
        own = f"{key}.columns.{name}"
        if name not in row_keys():
            hint = "Write KEY: COLUMN, such as prompt: question. " + did_you_mean(name[:60], row_keys())
            yield own, f"{own}: rows have no key {quoted(name)}.", hint
        try:
            if not any(is_column for _, is_column in parts(written)):
                yield own, f"{own} names no column.", "Write {column} where its value goes."
        except ValueError as error:
            yield own, f"{own} {error}.", "Write {column} for a column, {{ and }} for braces."
    if labels and columns and not {"label", *ANSWERS} & columns.keys():
        hint = "Name the label column: completion for text to generate, or label for good and bad answers."
        yield f"{key}.labels", f"{key}.labels has no effect: columns maps no label column.", hint

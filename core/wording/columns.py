"""A table is a list of columns, which the app, the commands, a saved file and the report all lay out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Row = TypeVar("Row")
NOT_KNOWN = "-"


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """A column of a table: its title, and the text of its cell in a row."""

    title: str
    text: Callable[[Row], str]
    is_right: bool = True  # aligned, as numbers are
    is_prose: bool = False  # words, which a narrow terminal cuts before others
    is_optional: bool = False  # where people read, left out if no row has it
    in_files_alone: bool = False  # on a screen there is no room for it


def known(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> list[Column[Row]]:
    """Return the columns without the optional ones that no row has."""
    empty = ("", NOT_KNOWN)
    return [
        column
        for column in columns
        if not column.is_optional or any(column.text(row) not in empty for row in rows)
    ]


def titles(columns: Sequence[Column[Row]]) -> tuple[str, ...]:
    """Return the head of a table."""
    return tuple(column.title for column in columns)


def cells(columns: Sequence[Column[Row]], rows: Sequence[Row]) -> tuple[tuple[str, ...], ...]:
    """Return the texts of a table, row by row."""
    return tuple(tuple(column.text(row) for column in columns) for row in rows)


def right(columns: Sequence[Column[Row]]) -> tuple[int, ...]:
    """Return the places of the right-aligned columns."""
    return tuple(place for place, column in enumerate(columns) if column.is_right)


def exact(value: float | None) -> str:
    """Return a number with all its digits, as a file has it; empty if unknown."""
    return "" if value is None else f"{value:.9g}"

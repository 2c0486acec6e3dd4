"""One bad input of the tables, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Bad:
    """A bad input: what is wrong with it, the input itself, and what its answer must say of place, value and fix."""

    what: str
    given: Any
    says: tuple[str, ...]
    code: int = 2  # the command's exit code


@dataclass(frozen=True)
class Answer:
    """The answer: the exit code, and what was written for the user."""

    code: int
    text: str

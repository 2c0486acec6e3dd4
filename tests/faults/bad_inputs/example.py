"""What one bad input of the tables is, and what was answered to it."""

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
    """What a door said: the exit code, and what was written for people."""

    code: int
    text: str

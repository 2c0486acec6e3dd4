"""The attributes of an object as plain data, and back: a reader's place in its file outlives its process."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


LARGEST = 2**63 - 1


class StateError(ValueError):
    """The state is not of such an object."""


def state_of(holder: object, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return an object's attributes; those that are objects themselves as theirs."""
    return {name: _plain(value) for name, value in vars(holder).items() if name not in without}


def set_state(holder: object, state: Mapping[str, Any]) -> None:
    """Set an object's attributes to a state of its kind. Raises StateError."""
    for name, value in state.items():
        now = getattr(holder, name, set_state)
        if callable(now):
            raise StateError(f"{type(holder).__name__} has no attribute {name}")
        if hasattr(now, "__dict__"):
            set_state(now, value)
        else:
            setattr(holder, name, _as(now, value))


def _plain(value: Any) -> Any:
    """Return a value as MessagePack can have it: whole numbers of 64 bits, and text that is UTF-8."""
    if hasattr(value, "__dict__"):
        return state_of(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list | deque | set):
        return [_plain(one) for one in value]
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-LARGEST, min(value, LARGEST))
    return os.fsencode(value) if isinstance(value, Path) else value  # a name need not be UTF-8


def _as(now: Any, value: Any) -> Any:
    """Return a value with the type of the attribute's value now, which may be None."""
    if now is None or value is None:
        return tuple(value) if isinstance(value, list) else value
    if isinstance(now, deque):
        return deque(value, now.maxlen)
    if isinstance(now, tuple) and len(now) == len(value):
        return tuple(map(_as, now, value))
    try:
        return Path(os.fsdecode(value)) if isinstance(now, Path) else type(now)(value)
    except (TypeError, ValueError) as error:
        raise StateError(f"{value!r} is no {type(now).__name__}") from error

"""Replaces texts in a row of any shape, and leaves everything else unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from finetop.core.data.formats.sharegpt import ROLES

Repair = Callable[[str, str], str | None]  # a text and its role -> the fixed text; None if it can't be fixed
KEYS = {
    "system": "system",
    **dict.fromkeys(("instruction", "input", "prompt"), "user"),
    **dict.fromkeys(("output", "completion", "answer", "chosen", "rejected"), "assistant"),
    "text": "text",
}


class _Unfixed(Exception):
    """A text that can't be fixed."""


def with_texts(raw: dict[str, Any], repair: Repair) -> dict[str, Any] | None:
    """Return the row with every text fixed; None if one of them can't be."""
    try:
        changed = dict(raw)
        for key in ("messages", "conversations"):
            if isinstance(raw.get(key), list):
                changed[key] = [_turn(turn, repair) for turn in raw[key]]
        is_in_turns = isinstance(raw.get("messages") or raw.get("conversations"), list)
        for key, role in KEYS.items():
            if is_in_turns and key not in ("system", "chosen", "rejected"):
                continue  # columns beside the conversation, which training does not read
            if key in raw:
                changed[key] = _value(raw[key], role, repair)
    except _Unfixed:
        return None
    return changed


def _value(value: Any, role: str, repair: Repair) -> Any:
    if isinstance(value, str):
        return _text(value, role, repair)
    if isinstance(value, list):
        return [_turn(turn, repair) for turn in value]
    return _turn(value, repair) if isinstance(value, dict) else value


def _turn(turn: Any, repair: Repair) -> Any:
    if not isinstance(turn, dict):
        return turn
    for role_key, text_key in (("role", "content"), ("from", "value")):
        if isinstance(turn.get(text_key), str):
            role = str(turn.get(role_key))
            return {**turn, text_key: _text(turn[text_key], ROLES.get(role, role), repair)}
    return turn


def _text(text: str, role: str, repair: Repair) -> str:
    if not text:
        return text
    fixed = repair(text, role)
    if fixed is None:
        raise _Unfixed
    return fixed

"""Reads what OpenAI-style servers send: pieces of an answer, counts, messages of errors."""

from __future__ import annotations

import json
from typing import Any


def piece_of(event: dict[str, Any]) -> tuple[str, str]:
    """Return the text of an event and why the answer ends there; empty for neither."""
    choices = event.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return "", ""
    holder = choice.get("delta") or choice.get("message") or {}
    text = choice.get("text") or (holder.get("content") if isinstance(holder, dict) else "")
    reason = choice.get("finish_reason")
    return (text if isinstance(text, str) else ""), (reason if isinstance(reason, str) else "")


def tokens_of(event: dict[str, Any], name: str) -> int:
    """Return a count of an event's usage, prompt_tokens or completion_tokens; 0 for what is no count."""
    usage = event.get("usage")
    tokens = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(tokens, int) or isinstance(tokens, bool):
        return 0
    return tokens if 0 <= tokens < 2**31 else 0


def message_of(body: str) -> str:
    """Return the message of an error as servers write it; empty if there is none that people can read."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return "" if "<" in body[:200] else body
    error = event.get("error", event.get("detail")) if isinstance(event, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""

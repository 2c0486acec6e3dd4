"""Looks at a training file for the form: how many rows, and the first one in words. Never loads it whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST = 200 << 20  # bytes that are counted; a larger file is estimated
_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Preview:
    """What a glance at a file tells."""

    rows: int
    is_estimate: bool
    first: str


NOTHING = Preview(0, False, "")


def look_at(path: str) -> Preview:
    """Count the rows of a .jsonl file and read the first; nothing if it can't be read. Runs in a thread."""
    try:
        with Path(path).open("rb") as file:
            first = file.readline(_LINE)
            size = Path(path).stat().st_size
            if size > _LARGEST:
                return Preview(size // max(1, len(first)), True, _words(first))
            file.seek(0)
            rows = sum(1 for line in file if line.strip())
    except (OSError, ValueError):
        return NOTHING
    return Preview(rows, False, _words(first))


def _words(line: bytes) -> str:
    """Write a row as who says what."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(row, dict):
        return ""
    if isinstance(row.get("messages"), list):
        turns = [turn for turn in row["messages"] if isinstance(turn, dict)]
    else:
        turns = [{"role": key, "content": row[key]} for key in ("prompt", "completion", "text") if key in row]
    return "   ".join(f"{turn.get('role', '')}: {_flat(turn.get('content'))}" for turn in turns)


def _flat(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(_flat(part.get("content") if isinstance(part, dict) else part) for part in content)
    return str(content) if content is not None else ""

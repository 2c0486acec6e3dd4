"""The line of an export's log that has its GGUF files as JSON, for `finetop export --json`, also from afar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from finetop.core.errors import FinetopError

BEGINS = "gguf files "


def line_of(facts: Mapping[str, Any]) -> str:
    """Return the line for facts about files."""
    return BEGINS + json.dumps(facts)


def facts_in(log: str) -> dict[str, Any]:
    """Return what the newest such line of a log says; empty if there is none. Raises FinetopError if it is cut."""
    line = next((line for line in reversed(log.splitlines()) if line.startswith(BEGINS)), None)
    if line is None:
        return {}
    try:
        facts: dict[str, Any] = json.loads(line.removeprefix(BEGINS))
    except ValueError as error:
        raise FinetopError("the export's log does not say what was written.") from error
    return facts

"""Rows of a prompt with one answer and whether it is good: `label` true or false."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Format, Labelled, require_learned
from finetop.core.data.formats.messages import PLUGIN as messages
from finetop.core.data.formats.prompt_completion import PLUGIN as prompt_completion
from finetop.core.errors import BadData

_GOOD = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_HINT = "It is true for a good answer (or 1), false for a bad one (or 0)."


class LabelledFormat(Format):
    kind = "labelled"
    about = '{"prompt": "…", "completion": "…", "label": true}'
    keys = ("prompt", "completion", "messages", "label")

    def matches(self, row: Mapping[str, Any]) -> bool:
        return "label" in row and (messages.matches(row) or prompt_completion.matches(row))

    def read(self, row: Mapping[str, Any], place: str = "row") -> Labelled:
        """Read a prompt, its answer and the label. Raises BadData at `place`."""
        label = _GOOD.get(str(row.get("label")).strip().lower())
        if label is None:
            label = row.get("label")
            fault = "is missing" if label is None else f"is {str(label)[:30]!r}"
            raise BadData(f"{place}: label {fault}.", hint=_HINT)
        shape = messages if messages.matches(row) else prompt_completion
        conversation = shape.read(row, place)
        require_learned(conversation.is_learned, "the answer", place)
        return Labelled(conversation.prompt, conversation.answer, label)


PLUGIN = LabelledFormat()

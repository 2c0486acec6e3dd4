"""Rows of a prompt with a chosen and a rejected answer: texts, turns, or two whole conversations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetop.core.data.formats import Format, Message, Preference, read_text, read_turns, require_learned
from finetop.core.data.formats.sharegpt import read_turn, read_turns_of
from finetop.core.errors import BadData


class PreferenceFormat(Format):
    kind = "preference"
    about = '{"prompt": "…", "chosen": "…", "rejected": "…"}'
    keys = ("prompt", "conversations", "chosen", "rejected", "label")

    def matches(self, row: Mapping[str, Any]) -> bool:
        return "chosen" in row or "rejected" in row

    def read(self, row: Mapping[str, Any], place: str = "row") -> Preference:
        """Read a prompt (`prompt`, `conversations`, or what both answers begin with) and two answers.

        With a `label`, true says that `chosen` is the better one, and false that `rejected` is.
        """
        for key in ("chosen", "rejected"):
            if row.get(key) is None:
                raise BadData(f"{place}: {key} is missing.", hint=f"Write {self.about}.")
        chosen, rejected = (_turns(row[key], key, place) for key in ("chosen", "rejected"))
        prompt = _prompt(row, place)
        if prompt is None:
            shared = _common(chosen, rejected)
            prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        if not prompt:
            raise BadData(f"{place}: there is no prompt before the answers.", hint=f"Write {self.about}.")
        answers = []
        for key, turns in (("chosen", chosen), ("rejected", rejected)):
            if len(turns) != 1 or turns[0].role != "assistant":
                hint = "Put earlier turns into the prompt."
                raise BadData(f"{place}: {key} must be one turn of the assistant.", hint=hint)
            require_learned(turns[0].is_learned, key, place)
            answers.append(turns[0].content)
        if answers[0] == answers[1]:
            raise BadData(f"{place}: chosen and rejected are the same answer.", hint="Remove the row.")
        better, worse = answers if _is_chosen(row.get("label"), place) else reversed(answers)
        return Preference(prompt, better, worse)


def _is_chosen(label: Any, place: str) -> bool:
    if label is None or str(label).lower() in ("true", "false"):
        return str(label).lower() != "false"
    hint = "It is true if chosen is the better answer, false if rejected is: say so in `labels`, or leave the key out."
    raise BadData(f"{place}: label is {str(label)[:30]!r}.", hint=hint)


def _prompt(row: Mapping[str, Any], place: str) -> tuple[Message, ...] | None:
    if "conversations" in row:
        return read_turns_of(row["conversations"], "conversations", place)
    if "prompt" not in row:
        return None
    if isinstance(row["prompt"], list):
        return read_turns(row["prompt"], "prompt", place)
    return (Message("user", read_text(row["prompt"], "prompt", place)),)


def _turns(value: Any, key: str, place: str) -> tuple[Message, ...]:
    if isinstance(value, dict):
        return (read_turn(value, key, place),) if "from" in value else read_turns([value], key, place)
    if isinstance(value, list):
        return read_turns(value, key, place)
    return (Message("assistant", read_text(value, key, place)),)


def _common(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> int:
    """Count the turns that both conversations begin with, their last ones aside."""
    pairs = enumerate(zip(chosen[:-1], rejected[:-1], strict=False))
    return next((at for at, (turn, other) in pairs if turn != other), min(len(chosen), len(rejected)) - 1)


PLUGIN = PreferenceFormat()

"""The settings that a failed run's error suggests, to fill a form with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from finetop.core.protocol.runs import Failed, RunRow
from finetop.core.text import number_words

_SET = re.compile(
    r"\b[Ss]et ((?:model|train|data|method|objective|budget|check|protect)\.[a-z_.]+) to ([\w.-]*\w)"
)
_LOWER = re.compile(
    r"\b[Ll]ower (train\.batch_size|train\.learning_rate|data\.max_tokens) \(now ([\d.e+-]*\d)\)"
)
_ALIKE = re.compile(r" and raise (train\.grad_accumulation) \(now (\d+)\) by as much")


def fix_of(row: RunRow) -> Mapping[str, object]:
    """Return the first setting that a failed run's error suggests, by dotted key; empty if it names none."""
    hint = row.state.hint if isinstance(row.state, Failed) else ""
    lower, put = _LOWER.search(hint), _SET.search(hint)
    if lower is not None and (put is None or lower.start() < put.start()):
        return _lowered(lower, hint)
    return {} if put is None else {put[1]: put[2]}


def _lowered(lower: re.Match[str], hint: str) -> Mapping[str, object]:
    """Halve a row or token count, doubling what keeps the batch size; cut a rate to a third."""
    key, now = lower[1], float(lower[2])
    if key == "train.learning_rate":
        return {key: number_words(now / 3, 2)}
    alike = _ALIKE.match(hint, lower.end())
    return {key: max(1, int(now) // 2)} | ({alike[1]: int(alike[2]) * 2} if alike else {})


def fix_words(row: RunRow) -> str:
    """Return the changed settings: 'train.batch_size 4, train.grad_accumulation 2'."""
    return ", ".join(f"{key} {setting}" for key, setting in fix_of(row).items())

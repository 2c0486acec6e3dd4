"""How a report writes moments, states and long texts."""

from __future__ import annotations

import time

from finetop.core.protocol import runs as data

TEXT_SHOWN = 600  # characters of one answer, question or sample


def moment(at: float) -> str:
    """Write a moment with its zone: a colleague may be in another."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def state_words(row: data.RunRow) -> str:
    steps = f" at step {row.step:,} of {row.steps:,}" if row.steps else ""
    cause = getattr(row.state, "cause", "")
    return f"{data.word(row.state)}{steps}{f': {cause}' if cause else ''}"


def cut(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else text[: TEXT_SHOWN - 1] + "…"


def cut_front(text: str) -> str:
    """Keep the end of a question: the examples in front of it are the same in all."""
    return text if len(text) <= TEXT_SHOWN else "…" + text[1 - TEXT_SHOWN :]

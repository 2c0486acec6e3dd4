"""Samples on the way: how far they are is said while they are written."""

from __future__ import annotations

from typing import Any

import torch

from finetop.core.protocol.events import Phase
from finetop.core.train import samples


class Events:
    def __init__(self) -> None:
        self.written: list[Any] = []

    def write(self, event: Any) -> None:
        self.written.append(event)


def test_how_many_tokens_are_written_is_said_once_in_a_while_and_nothing_stops() -> None:
    events = Events()
    counted = samples.Counted(events, 5, 32)  # type: ignore[arg-type]
    ids = torch.zeros((2, 17), dtype=torch.long)
    counted.next = 0.0
    assert counted(ids, ids).tolist() == [False, False]
    counted(ids, ids)
    assert events.written == [Phase("writing samples", 12.0, 32.0, "tokens")]

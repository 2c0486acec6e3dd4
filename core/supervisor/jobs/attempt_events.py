"""What a job's events say since its last start: of which attempt they are, and whether it has told its phase."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from finetop.core.protocol import events
from finetop.core.runtime.files import open_regular
from finetop.core.store.event_batch import LINE_BYTES


@dataclass
class SinceStart:
    """What a job's events say since its last start."""

    attempt: int = 0
    has_phase: bool = False

    @classmethod
    def read(cls, file: Path) -> SinceStart:
        """Look through the events; those that can't be read say nothing."""
        found = cls()
        try:
            opened = open_regular(file)
        except OSError:
            return found
        with opened:
            while line := opened.readline(LINE_BYTES):  # of a longer one, pieces that say nothing
                if b'"started"' not in line and b'"phase"' not in line:
                    continue
                try:
                    event = events.decode(line).e
                except events.Unreadable:
                    continue
                if isinstance(event, events.Started):
                    found = cls(event.attempt)
                elif isinstance(event, events.Phase):
                    found.has_phase = True
        return found

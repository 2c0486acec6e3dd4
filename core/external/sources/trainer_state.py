"""trainer_state.json of a Hugging Face Trainer: in each checkpoint, and in the output folder at the end."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, metrics_of, number, step_of, total_of
from finetop.core.runtime.files import read_own

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "trainer_state.json"
LONGEST = 64 << 20  # bytes: 300,000 entries


class State(Reader):
    """The newest such file of a folder: each holds everything so far."""

    def __init__(self, path: Path, since: float) -> None:
        super().__init__(path)
        self._since, self._seen = since, (Path(), 0, 0.0)
        self._reported: list[str] = []

    def read(self) -> list[Point]:
        files = [(file.stat().st_mtime, file) for file in files_of(self.path, self._since)]
        if not files:
            return []
        written, file = max(files)
        seen = (file, file.stat().st_size, written)
        if seen == self._seen or seen[1] > LONGEST:
            return []
        try:
            raw = json.loads(read_own(file, LONGEST))
        except (ValueError, RecursionError):
            return []  # half written: the next look
        self._seen = seen
        if not isinstance(raw, dict):
            return []
        self.total = total_of({"max_steps": number(raw.get("max_steps")) or 0})
        self.epochs = number(raw.get("num_train_epochs")) or 0.0
        log = raw.get("log_history")
        entries = [flat(entry) for entry in log if isinstance(entry, dict)] if isinstance(log, list) else []
        # repr: a NaN equals itself there. A run that went back has other entries from some step on.
        pairs = zip(map(repr, entries), self._reported, strict=False)
        known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if known == len(entries):
            return []  # an earlier checkpoint: the newest was deleted
        new, self._reported = entries[known:], [repr(entry) for entry in entries]
        steps = [(step_of(values), metrics_of(values)) for values in new]
        return [Point(step, metrics) for step, metrics in steps if step is not None and metrics]


class TrainerState(Source):
    about = "trainer_state.json of a Hugging Face Trainer, written with each checkpoint"
    rank = 2  # written with each checkpoint: a log with steps is as good, and sooner

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            if files_of(folder, places.since):
                yield folder

    def open(self, path: Path, places: Places) -> State:
        return State(path, places.since)


def files_of(folder: Path, since: float) -> list[Path]:
    """List a folder's trainer states that were written since then; the folder may be such a file itself."""
    files = (folder, folder / NAME, *folder.glob(f"checkpoint-*/{NAME}"))
    return [file for file in files if file.is_file() and file.stat().st_mtime >= since]


PLUGIN = TrainerState()

"""trainer_state.json of a Hugging Face Trainer: in each checkpoint, and in the output folder at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.external.sources._json_lines import flat, metrics_of, number, step_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "trainer_state.json"
LONGEST = 256 << 20  # bytes


class State(Reader):
    """The newest such file of a folder: each holds everything so far."""

    def __init__(self, path: Path, since: float) -> None:
        super().__init__(path)
        self._since, self._seen, self._told = since, (Path(), 0, 0.0), 0

    def read(self) -> list[Point]:
        files = [(file.stat().st_mtime, file) for file in files_of(self.path, self._since)]
        if not files:
            return []
        written, file = max(files)
        seen = (file, file.stat().st_size, written)
        if seen == self._seen or seen[1] > LONGEST:
            return []
        try:
            raw = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            return []  # half written: the next look
        self._seen = seen
        if not isinstance(raw, dict):
            return []
        self.total = int(number(raw.get("max_steps")) or 0)
        self.epochs = number(raw.get("num_train_epochs")) or 0.0
        log = raw.get("log_history")
        entries = [flat(entry) for entry in log if isinstance(entry, dict)] if isinstance(log, list) else []
        new, self._told = entries[self._told :], len(entries)
        steps = [(step_of(values), values) for values in new if "train_runtime" not in values]
        return [Point(step, metrics_of(values)) for step, values in steps if step is not None]


class TrainerState(Source):
    about = "trainer_state.json of a Hugging Face Trainer, written with each checkpoint"
    rank = 3

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            if files_of(folder, places.since):
                yield folder

    def open(self, path: Path, places: Places) -> State:
        return State(path, places.since)


def files_of(folder: Path, since: float) -> list[Path]:
    """List a folder's trainer states that were written since then."""
    files = (folder / NAME, *folder.glob(f"checkpoint-*/{NAME}"))
    return [file for file in files if file.is_file() and file.stat().st_mtime >= since]


PLUGIN = TrainerState()

"""The configuration that a script writes beside its output: config.json and its like. It has no numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finetop.core.external.configuration import settings_of
from finetop.core.external.sources import Places, Point, Reader, Source
from finetop.core.runtime.files import read_own

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("config.json", "args.json", "hparams.json")
LONGEST = 1 << 20  # bytes
OF_MODEL = ("model_type", "architectures", "transformers_version")  # keys of a model's own configuration


class Config(Reader):
    """One such file, read again whenever it was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._seen = (0, 0, 0)

    def read(self) -> list[Point]:
        facts = self.path.stat()
        seen = (facts.st_ino, facts.st_size, facts.st_mtime_ns)
        if seen == self._seen or facts.st_size > LONGEST:
            return []
        try:
            raw = json.loads(read_own(self.path, LONGEST))
        except (ValueError, RecursionError):
            return []  # half written: the next look
        self._seen = seen
        is_own = isinstance(raw, dict) and not any(key in raw for key in OF_MODEL)
        self.config = settings_of(raw) if is_own else {}
        return []


class ConfigSource(Source):
    about = "a script's configuration in its output folder: config.json"
    rank = 0

    def find(self, places: Places) -> Iterator[Path]:
        for folder in places.folders:
            named = (folder / name for name in NAMES)
            yield from filter(places.is_new, named if folder.is_dir() else (folder,))

    def open(self, path: Path, places: Places) -> Config:
        return Config(path)


PLUGIN = ConfigSource()
